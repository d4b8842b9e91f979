"""Set-up: run once per scorer object, before its first score, however many threads and loops ask for it."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Monitor, ScorerError, ScorerInputError
from llmguard_middleware._scorer import bind
from llmguard_middleware.testing import Returns, captured_telemetry


class Slow(Returns):
    """Sets up, sync, when it is told to; remembers where."""

    def __init__(self, *, fails: BaseException | None = None, **options: Any) -> None:
        super().__init__(False, name="slow", **options)
        self.started, self.go = threading.Event(), threading.Event()
        self.where: list[int] = []
        self.fails = fails
        self.go.set()

    def setup(self) -> Any:
        """Wait until it is told to go on, then fail once if it is made to."""
        self.where.append(threading.get_ident())
        self.started.set()
        assert self.go.wait(30)
        self._end()

    def _end(self) -> None:
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error

    def outcome(self, text: str) -> Any:
        """Fail unless set up."""
        assert self.where
        assert self.go.is_set()
        return super().outcome(text)


class SlowAsync(Slow):
    """Sets up, async, when it is told to."""

    async def setup(self) -> None:
        """Wait on the loop."""
        self.where.append(threading.get_ident())
        self.started.set()
        while not self.go.is_set():  # noqa: ASYNC110 - set by a thread, which an asyncio.Event does not survive
            await asyncio.sleep(0.005)
        self._end()


async def begun(scorer: Slow) -> None:
    """Let the loop go on until the set-up has begun and everything else has had its turn."""
    await asyncio.sleep(0)
    while not scorer.started.is_set():  # noqa: ASYNC110 - set by a thread, which an asyncio.Event does not survive
        await asyncio.sleep(0.005)


EACH = pytest.mark.parametrize("make", [Slow, SlowAsync])
TEXT = {"text": "x"}


@EACH
def test_setup_runs_once_before_the_first_score(make: Callable[..., Slow]) -> None:
    """A sync scorer is set up by its first score and never again, whatever binds it."""
    scorer = make()
    bound, again = bind(scorer), bind(scorer)
    assert scorer.where == []
    assert [bound(TEXT), bound(TEXT), again(TEXT), bind(scorer)(TEXT)] == [False] * 4
    assert len(scorer.where) == 1


@EACH
async def test_setup_of_an_async_scorer_runs_once_before_the_first_score(make: Callable[..., Slow]) -> None:
    """An async scorer is set up by its first score and never again, whatever binds it."""
    scorer = make(use_async=True)
    bound = bind(scorer)
    assert [await bound(TEXT), await bound(TEXT), await bind(scorer)(TEXT)] == [False] * 3
    assert len(scorer.where) == 1


@EACH
def test_threads_wait_for_one_setup(make: Callable[..., Slow]) -> None:
    """First scores in many threads, by two bindings, share one set-up: none of them scores before it is over."""
    scorer = make()
    scorer.go.clear()
    bindings = [bind(scorer), bind(scorer)]
    everybody = threading.Barrier(9)

    def score(index: int) -> Any:
        everybody.wait(30)
        return bindings[index % 2](TEXT)

    with ThreadPoolExecutor(8) as pool:
        scores = [pool.submit(score, index) for index in range(8)]
        everybody.wait(30)
        assert scorer.started.wait(30)
        assert (scorer.seen, [s.done() for s in scores]) == ([], [False] * 8)
        scorer.go.set()
        assert [s.result(30) for s in scores] == [False] * 8
    assert len(scorer.where) == 1


@EACH
async def test_a_loop_goes_on_while_its_scorer_is_set_up(make: Callable[..., Slow]) -> None:
    """First scores on one loop share one set-up, sync or async, and do not block the loop, which here ends it."""
    scorer = make(use_async=True)
    scorer.go.clear()
    bound = bind(scorer)

    async def release() -> None:
        await begun(scorer)
        scorer.go.set()

    assert await asyncio.gather(*(bound(TEXT) for _ in range(4)), release()) == [False] * 4 + [None]
    assert len(scorer.where) == 1


async def test_an_async_setup_shares_the_loop_of_its_async_scorer() -> None:
    """What an async set-up opens belongs to the loop on which the scorer runs."""
    loops = []

    class Connected:
        async def setup(self) -> None:
            loops.append(asyncio.get_running_loop())

        async def score(self, text: str) -> bool:
            return not text

    await bind(Connected())(TEXT)
    assert loops == [asyncio.get_running_loop()]


async def test_a_sync_scorer_on_a_loop_may_have_an_async_setup() -> None:
    """Where a loop runs already, the async set-up of a sync scorer gets a thread of its own."""
    scorer = SlowAsync()
    assert bind(scorer)(TEXT) is False
    assert scorer.where != [threading.get_ident()]


def test_an_async_setup_leaves_the_threads_loop_alone() -> None:
    """The event loop that a thread has set for itself is still its own after an async set-up."""

    def thread() -> bool:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        bind(SlowAsync())(TEXT)
        kept = asyncio.get_event_loop() is loop
        loop.close()
        return kept

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(thread).result(30)


FAILURES = pytest.mark.parametrize(
    ("error", "why"),
    [
        (RuntimeError("quotes a key"), "RuntimeError"),
        (ConfigurationError("write this instead"), "write this instead"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)


@EACH
@FAILURES
def test_a_failed_setup_fails_the_score_and_is_tried_again(
    make: Callable[..., Slow], error: BaseException, why: str
) -> None:
    """The score fails with the type of a foreign error or our own sentence; the next score sets up anew."""
    scorer = make(fails=error)
    bound = bind(scorer)
    with pytest.raises(ScorerError) as caught:
        bound(TEXT)
    assert str(caught.value) == f'scorer "slow" could not be set up: {why}'
    assert scorer.seen == []
    assert (bound(TEXT), bound(TEXT), len(scorer.where)) == (False, False, 2)


@EACH
@FAILURES
async def test_a_failed_setup_of_an_async_scorer_is_tried_again(
    make: Callable[..., Slow], error: BaseException, why: str
) -> None:
    """The same on a loop; concurrent first scores fail with the one set-up that they waited for."""
    scorer = make(fails=error, use_async=True)
    bound = bind(scorer)
    scorer.go.clear()
    both = asyncio.gather(bound(TEXT), bound(TEXT), return_exceptions=True)
    await begun(scorer)
    scorer.go.set()
    failed = await both
    assert [str(f) for f in failed] == [f'scorer "slow" could not be set up: {why}'] * 2
    assert failed[0] is not failed[1]
    assert scorer.seen == []
    assert (await bound(TEXT), len(scorer.where)) == (False, 2)


@EACH
def test_an_exit_passes_through_setup(make: Callable[..., Slow]) -> None:
    """A SystemExit raised in a set-up, wherever it runs, leaves the score untouched."""
    scorer = make(fails=SystemExit(3))
    with pytest.raises(SystemExit):
        bind(scorer)(TEXT)
    assert bind(scorer)(TEXT) is False


async def test_an_exit_passes_through_an_async_setup() -> None:
    """A SystemExit raised in a set-up on the loop reaches who awaits the score, not the loop."""
    scorer = SlowAsync(fails=SystemExit(3), use_async=True)
    with pytest.raises(SystemExit):
        await bind(scorer)(TEXT)
    assert await bind(scorer)(TEXT) is False


@EACH
async def test_a_cancelled_score_leaves_the_setup_running(make: Callable[..., Slow]) -> None:
    """A score that is out of time does not take the set-up with it: a later score finds it done."""
    scorer = make(use_async=True)
    scorer.go.clear()
    bound = bind(scorer)
    first = asyncio.ensure_future(bound(TEXT))
    await begun(scorer)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.ensure_future(bound(TEXT))
    await asyncio.sleep(0)
    scorer.go.set()
    assert (await second, len(scorer.where), len(scorer.seen)) == (False, 1, 1)


def test_a_setup_ends_with_its_loop_and_begins_anew_on_the_next() -> None:
    """A loop that ends cancels the set-up that it runs, also one that had not begun; the next loop's is complete."""
    for turns in (1, 2, 5):
        scorer = SlowAsync(use_async=True)
        scorer.go.clear()
        bound = bind(scorer)
        asyncio.run(started(bound, turns))
        scorer.go.set()
        assert asyncio.run(awaited(bound)) is False


