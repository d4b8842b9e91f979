"""Each text through each scorer: what is asked of an inline scorer whatever it is given."""

from __future__ import annotations

import gc
import math
import random
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import thread_time
from types import FrameType
from typing import Any

from llmguard_middleware import Call, Guard, Guardrail, Score
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._score import as_score

from ._dense import dense
from ._limits import MEGABYTE, limit
from ._making import Inline
from ._pace import pace
from ._texts import Giant, Text, text

__all__ = ["Finding", "Report", "fuzz", "fuzz_dense", "fuzz_giants"]

_PAIRS = 40
_STEADY = 1.5  # of two looks at the machine: by more they do not tell what it was in between
_HOPELESS = 8  # times what it may take
_STUCK = 60  # seconds, after which nobody waits any more
_STREAMED_ONE_IN, _STREAMED_MOST = 50, 2000


@dataclass(frozen=True)
class Finding:
    """What a scorer did wrong, and on which text: `--seed` and `--only` make it again."""

    scorer: str
    what: str
    seed: int
    number: int | str
    kind: str

    def __str__(self) -> str:
        return f"{self.scorer}: {self.what} (seed {self.seed}, text {self.number}, {self.kind})"


@dataclass
class Report:
    """What came of a run.

    Attributes:
        texts: how many were given to every scorer.
        dense: how many more that are of one thing from end to end.
        scores: how many scores that made.
        streams: how many streams were compared with the whole text.
        findings: what was wrong.
        slowest: of each scorer, CPU milliseconds for each megabyte, on texts of 64 KB and more, and on which text.
    """

    texts: int = 0
    dense: int = 0
    scores: int = 0
    streams: int = 0
    findings: list[Finding] = field(default_factory=list)
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)


def fuzz(
    scorers: Iterable[Inline], seed: int, numbers: Iterable[int], seen: Callable[[Report], None] | None = None
) -> Report:
    """Give the texts of these numbers to each of the scorers; `seen` is told after each text."""
    report, each = Report(), [(one, _Streams(one)) for one in scorers]
    for number in numbers:
        given = text(seed, number)
        for one, streams in each:
            _judge(one, given, seed, number, report)
            if number % _STREAMED_ONE_IN == 0 and streams.can and len(given.text) <= _STREAMED_MOST:
                report.streams += 1
                if wrong := streams.compare(given.text, random.Random(f"{seed} {number} {one.label}")):  # noqa: S311 - no secret
                    report.findings.append(Finding(one.label, wrong, seed, number, given.kind))
        report.texts += 1
        if seen is not None:
            seen(report)
    return report


def fuzz_giants(scorers: Iterable[Inline], seed: int, units: Iterable[Giant], report: Report) -> None:
    """Give ten megabytes of each unit to each scorer."""
    for giant in units:
        given = Text("giant", giant.text())
        for one in scorers:
            _judge(one, given, seed, f"giant {giant.unit!a}", report)
        report.texts += 1


def fuzz_dense(scorers: Iterable[Inline], report: Report) -> None:
    """Give what is of one thing from end to end to each scorer, whatever the seed."""
    for number, given in enumerate(dense()):
        for one in scorers:
            _judge(one, given, 0, f"dense {number}", report)
        report.dense += 1


def _judge(one: Inline, given: Text, seed: int, number: int | str, report: Report) -> None:
    size = len(given.text.encode("utf-8", "surrogatepass"))
    report.scores += 1
    arguments, most = _arguments(one, given.text), limit(one.label, size)
    try:
        seconds, score = _fastest(one, arguments, most)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        report.findings.append(Finding(one.label, f"raised {_where(error)}", seed, number, given.kind))
        return
    if size >= MEGABYTE // 16:
        rate = 1000 * seconds / (size / MEGABYTE)
        if rate > report.slowest.get(one.label, (0.0, ""))[0]:
            report.slowest[one.label] = (rate, f"seed {seed}, text {number}, {given.kind}")
    if seconds > most:
        what = f"took {seconds * 1000:.1f} ms for {size / MEGABYTE:.3f} MB, which may take {most * 1000:.1f}"
        report.findings.append(Finding(one.label, what, seed, number, given.kind))
    if wrong := _wrong(score, len(given.text)):
        report.findings.append(Finding(one.label, wrong, seed, number, given.kind))


