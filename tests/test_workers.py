"""Threads for scorers: what hangs does not take the pool with it."""

from __future__ import annotations

import queue
import threading
import time
from contextvars import copy_context
from typing import Any

import pytest

from llmguard_middleware import Guard, Guardrail, Verdict
from llmguard_middleware._pool import Pool
from llmguard_middleware._workers import Workers
from llmguard_middleware.testing import Flags, Hangs

both = pytest.mark.parametrize("mode", ["check", "acheck"])


async def check(guard: Guard, mode: str, stage: Any = "input") -> Verdict:
    """Judge a text by the sync or by the async driver."""
    return guard.check("x", stage=stage) if mode == "check" else await guard.acheck("x", stage=stage)


def until(condition: Any) -> bool:
    """Whether it comes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return bool(condition())


def threads(name: str) -> int:
    """How many threads of this pool there are."""
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


@both
async def test_hung_guardrails_do_not_stop_a_healthy_one(mode: str) -> None:
    """After twenty scorers that were out of time and still hang, the twenty-first rule gets a thread at once."""
    slow = Hangs()
    guard = Guard(
        Guardrail(slow, stage="input", timeout=0.05, breaker=None), Guardrail(Flags(), stage="output", timeout=30)
    )
    for _ in range(20):
        slow.started.clear()
        hung = False
        while not hung:  # a thread that a busy machine starts too late is not lost: its work is cancelled
            assert (await check(guard, mode)).outcome == "error"
            hung = slow.started.is_set()
    assert (await check(guard, mode, "output")).outcome == "blocked"
    assert until(lambda: guard.workers.lost >= 20)
    slow.release()
    assert until(lambda: guard.workers.lost == 0)


@both
async def test_a_scorer_left_behind_by_a_block_is_given_up_on(mode: str) -> None:
    """When another rule blocks, the scorer that nobody waits for any more costs the pool no thread."""
    slow = Hangs()
    guard = Guard(Guardrail(slow, stage="input", timeout=60), Guardrail(Flags(), stage="input"))
    for _ in range(12):
        slow.started.clear()
        assert (await check(guard, mode)).outcome == "blocked"
    assert guard.workers.lost <= 12  # those that were still queued were cancelled
    slow.release()
    assert until(lambda: guard.workers.lost == 0)


def hang(workers: Workers, gate: threading.Event, times: int) -> None:
    """Lose threads to jobs that wait for the gate."""
    for _ in range(times):
        running = threading.Event()
        workers.abandon(_started(workers, running, gate))


def _started(workers: Workers, running: threading.Event, gate: threading.Event) -> Any:
    future = workers.submit(copy_context(), lambda: (running.set(), gate.wait(60)))
    assert running.wait(10)
    return future


def test_a_pool_is_as_large_as_before_once_the_lost_return() -> None:
    """Lost threads are replaced while they hang; when they come back those beyond the size of the pool end."""
    workers, gate = Workers(2, "test-lost"), threading.Event()
    hang(workers, gate, 5)
    assert workers.lost == 5
    assert [workers.submit(copy_context(), lambda i=i: i).result(10) for i in range(10)] == list(range(10))
    meeting = threading.Barrier(2)
    together = [workers.submit(copy_context(), lambda: meeting.wait(10)) for _ in range(2)]
    assert sorted(future.result(10) for future in together) == [0, 1]
    gate.set()
    assert until(lambda: (workers.lost, threads("test-lost")) == (0, 2))
    assert workers.submit(copy_context(), lambda: 1).result(10) == 1


def test_no_more_than_32_threads_are_lost() -> None:
    """Beyond 32 no thread is replaced and jobs wait; as lost ones return, the pool is there again."""
    workers, gate = Workers(2, "test-most"), threading.Event()
    hang(workers, gate, 34)
    waiting = workers.submit(copy_context(), lambda: 1)
    assert (workers.lost, threads("test-most"), waiting.done()) == (32, 34, False)
    gate.set()
    assert waiting.result(10) == 1
    assert until(lambda: (workers.lost, threads("test-most")) == (0, 2))


def test_one_that_returns_makes_room_for_another_to_be_lost() -> None:
    """What was given up on beyond the 32 counts as lost as soon as one of those returns."""
    workers, gate, first = Workers(1, "test-room"), threading.Event(), threading.Event()
    hang(workers, first, 1)
    hang(workers, gate, 32)
    waiting = workers.submit(copy_context(), lambda: 1)
    assert workers.lost == 32
    first.set()
    assert waiting.result(10) == 1
    assert workers.lost == 32
    gate.set()


def test_a_job_in_the_queue_is_cancelled_when_it_is_abandoned() -> None:
    """Only a thread that runs the job is lost; a queued one is never run, and one that is done changes nothing."""
    workers, gate = Workers(1, "test-queued"), threading.Event()
    done = workers.submit(copy_context(), lambda: 1)
    assert done.result(10) == 1
    running = threading.Event()
    busy = _started(workers, running, gate)
    queued = workers.submit(copy_context(), lambda: 2)
    workers.abandon(queued)
    workers.abandon(done)
    assert (queued.cancelled(), workers.lost) == (True, 0)
    gate.set()
    assert busy.result(10)


def test_a_posted_job_can_be_abandoned() -> None:
    """A job with nobody waiting for it is told by what was posted."""
    workers, gate, running = Workers(1, "test-posted"), threading.Event(), threading.Event()

    def job() -> None:
        running.set()
        gate.wait(60)

    workers.post(job)
    assert running.wait(10)
    workers.abandon(job)
    assert workers.lost == 1
    assert workers.submit(copy_context(), lambda: 1).result(10) == 1
    gate.set()
    assert until(lambda: workers.lost == 0)


def test_a_pool_makes_do_with_the_threads_it_can_have() -> None:
    """Where no thread can be had those that are there do the work; with none at all, nothing is queued."""

    def make_thread(**options: Any) -> threading.Thread:
        if not allowed:
            msg = "can't start new thread"
            raise RuntimeError(msg)
        allowed.pop()
        return threading.Thread(**options)

    allowed: list[bool] = []
    pool, ran, gate = Pool(2, "test-few", make_thread=make_thread), threading.Event(), threading.Event()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        pool.submit(ran.set)
    allowed.append(True)
    busy = [pool.submit(gate.wait, 30) for _ in range(3)]
    assert (threads("test-few"), ran.is_set()) == (1, False)
    gate.set()
    assert [future.result(10) for future in busy] == [True] * 3
    assert not ran.is_set()


def test_lost_threads_end_with_their_pool() -> None:
    """A thread that was lost to a job ends when the job does, even if the pool is gone by then."""
    workers, gate = Workers(2, "test-end"), threading.Event()
    hang(workers, gate, 3)
    workers.submit(copy_context(), lambda: 1).result(10)
    del workers
    gate.set()
    assert until(lambda: threads("test-end") == 0)


def test_who_submits_while_a_thread_naps_wakes_nobody_and_all_is_done_in_order() -> None:
    """What comes in during a nap is done after it, in the order in which it came, and by other threads as well."""
    pool, done = Pool(2, "test-nap", nap=0.2), []
    assert pool.submit(lambda: 0).result(10) == 0
    gate = threading.Event()
    blocked = pool.submit(gate.wait, 30)  # for the one that naps first
    rest = [pool.submit(done.append, number) for number in range(20)]
    for future in rest:
        future.result(10)
    assert (done, blocked.done()) == (list(range(20)), False)
    gate.set()
    assert blocked.result(10)


def test_a_thread_that_naps_ends_with_its_pool() -> None:
    """A pool that is gone does not leave a thread behind that was looking away."""
    pool = Pool(1, "test-napping", nap=0.05)
    pool.submit(int).result(10)
    del pool
    assert until(lambda: threads("test-napping") == 0)


def ends(work: Any) -> bool:
    """Whether it is over within ten seconds, and did not wait for itself."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


def test_work_may_come_from_what_is_collected_while_work_is_handed_over() -> None:
    """The end of a call that was only dropped posts its monitors' work from wherever garbage is collected."""
    done = queue.SimpleQueue[str]()

    def collecting(**options: Any) -> threading.Thread:
        if not done.qsize():
            done.put("handed over")
            pool.post(lambda: done.put("collected"))  # as a finalizer does
        return threading.Thread(**options)

    pool = Pool(2, "test-collected", make_thread=collecting)
    assert ends(lambda: pool.post(lambda: done.put("posted")))
    assert done.get(timeout=10) == "handed over"
    assert {done.get(timeout=10), done.get(timeout=10)} == {"collected", "posted"}