async def test_a_setup_cancelled_before_it_began_is_tried_again() -> None:
    """Who cancels all tasks of a loop that goes on fails the set-up among them, and the next score makes another."""
    bound = bind(SlowAsync(use_async=True))
    first = asyncio.ensure_future(bound(TEXT))
    await asyncio.sleep(0)
    (setup,) = asyncio.all_tasks() - {asyncio.current_task(), first}
    setup.cancel()
    with pytest.raises(ScorerError, match=r'^scorer "slow" could not be set up: CancelledError$'):
        await first
    assert await bound(TEXT) is False


def test_a_setup_whose_loop_was_closed_begins_anew() -> None:
    """A loop closed in the middle of a set-up, without a word, does not hold up the scores of other loops."""
    scorer = SlowAsync(use_async=True)
    scorer.go.clear()
    bound = bind(scorer)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it complains about the task that it lost
    loop.run_until_complete(started(bound, 5))
    loop.close()
    scorer.go.set()
    assert (asyncio.run(awaited(bound)), len(scorer.where)) == (False, 2)


async def started(bound: Any, turns: int) -> None:
    """Start a score and go on for so many turns of the loop."""
    score = asyncio.ensure_future(bound(TEXT))
    for _ in range(turns):
        await asyncio.sleep(0)
    score.cancel()


