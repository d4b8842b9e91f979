"""Monitors whose scorers take batches."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from llmguard_middleware import Call, ConfigurationError, Guard, Monitor, MonitorStats, Scorer
from llmguard_middleware.testing import CapturedTelemetry

either = pytest.mark.parametrize("use_async", [False, True])


def answered(text: str = "x", **fields: Any) -> Call:
    """An answered call."""
    return Call("chat", answered=True, output=text, **fields)


def until(condition: Any) -> bool:
    """Whether it comes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return bool(condition())


class Batches(Scorer):
    """Remembers its batches; `give` makes what it returns of the texts."""

    name = "batches"

    def __init__(self, give: Any = lambda texts: [False] * len(texts), *, use_async: bool = False) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self._give = give
        self.score_batch = self._later if use_async else self._now

    def score(self, text: str) -> bool:
        """What guardrails would use."""
        raise NotImplementedError

    def _now(self, text: list[str]) -> Any:
        self.batches.append(text)
        return self._give(text)

    async def _later(self, text: list[str]) -> Any:
        return self._now(text)

    @property
    def sizes(self) -> list[int]:
        """How large its batches were, the largest first."""
        return sorted(map(len, self.batches), reverse=True)


@either
def test_batches_are_as_large_as_they_may_be(use_async: bool) -> None:
    """A full batch is scored at once, an incomplete one when it is flushed; each call is in one batch, in order."""
    scorer = Batches(use_async=use_async)
    guard = Guard(Monitor(scorer, batch_size=4, batch_wait=3600))
    for i in range(10):
        guard.observe(answered(str(i)))
    assert until(lambda: guard.monitoring.scored == 8)
    assert scorer.sizes == [4, 4]
    assert guard.monitoring == MonitorStats(queued=2, scored=8)
    assert guard.flush(30) == 0
    assert sorted(scorer.batches) == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]]


@either
def test_an_incomplete_batch_waits_only_so_long(use_async: bool) -> None:
    """After batch_wait a batch is scored with what it has, again and again, without a flush."""
    scorer = Batches(use_async=use_async)
    guard = Guard(Monitor(scorer, batch_wait=0.01))
    for i in range(3):
        guard.observe(answered(str(i)))
        assert until(lambda i=i: guard.monitoring.scored == i + 1)
    assert scorer.sizes == [1, 1, 1]


def test_what_arrives_during_a_flush_does_not_wait() -> None:
    """While somebody flushes no batch waits to be complete."""
    held = threading.Event()
    scorer = Batches(lambda texts: [held.wait(30)] * len(texts))
    guard = Guard(Monitor(scorer, batch_size=2, batch_wait=3600))
    guard.observe(answered())
    flushing = threading.Thread(target=guard.flush, args=(30,))
    flushing.start()
    assert until(lambda: guard.monitoring.running == 1)
    guard.observe(answered())
    assert until(lambda: guard.monitoring.running == 2)
    held.set()
    flushing.join(30)
    assert guard.monitoring == MonitorStats(scored=2)
    guard.observe(answered())
    assert guard.monitoring.queued == 1
    guard.flush(30)


@either
def test_each_result_is_a_score_of_its_own(telemetry: CapturedTelemetry, use_async: bool) -> None:
    """Each entry is normalised as what score() returns; one that is no score is the failure of its call alone."""
    scorer = Batches(lambda texts: [True, 0.5, {"score": 0.25}, "bad"], use_async=use_async)
    guard = Guard(Monitor(scorer, batch_size=4, batch_wait=3600), **telemetry.providers)
    for i in range(4):
        guard.observe(answered(response_id=str(i)))
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(scored=3, failed=1)
    told = {record.attributes["gen_ai.response.id"]: record.attributes for record in telemetry.records}
    assert [told[str(i)].get("gen_ai.evaluation.score.value") for i in (1, 2)] == [0.5, 0.25]
    assert told["3"]["error.type"] == "llmguard_middleware.errors.ScorerError"


async def _nothing() -> None:
    """Nothing."""


WRONG = [
    (lambda texts: [True], "1 scores"),
    (lambda texts: "ab", "a str"),
    (lambda texts: {"a": 1, "b": 2}, "a dict"),
    (lambda texts: True, "a bool"),
    (lambda texts: _nothing(), "a coroutine"),
]


