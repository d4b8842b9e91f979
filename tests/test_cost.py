"""Cost: by the price list of genai-prices, or by the application's own; what nobody knows has none."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError, Guard, Usage
from llmguard_middleware._flow import Flow
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.telemetry._cost import _IDS, Prices

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmguard_middleware.testing import CapturedTelemetry

MADE: dict[str, Callable[[Guard, Call], Any]] = {
    "Flow": Flow,
    "Unjudged": lambda guard, call: Unjudged(guard, call, None),
}
CHAT = Call("chat", provider="openai", model="gpt-4o")
COST = "llmguard.cost.usd"


def listed(provider: str, model: str, usage: Usage) -> float:
    """What the library itself says."""
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    return float(genai_prices.calc_price(counted, model, provider_id=provider).total_price)


def costs(telemetry: CapturedTelemetry) -> list[tuple[dict[str, Any], float]]:
    """The points of the cost."""
    found = [point for point in telemetry.points if point.metric == "llmguard.cost"]
    assert all((point.kind, point.unit) == ("counter", "{USD}") for point in found)
    return [(dict(point.attributes), point.value) for point in found]


@pytest.mark.parametrize("made", list(MADE))
def test_a_call_has_its_cost_on_its_span_and_in_a_counter(telemetry: CapturedTelemetry, made: str) -> None:
    """By the model that answered, in USD; two calls add up."""
    guard = Guard(**telemetry.providers)
    usage = Usage(1000, 100)
    for _ in range(2):
        MADE[made](guard, CHAT).answered(usage=usage, response_model="gpt-4o-mini-2024-07-18")
    expected = listed("openai", "gpt-4o-mini", usage)
    assert [span.attributes[COST] for span in telemetry.spans] == [pytest.approx(expected)] * 2
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    }
    assert costs(telemetry) == [(attributes, pytest.approx(2 * expected))]


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (CHAT.but(provider="fake"), {"usage": Usage(1000, 100)}),
        (CHAT.but(provider="my-openai-proxy"), {"usage": Usage(1000, 100)}),
        (CHAT.but(model="gpt-from-nowhere"), {"usage": Usage(1000, 100)}),
        (CHAT.but(model=""), {"usage": Usage(1000, 100)}),
        (CHAT, {}),
        (CHAT, {"usage": Usage()}),
        (CHAT, {"usage": Usage(10, 1, cache_read_tokens=11)}),
        (CHAT.but(operation="execute_tool", name="clock"), {"usage": Usage(1000, 100)}),
    ],
)
@pytest.mark.parametrize("made", list(MADE))
def test_what_is_not_known_has_no_cost(
    telemetry: CapturedTelemetry, made: str, call: Call, answer: dict[str, Any]
) -> None:
    """An unknown provider, model or number of tokens has no value, which is not 0."""
    MADE[made](Guard(**telemetry.providers), call).answered(**answer)
    (span,) = telemetry.spans
    assert COST not in span.attributes
    assert costs(telemetry) == []


tokens = st.integers(0, 400_000)
MODELS = [
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-5"),  # of two tiers
    ("google", "gemini-2.5-pro"),
    ("deepseek", "deepseek-chat"),
    ("perplexity", "sonar"),
    ("mistral", "mistral-large-latest"),
]


@given(st.sampled_from(MODELS), tokens, tokens, tokens, tokens)
def test_a_price_is_what_the_list_says(model: tuple[str, str], plain: int, read: int, written: int, out: int) -> None:
    """With what is read from and written to a cache at its own price, in every tier."""
    usage = Usage(plain + read + written, out, read or None, written or None, out // 2)
    told = Prices().usd(*_asked(model), usage)
    assert told == pytest.approx(listed(*model, usage), rel=1e-9, abs=1e-12)


def _asked(model: tuple[str, str]) -> tuple[str, tuple[str, str]]:
    provider = next((ours for ours, theirs in _IDS.items() if theirs == model[0]), model[0])
    return provider, ("", model[1])


@pytest.mark.parametrize("provider", sorted(_IDS))
def test_each_provider_of_the_conventions_is_one_of_the_list(provider: str) -> None:
    """The names of the conventions lead to providers that the list has."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - half a second

    assert _IDS[provider] in {one.id for one in get_snapshot().providers}