def _arguments(one: Inline, given: str) -> dict[str, Any]:
    """The text, for whatever of a call the scorer asks for."""
    names = {source for _, source, needed in one.bound.parameters if needed} | {"text", "output"}
    return one.bound.arguments({name: [given] if name == "context" else given for name in names})


def _fastest(one: Inline, arguments: Mapping[str, Any], most: float) -> tuple[float, Score]:
    """Seconds of this thread's CPU, and the score.

    What takes too long is tried again, each time between two looks at how slow the machine is, and the fewest seconds
    for such a machine count: a scorer that is too slow is so each time, a machine is not. What takes many times too
    long is not tried for ever.
    """
    least, raw = _timed(one, arguments)
    if least > most:
        gc.collect()
        before = pace()
        for _ in range(_PAIRS):
            seconds, raw = _timed(one, arguments)
            after = pace()
            slow, slower = sorted((before, after))
            if slower <= _STEADY * slow:
                least = min(least, seconds / slow)
            if least <= most or seconds > _HOPELESS * most * slower:
                break
            before = after
    return least, as_score(raw, one.label)


def _timed(one: Inline, arguments: Mapping[str, Any]) -> tuple[float, Any]:
    with _not_stuck():
        before = thread_time()
        raw = one.bound.run(dict(arguments))
        return thread_time() - before, raw


@contextmanager
def _not_stuck() -> Iterator[None]:
    """Raises after a minute. Python's `re` looks for signals now and then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stuck(_: int, __: FrameType | None) -> None:
        msg = f"no answer after {_STUCK} seconds"
        raise TimeoutError(msg)

    before = signal.signal(signal.SIGALRM, stuck)
    signal.setitimer(signal.ITIMER_REAL, _STUCK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _where(error: BaseException) -> str:
    """Its type and the line that raised it: its text may quote what it was given."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    at = f" at {last.tb_frame.f_code.co_filename.rpartition('/')[2]}:{last.tb_lineno}" if last is not None else ""
    return type(error).__name__ + at


def _wrong(score: Score, length: int) -> str:
    """What is wrong with a score, whatever the text; empty if nothing is."""
    if score.unscored:
        return "" if score.value is None else "is unscored and has a value"
    if score.value is not None and not math.isfinite(score.value):
        return f"has a value of {score.value}"
    end = 0
    for span in score.spans:
        if not end <= span.start < span.end <= length:
            return f"has a span ({span.start}, {span.end}) after {end} in a text of {length}"
        end = span.end
    return ""


class _Streams:
    """A guard that redacts what a local scorer finds, whole and in pieces."""

    def __init__(self, one: Inline) -> None:
        self.can = one.bound.reach is not None and not one.bound.is_async
        if self.can:
            self._guard = Guard(Guardrail(one.bound.scorer, stage="output", action="redact"))

    def compare(self, given: str, chance: random.Random) -> str:
        """What is wrong with the stream of a text; empty if nothing is."""
        try:
            return self._compared(given, chance)
        except Exception as error:  # noqa: BLE001 - whatever a guard raises is what is looked for
            return f"raised {_where(error)} in a guard"

    def _compared(self, given: str, chance: random.Random) -> str:
        whole = self._guard.check(given, stage="output").guarded
        stream = Flow(self._guard, Call("chat")).stream()
        left, at = [], 0
        while at < len(given):
            size = chance.choice((1, 2, 3, 7, 40, 300))
            left.append(stream.feed(given[at : at + size]))
            at += size
        left.append(drive(stream.finish(), self._guard.workers))
        return "" if "".join(left) == whole else "redacts a stream otherwise than the whole text"
