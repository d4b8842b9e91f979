"""The queue of a guard's monitors: what it drops, whom it holds, and that its books are exact."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError, Guard, Monitor, MonitorQueue, MonitorStats
from llmguard_middleware._monitoring._backlog import Backlog, Line
from llmguard_middleware.testing import FakeScorer, Flags, Hangs, Raises


def answered(text: str = "x") -> Call:
    """An answered call."""
    return Call("chat", answered=True, output=text, trace_id=1)


def until(condition: Any) -> bool:
    """Whether it comes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return bool(condition())


class Notes(FakeScorer):
    """Notes every text, by itself or in batches."""

    def outcome(self, text: str) -> bool:
        """Never flagged."""
        return False


class NotesBatches(Notes):
    """Notes the texts of batches."""

    def score_batch(self, text: list[str]) -> list[bool]:
        """Never flagged."""
        self.seen.extend(text)
        return [False] * len(text)


POLICIES = [
    MonitorQueue(size=10**6),
    MonitorQueue(size=7),
    MonitorQueue(size=7, drop="oldest"),
    MonitorQueue(size=7, drop="block", wait=0.001),
    MonitorQueue(size=7, drop="block", wait=0),
]


@pytest.mark.parametrize("queue", POLICIES, ids=str)
def test_the_books_are_exact(queue: MonitorQueue) -> None:
    """Of thousands of calls from eight threads each score is in the books once, and no call is scored twice."""
    scorers = [Notes(name="sync"), Notes(name="async", use_async=True), NotesBatches(name="batch")]
    fails = Raises(ValueError, name="fails")
    guard = Guard(*(Monitor(scorer, batch_size=5) for scorer in scorers), Monitor(fails), queue=queue)
    logging.getLogger("llmguard.monitors").setLevel(logging.CRITICAL)
    try:
        threads = [
            threading.Thread(target=lambda n=n: [guard.observe(answered(f"{n} {i}")) for i in range(500)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert guard.flush(60) == 0
    finally:
        logging.getLogger("llmguard.monitors").setLevel(logging.NOTSET)
    stats = guard.monitoring
    assert stats.observed == 8 * 500 * 4
    assert stats == MonitorStats(
        scored=sum(len(scorer.seen) for scorer in scorers), failed=len(fails.seen), dropped=guard.dropped
    )
    assert all(len(set(scorer.seen)) == len(scorer.seen) for scorer in (*scorers, fails))
    assert (stats.dropped == 0) is (queue.size > 7)


class Gated(FakeScorer):
    """Waits for the gate, and notes in which order texts came."""

    def __init__(self) -> None:
        super().__init__(name="gated")
        self.gate = threading.Event()

    def outcome(self, text: str) -> bool:
        """Not flagged, once the gate is open."""
        self.gate.wait(60)
        return False


@pytest.mark.parametrize(("drop", "scored"), [("newest", "0123"), ("oldest", "0189"), ("block", "0123")])
def test_what_is_dropped(drop: Any, scored: str) -> None:
    """The one that arrives, or the one that has waited longest and has not started."""
    slow = Gated()
    guard = Guard(Monitor(slow), queue=MonitorQueue(size=4, drop=drop, wait=0))
    for i in range(2):
        guard.observe(answered(str(i)))
        assert until(lambda i=i: guard.monitoring.running == i + 1)
    for i in range(2, 10):
        guard.observe(answered(str(i)))
    assert guard.monitoring == MonitorStats(queued=2, running=2, dropped=6)
    slow.gate.set()
    assert guard.flush(30) == 0
    assert sorted(slow.seen) == list(scored)
    assert guard.monitoring == MonitorStats(scored=4, dropped=6)


def test_the_oldest_of_all_monitors_is_dropped() -> None:
    """One queue serves all monitors, so a new score of one may take the place of an old score of another."""
    slow, other = Gated(), Notes(use_async=True)
    guard = Guard(
        Monitor(slow, where={"operation": "chat"}),
        Monitor(other, where={"operation": "other"}),
        queue=MonitorQueue(size=3, drop="oldest"),
    )
    for i in range(3):
        guard.observe(answered(str(i)))
    assert until(lambda: guard.monitoring.running == 2)
    guard.observe(Call("other", answered=True, output="mine"))
    assert until(lambda: guard.monitoring.scored == 1)
    guard.observe(answered("3"))
    slow.gate.set()
    assert guard.flush(30) == 0
    assert (sorted(slow.seen), guard.dropped) == (["0", "1", "3"], 1)


def test_the_newest_is_dropped_if_all_have_started() -> None:
    """Nothing that runs is dropped for what arrives."""
    slow = Gated()
    guard = Guard(Monitor(slow), queue=MonitorQueue(size=1, drop="oldest"))
    guard.observe(answered("0"))
    assert until(lambda: guard.monitoring.running == 1)
    guard.observe(answered("1"))
    slow.gate.set()
    assert guard.flush(30) == 0
    assert (slow.seen, guard.dropped) == (["0"], 1)


def test_a_caller_is_held_until_there_is_room() -> None:
    """With "block" a caller goes on as soon as a score is done, and nothing is dropped."""
    slow, passed = Gated(), threading.Event()
    guard = Guard(Monitor(slow), queue=MonitorQueue(size=1, drop="block", wait=1e300))
    guard.observe(answered("0"))
    caller = threading.Thread(target=lambda: (guard.observe(answered("1")), passed.set()))
    caller.start()
    assert not passed.wait(0.1)
    slow.gate.set()
    assert passed.wait(10)
    assert (guard.flush(30), guard.dropped, slow.seen) == (0, 0, ["0", "1"])


def test_a_caller_is_held_no_longer_than_it_says() -> None:
    """With "block" a call is held `wait` seconds at most, however many monitors want it."""
    slow = Gated()
    guard = Guard(*(Monitor(slow, name=f"m{i}") for i in range(8)), queue=MonitorQueue(size=1, drop="block", wait=1.0))
    started = time.monotonic()
    guard.observe(answered())
    assert 1 <= time.monotonic() - started < 5
    assert guard.dropped == 7
    slow.gate.set()


def test_shutdown_lets_callers_go() -> None:
    """A caller that is held when the guard shuts down goes on at once; its score counts as dropped."""
    slow = Gated()
    guard = Guard(Monitor(slow), queue=MonitorQueue(size=1, drop="block", wait=3600))
    guard.observe(answered("0"))
    caller = threading.Thread(target=guard.observe, args=(answered("1"),))
    caller.start()
    assert until(lambda: guard._monitoring._backlog._changed._waiters)  # type: ignore[attr-defined]  # Python's
    assert guard.shutdown(0) == 1
    caller.join(10)
    assert (caller.is_alive(), guard.dropped) == (False, 1)
    slow.gate.set()


async def test_an_event_loop_is_never_held() -> None:
    """On the thread of a running event loop "block" drops the score that arrives."""
    slow = Gated()
    guard = Guard(Monitor(slow), queue=MonitorQueue(size=1, drop="block", wait=60))
    started = time.monotonic()
    guard.observe(answered())
    guard.observe(answered())
    assert (guard.dropped, time.monotonic() - started < 30) == (1, True)
    slow.gate.set()


steps = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "take", "settle", "ring", "hurry", "calm"]), st.integers(0, 2)),
    max_size=80,
)