def test_embeddings_cost(telemetry: CapturedTelemetry) -> None:
    """They have no output."""
    call = Call("embeddings", provider="openai", model="text-embedding-3-small")
    Flow(Guard(**telemetry.providers), call).answered(usage=Usage(1000))
    expected = listed("openai", "text-embedding-3-small", Usage(1000, None))
    assert telemetry.spans[0].attributes[COST] == pytest.approx(expected)


def test_own_prices_come_first(telemetry: CapturedTelemetry) -> None:
    """A function of the application prices what it knows, and the list the rest."""
    asked = []

    def price(provider: str, model: str, usage: Usage) -> Any:
        asked.append((provider, model, usage))
        return Decimal("0.5") if model == "own" else None

    guard = Guard(**telemetry.providers, telemetry=TelemetryOptions(price=price))
    Flow(guard, Call("chat", provider="x", model="own")).answered(usage=Usage(1, 2))
    Flow(guard, CHAT).answered(usage=Usage(1000, 0))
    assert [span.attributes[COST] for span in telemetry.spans] == [0.5, listed("openai", "gpt-4o", Usage(1000, 0))]
    assert asked[0] == ("x", "own", Usage(1, 2))


def test_a_price_that_raises_breaks_no_call(telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by its type, once, and the call has no cost."""

    def price(provider: str, model: str, usage: Usage) -> float:
        raise KeyError("secret")

    guard = Guard(**telemetry.providers, telemetry=TelemetryOptions(price=price))
    for _ in range(2):
        Flow(guard, CHAT).answered(usage=Usage(1, 1))
    assert [record.getMessage() for record in caplog.records] == ["a call could not be priced: KeyError"]
    assert all(COST not in span.attributes for span in telemetry.spans)


def test_a_price_must_be_a_function() -> None:
    """One sentence that says of what."""
    with pytest.raises(ConfigurationError, match="give a function of the provider, the model and its Usage"):
        TelemetryOptions(price=0.5)  # type: ignore[arg-type]  # the mistake


PROGRAM = """
import socket, sys
def refused(*args, **kwargs): raise SystemExit("the network was asked")
socket.socket.connect = socket.getaddrinfo = refused
{before}
from llmguard_middleware import Call, Guard, Usage
from llmguard_middleware._flow import Flow
from llmguard_middleware.testing import captured_telemetry
assert "genai_prices" not in sys.modules
captured = captured_telemetry()
guard = Guard(**captured.providers)
assert "genai_prices" not in sys.modules
Flow(guard, Call("chat", provider="openai", model="gpt-4o")).answered(usage=Usage(1000, 0))
print(captured.spans[0].attributes.get("llmguard.cost.usd"))
"""


def _said(before: str) -> str:
    program = PROGRAM.format(before=before)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_the_list_is_loaded_at_the_first_call_and_asks_nobody() -> None:
    """Neither an import of ours nor a guard loads it, and it needs no network; the first call has its cost."""
    assert float(_said("")) == pytest.approx(listed("openai", "gpt-4o", Usage(1000, 0)))


def test_without_the_extra_calls_have_no_cost() -> None:
    """The library is not there, and nothing else changes."""
    assert _said(_HIDDEN) == "None"


_HIDDEN = """
import importlib.abc
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "genai_prices": raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""


def test_what_is_missing_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One debug line names the extra."""
    from llmguard_middleware.telemetry import _cost  # noqa: PLC0415 - its state is the test's

    listing = _cost._List()
    monkeypatch.setattr(_cost, "_list", listing)
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with caplog.at_level(logging.DEBUG, "llmguard.telemetry"):
        for _ in range(2):
            Prices().prepare()
    assert [record.getMessage() for record in caplog.records] == [
        'calls have no cost: install the extra "cost", pip install "llmguard-middleware[cost]"'
    ]


def test_a_child_has_prices_too(telemetry: CapturedTelemetry) -> None:
    """A fork while the list is being loaded waits for it."""
    from llmguard_middleware.telemetry import _cost  # noqa: PLC0415 - as above

    listing = _cost._List()
    listing.load()
    listing.settle()
    assert "genai_prices.data" in sys.modules
    assert "llmguard-prices" not in {thread.name for thread in threading.enumerate()}
