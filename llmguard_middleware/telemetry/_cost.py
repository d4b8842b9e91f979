"""What a call costs, by the price list of `genai-prices` (extra `cost`) or by the application's own.

The list comes with the package: nothing here goes to the network, and nothing updates it behind your back. It takes
half a second to load, which happens in a thread while the first model works. A model that the list does not know has
no cost, which is not 0.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .._call import Usage

__all__ = ["Price", "Prices"]

Price = Callable[[str, str, Usage], "float | None"]
"""What a call cost in USD, None if nobody knows; of the provider (`gen_ai.provider.name`), the model and its usage."""

_log = logging.getLogger("llmguard.telemetry")

# `gen_ai.provider.name` where the list has another id.
_IDS = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}
_MOST = 1000  # models whose price is known by heart
_PROBE = 1_000_000  # tokens
_Of = Callable[[Usage], "float | None"]


class Prices:
    """The price list, or the application's own.

    Args:
        own: what to ask first.
    """

    def __init__(self, own: Price | None = None) -> None:
        self._own = own
        self._known: dict[tuple[str, str], _Of] = {}
        self._unpriced: set[tuple[str, tuple[str, str]]] = set()  # of which the list knows neither
        self._logged: set[str] = set()

    def prepare(self) -> None:
        """A model is about to be asked: have the list loaded meanwhile."""
        if not _list.asked:
            _list.load()

    def usd(self, provider: str, models: tuple[str, str], usage: Usage | None) -> float | None:
        """What a call cost; `models` are the one that answered and the one that was asked."""
        if usage is None or (usage[0] is None and usage[1] is None) or (provider, models) in self._unpriced:
            return None
        try:
            for model in models:
                if model and (usd := self._of(provider, model, usage)) is not None:
                    return usd
            if self._own is None and all(self._known.get((provider, model)) is _unknown for model in models if model):
                self._unpriced.add((provider, models))
        except Exception as error:  # noqa: BLE001 - foreign: the call goes on, without a price
            kind = type(error).__name__
            if kind not in self._logged:
                self._logged.add(kind)
                _log.warning("a call could not be priced: %s", kind)
        return None

    def _of(self, provider: str, model: str, usage: Usage) -> float | None:
        if self._own is not None and (usd := self._own(provider, model, usage)) is not None:
            return float(usd)
        key = provider, model
        price = self._known.get(key)
        if price is None:
            if len(self._known) >= _MOST:
                self._known.clear()
                self._unpriced.clear()
            price = self._known[key] = _list.price(_IDS.get(provider, provider), model)
        return price(usage)


class _List:
    """The list of `genai-prices`, loaded once."""

    def __init__(self) -> None:
        self.asked = False
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Begin to load it, if it is installed."""
        self.asked = True
        if not _installed():
            _log.debug('calls have no cost: install the extra "cost", pip install "llmguard-middleware[cost]"')
            return
        thread = threading.Thread(target=_loaded, name="llmguard-prices", daemon=True)
        with suppress(RuntimeError):  # there are too many: it is loaded when the first price is wanted
            thread.start()
            self._thread = thread

    def settle(self) -> None:
        """Before a fork: a child could not go on with what a thread of its parent's has half imported."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def price(self, provider: str, model: str) -> _Of:
        """What this model's tokens cost."""
        if not _installed():
            return _unknown
        calculated = _loaded()
        try:
            found = calculated(provider, model, Usage(0, 0))
        except LookupError:
            return _unknown
        if found.provider.id != provider:  # it guesses by parts of a name
            return _unknown
        priced = _exactly(calculated, provider, model)
        if isinstance(found.model.prices, list) or any(
            hasattr(one, "tiers") for one in vars(found.model_price).values()
        ):
            return priced  # it depends on the hour, or on how many tokens they are
        return _linear(priced) or priced


_list = _List()


def _installed() -> bool:
    try:
        return find_spec("genai_prices") is not None
    except (ImportError, ValueError):  # something that stands in its place
        return False


def _loaded() -> Callable[[str, str, Usage], Any]:
    library = import_module("genai_prices")
    import_module("genai_prices.data")

    def calculated(provider: str, model: str, usage: Usage) -> Any:
        counted = library.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )
        now = datetime.now(tz=timezone.utc)
        return library.calc_price(counted, model, provider_id=provider, genai_request_timestamp=now)

    return calculated


def _exactly(calculated: Callable[[str, str, Usage], Any], provider: str, model: str) -> _Of:
    return lambda usage: float(calculated(provider, model, usage).total_price)


def _linear(priced: _Of) -> _Of | None:
    """The same without the library, which takes sixty microseconds: so much for each token of a kind."""
    base = priced(Usage(0, 0)) or 0.0
    asked, answered, read, written = (
        ((priced(usage) or 0.0) - base) / _PROBE
        for usage in (
            Usage(_PROBE, 0),
            Usage(0, _PROBE),
            Usage(_PROBE, 0, cache_read_tokens=_PROBE),
            Usage(_PROBE, 0, cache_write_tokens=_PROBE),
        )
    )

    def usd(usage: Usage) -> float | None:
        cached, kept = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        plain = (usage.input_tokens or 0) - cached - kept
        if plain < 0 or cached < 0 or kept < 0:
            return None  # the provider has miscounted
        return base + plain * asked + cached * read + kept * written + (usage.output_tokens or 0) * answered

    return usd


def _unknown(_: Usage) -> None:
    return None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_list.settle)