@given(steps, st.integers(1, 6), st.sampled_from(["newest", "oldest", "block"]), st.tuples(*[st.integers(1, 4)] * 3))
def test_whatever_happens_each_score_is_taken_once_or_dropped(
    steps: Any, size: int, drop: Any, batches: tuple[int, ...]
) -> None:
    """In any order of events every job has a ticket or a timer that will see to it, and is in the books once."""
    now = [0.0]
    backlog = Backlog(MonitorQueue(size=size, drop=drop, wait=0), lambda: now[0])
    backlog.lines = lines = [Line(batch) for batch in batches]
    put, hurries, under_way, taken = 0, 0, 0, []
    for step, at in steps:
        now[0] += 1
        line = lines[at]
        if step == "put":
            due = backlog.put(line, answered(str(put)), None, backlog.patience())
            assert (due == "timer") <= line.timed
            put += 1
        elif step == "take" and line.tickets:
            jobs = backlog.take(line)
            taken += [job.call.output for job in jobs]
            under_way += len(jobs)
        elif step == "settle" and under_way:
            backlog.settle("scored", 1)
            under_way -= 1
        elif step == "ring" and line.timed:
            backlog.overdue(line, wait=2.5)
        elif step == "hurry":
            backlog.hurry()
            hurries += 1
        elif step == "calm" and hurries:
            backlog.calm()
            hurries -= 1
        stats = backlog.stats
        assert stats.observed == put
        assert (stats.running, stats.queued) == (under_way, sum(len(one.waiting) for one in lines))
        assert stats.pending <= size
        assert all(one.left() <= 0 or one.timed for one in lines)
        assert all(one.left() < one.batch for one in lines)
    backlog.hurry()
    for line in lines:
        for _ in range(line.tickets):
            taken += [job.call.output for job in backlog.take(line)]
    backlog.settle("scored", backlog.stats.running)
    assert len(taken) == len(set(taken)) == backlog.stats.scored
    assert backlog.stats == MonitorStats(scored=put - backlog.stats.dropped, dropped=backlog.stats.dropped)


