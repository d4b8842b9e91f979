"""The two drivers: deadlines, failures, cancellation, and that both come to the same outcome."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import math
import subprocess
import sys
import threading
import time
import weakref
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import Guard, Guardrail, Score, ScorerError, ScorerTimeoutError, Verdict
from llmguard_middleware._drive import adrive, drive, inside_scorer
from llmguard_middleware._workers import Workers
from llmguard_middleware.testing import FakeScorer, Flags, Hangs, Raises, Returns


async def check(guard: Guard, text: str, mode: str) -> Verdict:
    """Judge the input by the sync or by the async driver."""
    return guard.check(text, stage="input") if mode == "check" else await guard.acheck(text, stage="input")


both = pytest.mark.parametrize("mode", ["check", "acheck"])
kinds = pytest.mark.parametrize(
    "options", [{}, {"use_async": True}, {"cheap": True}, {"cheap": True, "use_async": True}], ids=str
)


@both
@kinds
async def test_a_flag_blocks(mode: str, options: dict[str, Any]) -> None:
    """Pool, loop or inline, sync or async: a flagged score blocks and an unflagged one passes."""
    guard = Guard(Guardrail(Flags(when="bad", **options), stage="input"))
    assert (await check(guard, "bad", mode)).outcome == "blocked"
    assert (await check(guard, "good", mode)).outcome == "passed"


@both
@kinds
@pytest.mark.parametrize(("on_error", "stops"), [("block", True), ("allow", False)])
async def test_a_scorer_that_raises(mode: str, options: dict[str, Any], on_error: Any, stops: bool) -> None:
    """A scorer that raises is an error finding that holds the exception, and stops the call if on_error says so."""
    error = ValueError("user text")
    verdict = await check(Guard(Guardrail(Raises(error, **options), stage="input", on_error=on_error)), "x", mode)
    assert (verdict.outcome, verdict.stops, verdict.cause.error) == ("error", stops, error)


@both
@kinds
@pytest.mark.parametrize(("on_error", "stops"), [("block", True), ("allow", False)])
async def test_a_scorer_that_returns_nonsense(mode: str, options: dict[str, Any], on_error: Any, stops: bool) -> None:
    """A scorer that returns no score has failed."""
    verdict = await check(Guard(Guardrail(Returns("high", **options), stage="input", on_error=on_error)), "x", mode)
    assert (verdict.outcome, verdict.stops) == ("error", stops)
    assert str(verdict.cause.error) == 'scorer "returns" returned str; return a dict, a bool, a number or a Score'


@both
@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize(("on_error", "stops"), [("block", True), ("allow", False)])
async def test_a_scorer_that_hangs(mode: str, use_async: bool, on_error: Any, stops: bool) -> None:
    """A scorer that is out of time has failed, with a sentence that says so; a clean rule beside it still passes."""
    slow = Hangs(use_async=use_async)
    rules = (
        Guardrail(slow, stage="input", timeout=0.05, on_error=on_error),
        Guardrail(Flags(when="bad"), stage="input"),
    )
    verdict = await check(Guard(*rules), "x", mode)
    assert (verdict.outcome, verdict.stops, verdict.cause.rule) == ("error", stops, "hangs")
    assert isinstance(verdict.cause.error, ScorerTimeoutError)
    assert str(verdict.cause.error) == 'scorer "hangs" took longer than 0.05 s'
    assert verdict.findings[1].outcome == "passed"
    if use_async:
        await asyncio.to_thread(slow.cancelled.wait, 10)
        assert slow.cancelled.is_set()
    slow.release()


@both
@pytest.mark.parametrize("use_async", [False, True])
async def test_a_block_does_not_wait_for_the_rest(mode: str, use_async: bool) -> None:
    """The first violation ends the check while another scorer still hangs; that one is cancelled if it can be."""
    slow = Hangs(use_async=use_async)
    guard = Guard(Guardrail(slow, stage="input", timeout=60), Guardrail(Flags(when="bad"), stage="input"))
    verdict = await check(guard, "bad", mode)
    assert [finding.outcome for finding in verdict.findings] == ["skipped", "blocked"]
    assert not slow.ended.is_set()
    slow.release()


@both
async def test_guardrails_run_in_parallel(mode: str) -> None:
    """Two scorers that wait for each other both finish."""
    meeting = threading.Barrier(2)

    def meet(text: str) -> bool:
        meeting.wait(30)
        return False

    rules = [Guardrail(meet, stage="input", name=name) for name in ("one", "two")]
    assert (await check(Guard(*rules), "x", mode)).outcome == "passed"


@both
async def test_an_unlimited_time_is_allowed(mode: str) -> None:
    """timeout=inf waits as long as it takes."""
    assert (
        await check(Guard(Guardrail(Flags(when="y"), stage="input", timeout=math.inf)), "x", mode)
    ).outcome == "passed"


@both
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_interrupts_pass_untouched_through_cheap_scorers(mode: str, error: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit are nobody's failed score, and inside_scorer is as it was."""
    with pytest.raises(error):
        await check(Guard(Guardrail(Raises(error, cheap=True), stage="input", on_error="allow")), "x", mode)
    assert inside_scorer.get() is False