@pytest.mark.parametrize(("give", "what"), WRONG, ids=[what for _, what in WRONG])
def test_a_batch_that_is_not_answered_for_each_call_has_failed(
    caplog: pytest.LogCaptureFixture, give: Any, what: str
) -> None:
    """Anything but one score for each call fails every call of the batch, with a sentence that says so."""
    guard = Guard(Monitor(Batches(give), batch_size=2))
    guard.observe(answered())
    guard.observe(answered())
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(failed=2)
    why = f'score_batch of scorer "batches" returned {what} for 2 calls; return a sequence, one score for each'
    assert caplog.messages == [f'monitor "batches" could not score: {why}'] * 2


@either
def test_a_batch_that_raises_fails_every_call(caplog: pytest.LogCaptureFixture, use_async: bool) -> None:
    """An exception is told by its kind, for each call."""

    def give(texts: list[str]) -> Any:
        raise ValueError(texts)

    guard = Guard(Monitor(Batches(give, use_async=use_async), batch_size=2))
    guard.observe(answered("user text"))
    guard.observe(answered("user text"))
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(failed=2)
    assert caplog.messages == ['monitor "batches" could not score: ValueError'] * 2


def test_a_batch_that_hangs_is_out_of_time() -> None:
    """Every call of it is out of time, and its one thread is lost until it returns."""
    held = threading.Event()
    guard = Guard(Monitor(Batches(lambda texts: [held.wait(60)] * len(texts)), batch_size=3, timeout=0.05))
    for _ in range(3):
        guard.observe(answered())
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(timed_out=3, abandoned=1)
    held.set()
    assert until(lambda: guard.monitoring == MonitorStats(timed_out=3))


def test_an_async_batch_that_hangs_is_out_of_time() -> None:
    """The same on the event loop, where it is cancelled."""

    class Waits(Scorer):
        name = "waits"

        def score(self, text: str) -> bool:
            raise NotImplementedError

        async def score_batch(self, text: list[str]) -> list[bool]:
            await asyncio.sleep(60)
            return []

    guard = Guard(Monitor(Waits(), batch_size=3, timeout=0.05))
    for _ in range(3):
        guard.observe(answered())
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(timed_out=3)


def test_parameters_are_lists_of_what_each_call_has() -> None:
    """Parameters are filled by name, through column_map too; a call that lacks what is needed fails alone."""
    seen: list[Any] = []

    class Relevance(Scorer):
        name = "relevance"

        def score(self, answer: str, question: str, tone: str = "", style: str = "") -> bool:
            raise NotImplementedError

        def score_batch(self, answer: Any, question: Any, tone: Any = "default", style: Any = "default") -> list[bool]:
            seen.append((answer, question, tone, style))
            return [False] * len(answer)

    guard = Guard(Monitor(Relevance(column_map={"answer": "output"}), batch_size=3, batch_wait=3600))
    guard.observe(answered("a", inputs={"question": "q", "tone": "t"}))
    guard.observe(answered("b"))
    guard.observe(answered("c", inputs={"question": "r"}))
    assert guard.flush(30) == 0
    assert seen == [(["a", "c"], ["q", "r"], ["t", None], "default")]
    assert guard.monitoring == MonitorStats(scored=2, failed=1)


def test_calls_made_by_a_batch_are_not_monitored() -> None:
    """A judge that is asked in batches is not monitored for the calls it makes."""

    def give(texts: list[str]) -> list[bool]:
        guard.observe(answered())
        return [False] * len(texts)

    guard = Guard(Monitor(Batches(give), batch_size=1))
    guard.observe(answered())
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(scored=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, 'batch_size of monitor "batches" is 0; give a whole number, 1 or more'),
        ({"batch_size": 2.5}, 'batch_size of monitor "batches" is 2.5; give a whole number, 1 or more'),
        ({"batch_wait": -1}, 'batch_wait of monitor "batches" is -1; give seconds, 0 or more'),
        ({"batch_wait": float("inf")}, 'batch_wait of monitor "batches" is inf; give seconds, 0 or more'),
    ],
)
def test_a_mistake_in_a_batch_is_told_at_once(options: Any, sentence: str) -> None:
    """Each mistake is a ConfigurationError of one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        Monitor(Batches(), **options)
    assert str(caught.value) == sentence