def test_drops_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The first drop is logged, with the count; the next ones at the earliest a minute later, together."""
    now = [100.0]
    backlog, line = Backlog(MonitorQueue(size=1), lambda: now[0]), Line(1)
    for second in range(62):
        now[0] = 100.0 + second
        backlog.put(line, answered("user text"), None)
    assert [message.split(",")[0] for message in caplog.messages] == [
        "monitors cannot keep up: 1 more scores dropped",
        "monitors cannot keep up: 60 more scores dropped",
    ]
    assert caplog.messages[1] == (
        "monitors cannot keep up: 60 more scores dropped, 61 in all (limit: 1 pending); score a smaller sample, "
        "or give the guard a larger queue=MonitorQueue(size=...)"
    )


def test_hung_scorers_do_not_hold_up_a_flush() -> None:
    """With every thread at a scorer that never returns, flush() is back in time and says how many are left."""
    slow = Hangs()
    guard = Guard(Monitor(slow, timeout=math.inf))
    for _ in range(5):
        guard.observe(answered())
    started = time.monotonic()
    assert guard.flush(0.1) == 5
    assert time.monotonic() - started < 10
    slow.release()
    assert guard.flush(30) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 0}, "size of MonitorQueue is 0; give a whole number, 1 or more"),
        ({"size": 1.5}, "size of MonitorQueue is 1.5; give a whole number, 1 or more"),
        ({"size": True}, "size of MonitorQueue is True; give a whole number, 1 or more"),
        (
            {"drop": "old"},
            'unknown drop "old" in MonitorQueue: did you mean "oldest"? Known: newest, oldest, block',
        ),
        ({"wait": -1}, "wait of MonitorQueue is -1; give seconds, 0 or more"),
        ({"wait": math.inf}, "wait of MonitorQueue is inf; give seconds, 0 or more"),
        ({"wait": "1"}, "wait of MonitorQueue is '1'; give seconds, 0 or more"),
    ],
)
def test_a_mistake_in_a_queue_is_told_at_once(options: Any, sentence: str) -> None:
    """Each mistake is a ConfigurationError of one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        MonitorQueue(**options)
    assert str(caught.value) == sentence


def test_a_guard_takes_a_queue_and_nothing_else_for_one() -> None:
    """A number is no queue; the sentence says what is."""
    with pytest.raises(ConfigurationError) as caught:
        Guard(Monitor(Flags()), queue=100)  # type: ignore[arg-type]
    assert str(caught.value) == "queue= takes a MonitorQueue and was given int; write MonitorQueue(size=1000)"
