"""Monitors whose scorers somebody else's executor runs."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llmguard_middleware import Call, ConfigurationError, Guard, Monitor, MonitorStats, Scorer, scorer
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware.testing import CapturedTelemetry, FakeScorer, Flags, Hangs, Raises

ANSWERED = Call("chat", answered=True, output="hello", trace_id=1)


def until(condition: Any) -> bool:
    """Whether it comes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return bool(condition())


class Threads(FakeScorer):
    """Notes which threads it ran on, and whether it knew what it was."""

    def __init__(self, **options: Any) -> None:
        super().__init__(name="threads", **options)
        self.ran: list[tuple[bool, bool]] = []

    def outcome(self, text: str) -> bool:
        """Not flagged."""
        self.ran.append((threading.current_thread().name.startswith("mine"), inside_scorer.get()))
        return False


def test_sync_scorers_run_on_the_executor() -> None:
    """Sync scorers run on the executor given, async ones on the guard's loop; both know that they are scorers."""
    now, later = Threads(), Threads(use_async=True)
    with ThreadPoolExecutor(1, "mine") as executor:
        guard = Guard(Monitor(now), Monitor(later, name="later"), executor=executor)
        guard.observe(ANSWERED)
        assert guard.flush(30) == 0
        assert (now.ran, later.ran) == ([(True, True)], [(False, True)])
        assert executor.submit(inside_scorer.get).result(10) is False
        guard.shutdown()
        assert executor.submit(lambda: "still there").result(10) == "still there"


def test_a_process_scores(telemetry: CapturedTelemetry) -> None:
    """A scorer that can be pickled runs in another process, and its score is recorded in this one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        guard = Guard(Monitor(Flags(when="l"), name="ells"), executor=executor, **telemetry.providers)
        guard.observe(ANSWERED)
        assert guard.flush(60) == 0
    assert guard.monitoring == MonitorStats(scored=1)
    assert telemetry.records[0].attributes["gen_ai.evaluation.score.value"] == 2.0


SCORERS = """
import os
from llmguard_middleware import Scorer, scorer

@scorer
def decorated(output: str, call=None) -> dict:
    return {"value": os.getpid(), "label": str(call is not None)}

def plain(output: str, **everything) -> dict:
    return {"value": os.getpid(), "label": str("call" in everything)}

class Batch(Scorer):
    name = "batch"
    def score(self, output): ...
    def score_batch(self, output):
        return [os.getpid() for _ in output]

def broken(output):
    raise ValueError(output)

def ends(output):
    os._exit(1)
"""

PROGRAM = """
import logging, multiprocessing, os, threading
from concurrent.futures import ProcessPoolExecutor
import scorers
from llmguard_middleware import Call, Guard, Monitor
from llmguard_middleware.testing import captured_telemetry

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    telemetry = captured_telemetry()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        guard = Guard(
            *(Monitor(s) for s in (scorers.decorated, scorers.plain, scorers.Batch(), scorers.broken)),
            executor=executor, **telemetry.providers,
        )
        guard.observe(Call("chat", answered=True, output="user text", attributes={"lock": "x"}))
        print(guard.flush(60), guard.monitoring)
        for record in sorted(telemetry.records, key=lambda r: r.attributes["llmguard.monitor.name"]):
            value = record.attributes.get("gen_ai.evaluation.score.value", 0)
            label = record.attributes.get("gen_ai.evaluation.score.label")
            print(record.attributes["llmguard.monitor.name"], value not in (0, os.getpid()), label)
        ends = Guard(Monitor(scorers.ends), executor=executor)
        for _ in range(3):
            ends.observe(Call("chat", answered=True, output="user text"))
            ends.flush(60)
        print(ends.monitoring)
"""


def test_all_kinds_of_scorers_run_in_a_process(tmp_path: Path) -> None:
    """Decorated functions, plain ones and batches are sent to a process, with the call only if they name it."""
    (tmp_path / "scorers.py").write_text(SCORERS)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == [
        f"0 {MonitorStats(scored=3, failed=1)}",
        "batch True None",
        "broken False unscored",
        "decorated True True",
        "plain True False",
        str(MonitorStats(failed=3)),
    ]
    assert done.stderr.splitlines() == [
        'monitor "broken" could not score: ValueError',
        (
            'monitor "ends" is not scored: its executor refused it (BrokenProcessPool); give the guard an executor '
            "that runs; this is said once"
        ),
    ]


def test_what_cannot_be_pickled_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A scorer that cannot be sent is told once and counted each time; the caller never sees an exception."""

    def local(text: str) -> bool:
        raise NotImplementedError

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        guard = Guard(Monitor(local), Monitor(Hangs(), name="locked"), executor=executor)
        for _ in range(3):
            guard.observe(ANSWERED)
        assert guard.flush(60) == 0
    assert guard.monitoring == MonitorStats(failed=6)
    assert sorted(message.split("(")[0] for message in caplog.messages) == [
        'monitor "local" is not scored: what its executor is to run cannot be pickled ',
        'monitor "locked" is not scored: what its executor is to run cannot be pickled ',
    ]
    assert caplog.messages[0].endswith(
        "); use a function or a class at the top of a module and inputs that can be pickled; this is said once"
    )