@both
async def test_interrupts_pass_untouched_through_the_pool(mode: str) -> None:
    """SystemExit in a pool thread reaches the caller."""
    with pytest.raises(SystemExit):
        await check(Guard(Guardrail(Raises(SystemExit), stage="input", on_error="allow")), "x", mode)


def test_a_system_exit_does_not_end_the_loop_of_async_scorers() -> None:
    """After an async scorer left by SystemExit, the sync driver's loop still runs others."""
    guard = Guard(
        Guardrail(Raises(SystemExit, use_async=True), stage="input"), Guardrail(Flags(use_async=True), stage="output")
    )
    with pytest.raises(SystemExit):
        guard.check("x", stage="input")
    assert guard.check("x", stage="output").outcome == "blocked"


@both
@kinds
async def test_stop_iteration_is_a_failed_score(mode: str, options: dict[str, Any]) -> None:
    """A scorer that calls next() once too often has failed at once; no driver takes it for its own end."""
    verdict = await check(Guard(Guardrail(Raises(StopIteration, **options), stage="input", timeout=60)), "x", mode)
    assert (verdict.outcome, verdict.stops) == ("error", True)
    assert not isinstance(verdict.cause.error, ScorerError)


async def test_cancelling_acheck_cancels_the_scorer() -> None:
    """Cancellation from outside passes through acheck, and the async scorer under way is cancelled too."""
    slow = Hangs(use_async=True)
    checking = asyncio.create_task(Guard(Guardrail(slow, stage="input", on_error="allow")).acheck("x", stage="input"))
    await asyncio.to_thread(slow.started.wait, 10)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    await asyncio.sleep(0)
    assert slow.cancelled.is_set()


@pytest.mark.parametrize("use_async", [False, True])
def test_a_call_may_be_closed_when_its_loop_is_gone(use_async: bool) -> None:
    """A coroutine that its loop left behind is closed by the collector, when that loop may be closed."""
    slow = Hangs(use_async=use_async)
    call = Guard(Guardrail(slow, stage="input")).acheck("x", stage="input")
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        call.send(None)
        await asyncio.to_thread(slow.started.wait, 10)

    loop.run_until_complete(begin())
    loop.close()
    call.close()
    slow.release()
    assert inspect.getcoroutinestate(call) == inspect.CORO_CLOSED


async def test_exceptions_that_nobody_waits_for_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A scorer that fails after the verdict fell leaves no exception text in asyncio's log."""
    ready = threading.Event()

    def fails(text: str) -> bool:
        ready.wait(10)
        raise ValueError(text)

    async def blocks(text: str) -> bool:
        ready.set()
        await asyncio.sleep(0.05)  # so that both are done when the driver looks
        return True

    async def fails_late(text: str) -> bool:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError(text) from None
        return False

    guard = Guard(*(Guardrail(s, stage="input") for s in (blocks, fails, fails_late)))
    with caplog.at_level(logging.DEBUG):
        await guard.acheck("user text", stage="input")
        await asyncio.sleep(0.05)
        gc.collect()
    assert "user text" not in caplog.text


