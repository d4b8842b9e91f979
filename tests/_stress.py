"""The program that `test_stress.py` runs: many threads and tasks share one guard, and children are forked meanwhile.

Prints one line of figures as JSON; exits with 1 and a traceback if anything was mixed up.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import random
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from llmguard_middleware import (
    Breaker,
    Call,
    Guard,
    Guardrail,
    GuardrailViolation,
    Message,
    Monitor,
    MonitorQueue,
    Score,
    TextSpan,
    VerdictCache,
    scorer,
)
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._policy import Policy
from llmguard_middleware.scorers import pii

THREADS, TASKS = 8, 200
SECONDS = float(os.environ.get("LLMGUARD_STRESS_SECONDS", "60"))
WARM = min(15.0, SECONDS / 4)
_NAME = re.compile(r"name-\d+-\d+")


@scorer
def names(text: str) -> Score:
    """The names in a text."""
    spans = tuple(TextSpan(*found.span(), "NAME") for found in _NAME.finditer(text))
    return Score(flagged=bool(spans), spans=spans)


@scorer
def forbidden(text: str) -> bool:
    """Whether it must not pass."""
    return "forbidden" in text


@scorer(name="racing")
async def racing(text: str) -> bool:
    """Whether it must not pass, while the model works."""
    await asyncio.sleep(0)
    return "too late" in text


@scorer(name="moody")
def moody(text: str) -> bool:
    """Fails for some."""
    if "moody" in text:
        raise ValueError
    return False


@scorer(name="slow")
async def slow(text: str) -> bool:
    """Does not come back for some."""
    if "slow" in text:
        await asyncio.sleep(3600)
    return False


@scorer(cheap=True, reach=20)
def marks(text: str) -> Score:
    """What looks like a mark."""
    spans = tuple(TextSpan(*found.span(), "MARK") for found in re.finditer(r"#\d{1,6}#", text))
    return Score(flagged=bool(spans), spans=spans)


def watch(output: str) -> float:
    """What a monitor does."""
    return float(len(str(output)))


async def awatch(output: str) -> float:
    """The same on the loop of the monitors."""
    await asyncio.sleep(0)
    return float(len(str(output)))


RULES = (
    Guardrail(forbidden, stage="input", cache=VerdictCache(size=50)),
    Guardrail(names, stage="input", action="pseudonymize"),
    Guardrail(pii(), stage="input", action="redact"),
    Guardrail(racing, stage="input", race=True),
    Guardrail(moody, stage="input", on_error="allow", breaker=Breaker(failures=3, cooldown=0.01)),
    Guardrail(slow, stage="retrieval", on_error="allow", breaker=None),
    Guardrail(marks, stage="output", action="redact"),
)
GUARD = Guard(*RULES, Monitor(watch, sample=0.3), Monitor(awatch, sample=0.3), queue=MonitorQueue(size=200))
GUARD.covers("retrieval")  # by check()


@GUARD.op
def whole(text: str) -> str:
    """An answer to a text."""
    return f"{text} #1#"


@GUARD.op
async def awhole(text: str) -> str:
    """The same."""
    await asyncio.sleep(0)
    return f"{text} #1#"


@GUARD.op
def pieces(text: str) -> Iterator[str]:
    """The same, letter by letter."""
    yield from f"{text} #1#"


@GUARD.op
async def apieces(text: str) -> AsyncIterator[str]:
    """The same."""
    for letter in f"{text} #1#":
        yield letter


def expect(got: object, wanted: object) -> None:
    """Say what was mixed up."""
    if got != wanted:
        msg = f"{got!r} is not {wanted!r}"
        raise AssertionError(msg)


class Client:
    """One of many who use the guard at once; every text of his is his own."""

    def __init__(self, who: int) -> None:
        self.who, self.turn = who, 0
        self.dice = random.Random(who)

    def next(self) -> tuple[str, str]:
        """A text of his own, and a name in it."""
        self.turn += 1
        name = f"name-{self.who}-{self.turn}"
        return f"I am {name}, client {self.who}", name

    def step(self) -> None:
        """One call of some kind, from a thread."""
        text, name = self.next()
        kind = self.dice.randrange(8)
        if kind == 0:
            expect(whole(text), f"{text} <MARK>")
        elif kind == 1:
            expect("".join(pieces(text)), f"{text} <MARK>")
        elif kind == 2:
            verdict = GUARD.check(f"{text} a@b.co", stage="input")
            self.guarded(verdict.guarded, name)
            expect(verdict.restore(verdict.guarded), f"{text} <EMAIL_ADDRESS>")
        elif kind == 3:
            self.blocked(lambda: whole(f"forbidden {self.who % 7}"), "forbidden")
        elif kind == 4:
            self.blocked(lambda: whole(f"too late {name}"), "racing")
        elif kind == 5:
            expect(whole(f"moody {text}"), f"moody {text} <MARK>")
        elif kind == 6:
            self.talk(f"c{self.who}", text, name)
        else:
            with GUARD.deadline(0.02):
                expect(GUARD.check(f"slow {name}", stage="retrieval").guarded, f"slow {name}")

    async def astep(self) -> None:
        """One call of some kind, from a task."""
        text, name = self.next()
        kind = self.dice.randrange(7)
        if kind == 0:
            expect(await awhole(text), f"{text} <MARK>")
        elif kind == 1:
            expect("".join([piece async for piece in apieces(text)]), f"{text} <MARK>")
        elif kind == 2:
            verdict = await GUARD.acheck(text, stage="input")
            self.guarded(verdict.guarded, name)
            expect(verdict.restore(verdict.guarded), text)
        elif kind == 3:
            await self.ablocked(awhole(f"forbidden {self.who % 7}"), "forbidden")
        elif kind == 4:
            await self.ablocked(awhole(f"too late {name}"), "racing")
        elif kind == 5:
            task = asyncio.ensure_future(GUARD.acheck(f"slow {name}", stage="retrieval"))
            await asyncio.sleep(0.001)
            task.cancel()
            done = await asyncio.gather(task, return_exceptions=True)
            expect(isinstance(done[0], asyncio.CancelledError), True)
        else:
            verdict = await GUARD.acheck(f"slow {name}", stage="retrieval", deadline=0.02)
            expect(verdict.outcome, "error")

    def guarded(self, text: str, name: str) -> None:
        """The model must not see the name."""
        expect(name in text, False)

    def talk(self, conversation: str, text: str, name: str) -> None:
        """One turn of a conversation."""
        flow = Flow(GUARD, Call("chat", conversation=conversation))
        asked = drive(flow.admit([Message("user", "hello"), Message("user", text)]), GUARD.workers)
        self.guarded(asked[1], name)
        expect(drive(flow.release([asked[1]]), GUARD.workers), [text])
        flow.answered(output=asked[1])

    def blocked(self, call: Any, rule: str) -> None:
        """It must be stopped, by this rule."""
        try:
            call()
        except GuardrailViolation as violation:
            expect(violation.verdict.cause.rule, rule)
        else:
            msg = f"{rule} did not stop {self.who}"
            raise AssertionError(msg)

    async def ablocked(self, call: Any, rule: str) -> None:
        """The same."""
        try:
            await call
        except GuardrailViolation as violation:
            expect(violation.verdict.cause.rule, rule)
        else:
            msg = f"{rule} did not stop {self.who}"
            raise AssertionError(msg)


class Run:
    """All clients, until the time is over or something was mixed up."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.failed: list[str] = []
        self.steps = [0] * (THREADS + TASKS)

    def thread(self, who: int) -> None:
        """A client in a thread."""
        client = Client(who)
        try:
            while not self.stop.is_set():
                client.step()
                self.steps[who] += 1
        except BaseException:  # noqa: BLE001 - told at the end
            self.failed.append(traceback.format_exc())
            self.stop.set()

    async def task(self, who: int) -> None:
        """A client in a task."""
        client = Client(who)
        while not self.stop.is_set():
            await client.astep()
            self.steps[who] += 1
            await asyncio.sleep(0)

    async def tasks(self) -> int:
        """All clients in tasks; returns how many other tasks are left at the end."""
        clients = [asyncio.ensure_future(self.task(THREADS + n)) for n in range(TASKS)]
        done = await asyncio.gather(*clients, return_exceptions=True)
        for error in done:
            if isinstance(error, BaseException):
                self.failed.append("".join(traceback.format_exception(error)))
                self.stop.set()
        for _ in range(100):
            if len(asyncio.all_tasks()) == 1:
                break
            await asyncio.sleep(0.02)
        return len(asyncio.all_tasks()) - 1

    def loop(self, left: list[int]) -> None:
        """The thread of the tasks."""
        left.append(asyncio.run(self.tasks()))