async def awaited(bound: Any) -> Any:
    """A coroutine for asyncio.run."""
    return await bound(TEXT)


@EACH
@pytest.mark.parametrize("use_async", [False, True])
def test_warm_sets_up_now(make: Callable[..., Slow], use_async: bool) -> None:
    """warm() runs the set-up to its end, sync or async; the first score then finds it done."""
    scorer = make(use_async=use_async)
    bound = bind(scorer)
    bound.warm()
    bound.warm()
    assert (len(scorer.where), bound.ready) == (1, True)
    assert (asyncio.run(awaited(bound)) if use_async else bound(TEXT)) is False
    assert len(scorer.where) == 1


@EACH
@pytest.mark.parametrize("use_async", [False, True])
async def test_awarm_sets_up_now(make: Callable[..., Slow], use_async: bool) -> None:
    """awarm() does the same without blocking the loop."""
    scorer = make(use_async=use_async)
    bound = bind(scorer)
    await asyncio.gather(bound.awarm(), bound.awarm())
    await bound.awarm()
    assert (len(scorer.where), bound.ready) == (1, True)


def test_warm_raises_what_a_score_would() -> None:
    """A set-up that fails in warm() is a ScorerError, and is tried again."""
    bound = bind(Slow(fails=OSError()))
    with pytest.raises(ScorerError, match=r'^scorer "slow" could not be set up: OSError$'):
        bound.warm()
    bound.warm()
    assert bound.ready


async def test_warm_does_not_wait_for_the_loop_that_it_blocks() -> None:
    """warm() on the very loop that runs the set-up returns at once: waiting would be for ever."""
    scorer = SlowAsync(use_async=True)
    scorer.go.clear()
    bound = bind(scorer)
    score = asyncio.ensure_future(bound(TEXT))
    await begun(scorer)
    bound.warm()
    assert not bound.ready
    scorer.go.set()
    assert (await score, bound.ready) == (False, True)


async def test_a_scorer_without_setup_is_warm() -> None:
    """warm() and awarm() of a scorer without setup() do nothing; a `setup` that is no method is none."""
    bound = bind(Returns(False))
    bound.warm()
    await bound.awarm()
    scorer = Returns(True)
    scorer.setup = None  # type: ignore[attr-defined]  # as a class may say
    assert (bound.ready, bind(scorer)(TEXT)) == (True, True)


@pytest.mark.parametrize(("use_async", "cheap"), [(False, False), (False, True), (True, False), (True, True)])
@EACH
def test_setup_changes_nothing_else(make: Callable[..., Slow], use_async: bool, cheap: bool) -> None:
    """A cheap scorer with a set-up stays cheap, and a set-up makes no scorer async or sync."""
    bound = bind(make(use_async=use_async, cheap=cheap))
    assert (bound.is_async, bound.cheap) == (use_async, cheap)


def test_a_mistaken_call_is_told_before_setup() -> None:
    """A score that cannot be does not set up."""
    scorer = Slow()
    with pytest.raises(ScorerInputError):
        bind(scorer)({})
    assert scorer.where == []


def test_a_setup_with_arguments_is_refused() -> None:
    """setup() is called without arguments, which is told when the rule is made."""

    class Asks(Returns):
        def setup(self, model: str) -> None:
            """Ask for a model."""

    with pytest.raises(ConfigurationError, match=r'^setup of scorer "asks" asks for arguments; write "def setup\(self'):
        Guardrail(Asks(False, name="asks"), stage="input")


def test_a_sync_setup_that_returns_an_awaitable_is_told_to_be_async() -> None:
    """A set-up that would never be awaited fails, and leaves no coroutine behind."""

    class Late(Returns):
        def setup(self) -> Any:
            """Return what nobody awaits."""
            return asyncio.sleep(0)

    with pytest.raises(ScorerError, match=r'^scorer "late" could not be set up: it returned an awaitable; declare it'):
        bind(Late(False, name="late"))(TEXT)


@pytest.mark.parametrize("use_async", [False, True])
def test_a_setup_that_waits_for_itself_fails(use_async: bool) -> None:
    """A set-up that asks for a score of its own scorer is told so; it does not hang."""

    class Itself(Returns):
        def setup(self) -> None:
            """Score by the binding that is being set up."""
            asyncio.run(awaited(bind(self))) if use_async else bind(self)(TEXT)

    bound = bind(Itself(False, name="itself", use_async=use_async))
    sentence = '^scorer "itself" could not be set up: scorer "itself" is asked to score by its own set-up$'
    with pytest.raises(ScorerError, match=sentence):
        asyncio.run(awaited(bound)) if use_async else bound(TEXT)