@both
@kinds
async def test_a_scorer_knows_that_it_is_inside_one(mode: str, options: dict[str, Any]) -> None:
    """inside_scorer is set while a scorer runs and at no other time."""

    class Looks(FakeScorer):
        def outcome(self, text: str) -> Score:
            return Score(flagged=bool(inside_scorer.get()))

    assert (await check(Guard(Guardrail(Looks(**options), stage="input")), "x", mode)).outcome == "blocked"
    assert inside_scorer.get() is False


variable: ContextVar[str] = ContextVar("variable", default="none")


@both
@kinds
async def test_a_scorer_sees_the_context_of_its_caller(mode: str, options: dict[str, Any]) -> None:
    """Context variables, and so the current OpenTelemetry span, reach a guardrail's scorer wherever it runs."""

    class Looks(FakeScorer):
        def outcome(self, text: str) -> Score:
            return Score(label=variable.get())

    variable.set("caller")
    verdict = await check(Guard(Guardrail(Looks(**options), stage="input")), "x", mode)
    assert verdict.cause.score == Score(label="caller")


fakes = st.one_of(
    st.builds(lambda when: ("flags", when), st.sampled_from(["", "a", "b", "z"])),
    st.just(("raises", "")),
    st.just(("nonsense", "")),
)
ruled = st.tuples(fakes, st.sampled_from(["redact", "log"]), st.sampled_from(["allow"]), st.booleans(), st.booleans())
shared = Guard()


def build(rules: list[Any]) -> list[Guardrail]:
    """Guardrails of fakes."""
    made = []
    for i, ((what, when), action, on_error, cheap, use_async) in enumerate(rules):
        options: dict[str, Any] = {"cheap": cheap, "use_async": use_async}
        fake = Flags(when=when, kind=f"K{i}", **options) if what == "flags" else Raises(ValueError, **options)
        fake = Returns("nonsense", **options) if what == "nonsense" else fake
        made.append(Guardrail(fake, stage="input", action=action, on_error=on_error, name=f"r{i}"))
    return made


def plain(verdict: Verdict) -> Any:
    """A verdict without times and exception objects."""
    findings = [(f.rule, f.outcome, f.score, type(f.error), f.stops) for f in verdict.findings]
    return verdict.outcome, verdict.guarded, verdict.edits, findings


@settings(max_examples=100, deadline=None)
@given(st.lists(ruled, max_size=4), st.text("abc", max_size=8))
def test_both_drivers_come_to_the_same_verdict(rules: list[Any], text: str) -> None:
    """For any set of rules that do not stop the call, check and acheck give the same verdict, finding by finding."""
    made = build(rules)
    sync = shared_plan(made, text)
    assert plain(sync) == plain(asyncio.run(shared_aplan(made, text)))


def shared_plan(rules: list[Guardrail], text: str) -> Verdict:
    """Judge by one guard's workers, so that not every example starts threads."""
    return drive(shared.plan(text, "input", rules=rules), shared.workers)


async def shared_aplan(rules: list[Guardrail], text: str) -> Verdict:
    """The same, async."""
    return await adrive(shared.plan(text, "input", rules=rules), shared.workers)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            fakes,
            st.sampled_from(["block", "redact", "log"]),
            st.sampled_from(["block", "allow"]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=4,
    ),
    st.text("abc", max_size=8),
)
def test_both_drivers_agree_whether_the_call_stops(rules: list[Any], text: str) -> None:
    """For any set of rules at all, check and acheck agree on whether the call must stop, and on what passes."""
    made = build(rules)
    sync, later = shared_plan(made, text), asyncio.run(shared_aplan(made, text))
    assert sync.stops == later.stops
    assert sync.stops or plain(sync) == plain(later)


def test_a_pool_starts_no_more_threads_than_it_needs() -> None:
    """An idle thread is used again, cancelled work included, and never more than `size` run."""
    workers = Workers(3, "test-pool")
    running = lambda: sum(t.name.startswith("test-pool") for t in threading.enumerate())  # noqa: E731
    for _ in range(20):
        workers.submit(copy_context(), lambda: None).result(10)
    few = running()
    gate = threading.Event()
    busy = [workers.submit(copy_context(), lambda: gate.wait(30)) for _ in range(6)]
    assert [future.cancel() for future in busy].count(True) >= 3
    gate.set()
    results = [workers.submit(copy_context(), lambda i=i: i) for i in range(50)]
    assert [future.result(10) for future in results] == list(range(50))
    assert few <= 2
    assert running() <= 3