def memory() -> float:
    """Resident megabytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def child() -> int:
    """What a child does: a call of each kind, on threads and a loop of its own."""
    try:
        for seed in range(3):
            client = Client(100_000 + os.getpid() + seed)
            for _ in range(12):
                client.step()

        async def some() -> None:
            clients = [Client(200_000 + n) for n in range(10)]
            for _ in range(4):
                await asyncio.gather(*(client.astep() for client in clients))

        asyncio.run(some())
        return 0 if GUARD.flush(10) == 0 else 3
    except BaseException:  # noqa: BLE001 - a child says what was wrong and goes
        traceback.print_exc()
        return 1


def fork() -> float:
    """Fork a child while all goes on, and wait for it; returns how many seconds it took."""
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os._exit(child())
    while time.monotonic() - started < 60:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            expect(os.waitstatus_to_exitcode(status), 0)
            return time.monotonic() - started
        time.sleep(0.01)
    os.kill(pid, signal.SIGUSR1)  # to tell where
    time.sleep(1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    msg = "a child hangs"
    raise AssertionError(msg)


def main() -> int:
    """Run, and print the figures."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    sys.setswitchinterval(1e-6)
    run, left = Run(), list[int]()
    before = threading.active_count()
    threads = [threading.Thread(target=run.thread, args=(who,)) for who in range(THREADS)]
    threads.append(threading.Thread(target=run.loop, args=(left,)))
    for thread in threads:
        thread.start()
    started = time.monotonic()
    early, forks = 0.0, list[float]()
    policy = Policy([*RULES, *GUARD.monitors])
    try:
        while time.monotonic() - started < SECONDS and not run.stop.wait(0.5):
            now = time.monotonic() - started
            if not early and now > WARM:
                gc.collect()
                early = memory()
            if len(forks) < 5 and now > (len(forks) + 1) * SECONDS / 7:
                forks.append(fork())
            GUARD.swap(policy)
    except BaseException:  # noqa: BLE001 - told at the end
        run.failed.append(traceback.format_exc())
    run.stop.set()
    for thread in threads:
        thread.join(60)
    stuck = sum(thread.is_alive() for thread in threads)
    pending = GUARD.flush(20)
    gc.collect()
    stats = GUARD.monitoring
    figures = {
        "seconds": round(time.monotonic() - started, 1),
        "calls": sum(run.steps),
        "least_calls": min(run.steps),
        "stuck": stuck,
        "tasks_left": left[0] if left else None,
        "threads_more": threading.active_count() - before,
        "threads_lost": GUARD.workers.lost,
        "megabytes_more": round(memory() - early, 1),
        "pending": pending,
        "books": stats.observed == stats.scored + stats.failed + stats.timed_out + stats.dropped,
        "dropped": stats.dropped,
        "scored": stats.scored,
        "forks": [round(seconds, 1) for seconds in forks],
    }
    print(json.dumps(figures), flush=True)  # noqa: T201 - it is a program
    for failure in run.failed[:3]:
        print(failure, file=sys.stderr)  # noqa: T201 - a program's report
    return 1 if run.failed or stuck else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
