"""The attributes of model calls, embeddings and retrievals: few enough, whatever the calls say, and made once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._call import Call
from .. import _names as names

__all__ = ["OTHER", "Names", "Series", "SeriesOf"]

OTHER = "_other"
_MOST = 200  # values of one attribute
_SERIES = 1000  # combinations of them; the SDK drops into one series what is beyond 2,000, errors counted apart
_KNOWN = 4096  # combinations as they were asked for that are known by heart
_LONGEST = 100  # characters: what is longer is no name


class Names:
    """Lets the first two hundred values of each attribute pass; all others are `_other`, and stay so."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}

    def bounded(self, attribute: str, value: str) -> str:
        """The value, or `_other`."""
        known = self._known.setdefault(attribute, set())
        if value in known:
            return value
        if len(known) >= _MOST or len(value) > _LONGEST:
            return OTHER
        known.add(value)
        return value


class Series:
    """The attributes of one combination, as the metrics have them; `totals` are in the order of the counters."""

    __slots__ = ("attributes", "cost", "input", "output", "text", "totals", "usd")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.input = {**attributes, names.TOKEN_TYPE: "input"}
        self.output = {**attributes, names.TOKEN_TYPE: "output"}
        self.text = {**attributes, names.TOKEN_MODALITY: "unknown"}  # no provider tells it of all of its tokens
        self.cost = {name: attributes[name] for name in _PRICED if name in attributes}
        self.totals: list[int | None] = [None] * 5
        self.usd: float | None = None


_PRICED = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.RESPONSE_MODEL)


class SeriesOf:
    """The series that calls belong to."""

    def __init__(self, bounded: Names) -> None:
        self._names = bounded
        self._asked: dict[tuple[Any, ...], Series] = {}
        self.all: dict[tuple[Any, ...], Series] = {}

    def of(self, call: Call, response_model: str) -> Series:
        """That of this call."""
        key = call.operation, call.provider, call.model, response_model, call.server_address, call.server_port
        return self._asked.get(key) or self._found(key)

    def _found(self, key: tuple[Any, ...]) -> Series:
        operation, provider, model, response_model, address, port = key
        if len(self._asked) >= _KNOWN:
            self._asked.clear()
        bounded = self._names.bounded
        attributes: dict[str, Any] = {names.OPERATION: bounded(names.OPERATION, operation)}
        if provider or operation != "retrieval":
            attributes[names.PROVIDER] = bounded(names.PROVIDER, provider or "unknown")
        if model:
            attributes[names.REQUEST_MODEL] = bounded(names.REQUEST_MODEL, model)
        if response_model:
            attributes[names.RESPONSE_MODEL] = bounded(names.RESPONSE_MODEL, response_model)
        if address:
            attributes[names.SERVER_ADDRESS] = bounded(names.SERVER_ADDRESS, address)
            if port and bounded(names.SERVER_PORT, str(port)) is not OTHER:
                attributes[names.SERVER_PORT] = port
        if len(self.all) >= _SERIES:
            attributes = _rest(attributes)
        series = self.all.setdefault(tuple(attributes.items()), Series(attributes))
        self._asked[key] = series
        return series


def _rest(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is one combination too many, only what there are few of."""
    few = (names.OPERATION, names.PROVIDER)
    return {key: value if key == names.OPERATION else OTHER for key, value in attributes.items() if key in few} | {
        names.REQUEST_MODEL: OTHER
    }