def test_queued_work_that_is_cancelled_is_never_run() -> None:
    """A job cancelled before its turn does not start; neither does a coroutine."""
    workers, gate, ran = Workers(1, "test-cancel"), threading.Event(), threading.Event()
    busy = workers.submit(copy_context(), lambda: gate.wait(30))
    waiting = workers.submit(copy_context(), ran.set)

    async def blocks() -> None:
        gate.wait(30)

    async def runs() -> None:
        ran.set()

    blocking = workers.submit_async(copy_context(), blocks)
    queued = workers.submit_async(copy_context(), runs)
    assert waiting.cancel()
    assert queued.cancel()
    gate.set()
    assert busy.result(10)
    blocking.result(10)
    workers.submit(copy_context(), lambda: None).result(10)
    workers.submit_async(copy_context(), _nothing).result(10)
    assert not ran.is_set()


async def _nothing() -> None:
    """Nothing."""


class Text(str):
    """A text that can be weakly referenced."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_no_thread_keeps_a_text_alive(use_async: bool, fails: bool) -> None:
    """Once a check is over no worker holds on to what it scored, not even in a cycle that waits for the collector."""

    async def later(text: str) -> bool:
        return now(text)

    def now(text: str) -> bool:
        if fails:
            raise ValueError
        return False

    guard = Guard(Guardrail(later if use_async else now, stage="input", on_error="allow"))
    text = Text("user text")
    alive = weakref.ref(text)
    gc.disable()
    try:
        guard.check(text, stage="input")
        del text
        assert gone(alive)
    finally:
        gc.enable()


def gone(alive: weakref.ref[Any]) -> bool:
    """Whether it is freed within ten seconds; the thread that ran the scorer needs a moment to let go."""
    deadline = time.monotonic() + 10
    while alive() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    return alive() is None


def test_threads_end_with_their_guard() -> None:
    """A guard that nobody uses any more takes its threads with it."""
    before = set(threading.enumerate())
    guard = Guard(Guardrail(Flags(), stage="input"), Guardrail(Flags(name="b", use_async=True), stage="input"))
    guard.check("x", stage="input")
    started = [thread for thread in threading.enumerate() if thread not in before and "guardrail" in thread.name]
    assert started
    del guard
    deadline = time.monotonic() + 20
    while any(thread.is_alive() for thread in started) and time.monotonic() < deadline:
        gc.collect()  # again, since a thread may still have been in the frame that holds the last reference
        started[0].join(0.05)
    assert not any(thread.is_alive() for thread in started)


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter that treats warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("use_async", [False, True])
def test_a_hanging_guardrail_does_not_keep_the_interpreter(use_async: bool) -> None:
    """A process whose guardrail scorer still hangs ends at once, and says nothing."""
    done = python(f"""
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.testing import Hangs
guard = Guard(Guardrail(Hangs(use_async={use_async}), stage="input", timeout=0.1))
print(guard.check("x", stage="input").outcome)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("error\n", "", 0)


@pytest.mark.parametrize("use_async", [False, True])
def test_workers_survive_fork(use_async: bool) -> None:
    """After fork the child scores with threads of its own, and the parent goes on with its own."""
    done = python(f"""
import os, gc
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.testing import Flags
guard = Guard(Guardrail(Flags(when="bad", use_async={use_async}), stage="input", timeout=20))
outcome = lambda: guard.check("bad", stage="input").outcome
assert outcome() == "blocked"
child = os.fork()
if not child:
    gc.collect()
    os._exit(0 if outcome() == "blocked" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(outcome())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("blocked\n", "", 0)


def test_scorers_under_way_are_cancelled_when_their_guard_is_gone() -> None:
    """An async scorer whose guard nobody holds any more is cancelled, and its event loop ends."""
    slow = Hangs(use_async=True)
    workers = Workers(1, "test-gone")
    workers.submit_async(copy_context(), lambda: slow.score("x"))
    assert slow.started.wait(10)
    del workers
    gc.collect()
    assert slow.cancelled.wait(10)