def test_an_executor_that_was_shut_down_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """An executor that refuses is told once and counted each time."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    guard = Guard(Monitor(Flags()), executor=executor)
    for _ in range(3):
        guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(failed=3)
    why = "its executor refused it (RuntimeError); give the guard an executor that runs; this is said once"
    assert caplog.messages == [f'monitor "flags" is not scored: {why}']


def test_the_clock_starts_when_it_is_handed_over(telemetry: CapturedTelemetry) -> None:
    """What waits in the executor's own queue runs out of time too; what was never started is never run."""
    slow = Hangs()
    with ThreadPoolExecutor(1) as executor:
        guard = Guard(Monitor(slow, timeout=0.05), executor=executor, **telemetry.providers)
        guard.observe(ANSWERED)
        assert slow.started.wait(10)
        guard.observe(ANSWERED)
        assert guard.flush(30) == 0
        assert until(lambda: guard.monitoring == MonitorStats(timed_out=2, abandoned=1))
        slow.release()
    assert until(lambda: guard.monitoring == MonitorStats(timed_out=2))
    assert (len(slow.seen), len(telemetry.records)) == (1, 2)


def test_a_scorer_that_fails_is_told_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """A scorer's own exception is no refusal."""
    with ThreadPoolExecutor(1) as executor:
        guard = Guard(Monitor(Raises(ValueError)), executor=executor)
        guard.observe(ANSWERED)
        guard.observe(ANSWERED)
        assert guard.flush(30) == 0
    assert caplog.messages == ['monitor "raises" could not score: ValueError'] * 2


def test_an_executor_may_run_at_once_or_never(caplog: pytest.LogCaptureFixture) -> None:
    """Any Executor will do: one that runs what it is given before it returns, and one that cancels it."""

    class AtOnce(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    class Never(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            return future

    for executor, stats in ((AtOnce(), MonitorStats(scored=1)), (Never(), MonitorStats(failed=1))):
        guard = Guard(Monitor(Flags()), executor=executor)
        guard.observe(ANSWERED)
        assert guard.flush(30) == 0
        assert guard.monitoring == stats
    assert [message.split(";")[0] for message in caplog.messages] == [
        'monitor "flags" is not scored: its executor refused it (CancelledError)'
    ]


def test_an_input_that_a_scorer_lacks_is_told_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A scorer that asks for what the call has not is never sent to the executor."""

    def relevance(question: str) -> bool:
        raise NotImplementedError

    with ThreadPoolExecutor(1) as executor:
        guard = Guard(Monitor(relevance), executor=executor)
        guard.observe(ANSWERED)
        assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(failed=1)
    assert caplog.messages[0].startswith('monitor "relevance" could not score: scorer "relevance" asks for "question"')


class Text(str):
    """A text that can be weakly referenced."""

    __slots__ = ("__weakref__",)


def test_no_executor_keeps_a_scored_call_alive() -> None:
    """Once scored, a call is not held in a cycle that waits for the collector."""
    with ThreadPoolExecutor(1) as executor:
        fake = Flags()
        guard = Guard(Monitor(fake), executor=executor)
        text = Text("user text")
        alive = weakref.ref(text)
        gc.disable()
        try:
            guard.observe(Call("chat", answered=True, output=text))
            del text
            assert guard.flush(30) == 0
            fake.seen.clear()
            assert until(lambda: alive() is None)
        finally:
            gc.enable()


def test_only_an_executor_is_one() -> None:
    """Anything else is refused when the guard is made."""
    with pytest.raises(ConfigurationError) as caught:
        Guard(Monitor(Flags()), executor=4)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "executor= takes a concurrent.futures.Executor and was given int; say ProcessPoolExecutor()"
    )


@scorer
def tone(output: str) -> bool:
    """A scorer that has the name of its function."""
    return output.isupper()


def test_a_decorated_function_is_pickled_by_its_name() -> None:
    """@scorer makes an object of a function, which is pickled as the function was: by its name."""
    assert pickle.loads(pickle.dumps(tone)) is tone
    renamed = pickle.loads(pickle.dumps(scorer(_shout, name="shout")))
    assert (renamed.name, renamed("x"), isinstance(tone, Scorer)) == ("shout", True, True)


def _shout(output: str) -> bool:
    return not output.isupper()