@dataclass
class Unhashable:
    """Equal to every other of its kind."""

    count: int = 0

    def setup(self) -> None:
        """Count."""
        self.count += 1

    def score(self, text: str) -> int:
        """How often it was set up."""
        return self.count


class Slotted:
    """Cannot be referred to weakly; counts in a list that it shares."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: list[int] = []

    def setup(self) -> None:
        """Count."""
        self.counts.append(1)

    def score(self, text: str) -> int:
        """How often it was set up."""
        return len(self.counts)


@pytest.mark.parametrize("make", [Unhashable, Slotted])
def test_each_object_is_set_up_for_itself(make: Callable[[], Any]) -> None:
    """Equal scorers are two, each set up once, whether or not they can be hashed, written to or referred to weakly."""
    one, other = make(), make()
    bindings = [bind(one), bind(one), bind(other)]
    assert [bound(TEXT) for bound in bindings] == [1, 1, 1]


def test_a_scorer_stays_set_up_when_nothing_binds_it() -> None:
    """A scorer that is bound anew, after all that bound it is gone, is not set up again."""
    scorer = Slow()
    for _ in range(3):
        bind(scorer)(TEXT)
        gc.collect()
    assert len(scorer.where) == 1


def test_a_set_up_is_forgotten_with_its_scorer() -> None:
    """Nothing keeps a scorer that was set up alive, and none inherits from one that lived at its address."""
    gc.freeze()  # what all tests before imported need not be looked through fifty times
    try:
        for _ in range(50):
            scorer = Unhashable()
            assert bind(scorer)(TEXT) == 1
            gone = weakref.ref(scorer)
            del scorer
            gc.collect()
            assert gone() is None
    finally:
        gc.unfreeze()


def test_no_thread_to_be_had_is_a_failed_setup() -> None:
    """Where no thread can be started, the set-up fails like any other and is tried again."""
    program = """
import threading
from llmguard_middleware._scorer import bind
class Scorer:
    name = "s"
    async def setup(self): pass
    def score(self, text): return True
def start(self): raise RuntimeError("can't start new thread")
bound, start_, threading.Thread.start = bind(Scorer()), threading.Thread.start, start
try:
    bound({"text": "x"})
except Exception as error:
    print(error)
threading.Thread.start = start_
print(bound({"text": "x"}))
"""
    assert python(program) == 'scorer "s" could not be set up: RuntimeError\nTrue\n'


def python(program: str) -> str:
    """What a program prints; it must end well, without a word on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=os.environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_child_forked_during_setup_sets_up_for_itself() -> None:
    """A child whose parent's thread was in the middle of a set-up makes its own; one forked after it makes none."""
    program = """
import os, signal, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on warns of what is tested here
from llmguard_middleware._scorer import bind
class Scorer:
    count = 0
    started, go = threading.Event(), threading.Event()
    def setup(self):
        self.count += 1
        if self.count == 1:
            self.started.set()
            assert self.go.wait(30)
    def score(self, text): return self.count
scorer = Scorer()
bound = bind(scorer)
thread = threading.Thread(target=bound, args=({"text": "x"},))
thread.start()
scorer.started.wait(30)
child = os.fork()
if not child:
    signal.alarm(20)
    os._exit(bound({"text": "x"}))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
scorer.go.set()
thread.join()
print(bound({"text": "x"}))
child = os.fork()
if not child:
    os._exit(bind(scorer)({"text": "x"}))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(program).split() == ["2", "1", "1"]


@EACH
@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize("cheap", [False, True])
async def test_one_scorer_in_both_roles_is_set_up_once(make: Callable[..., Slow], use_async: bool, cheap: bool) -> None:
    """A guardrail and a monitor that share a scorer, used by threads and a loop, share its set-up."""
    scorer = make(use_async=use_async, cheap=cheap)
    with captured_telemetry() as telemetry:
        guard = Guard(Guardrail(scorer, stage="input"), Monitor(scorer, name="watch"), **telemetry.providers)
        with ThreadPoolExecutor(4) as pool:
            outcomes = [pool.submit(guard.check, "x", stage="input") for _ in range(4)]
            guard.observe(Call("chat", answered=True, output="x"))
            assert (await guard.acheck("x", stage="input")).outcome == "passed"
            assert [o.result(30).outcome for o in outcomes] == ["passed"] * 4
        assert guard.flush(30) == 0
    assert len(scorer.seen) == 6
    assert len(scorer.where) == 1


def test_a_guard_says_that_its_scorer_could_not_be_set_up() -> None:
    """A set-up that fails is a failed score: the guardrail's on_error decides, and the next call tries again."""
    guard = Guard(Guardrail(Slow(fails=OSError()), stage="input"))
    verdict = guard.check("x", stage="input")
    assert (verdict.outcome, str(verdict.cause.error)) == ("error", 'scorer "slow" could not be set up: OSError')
    assert guard.check("x", stage="input").outcome == "passed"
