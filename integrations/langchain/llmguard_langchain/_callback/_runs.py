"""The runs that LangChain has started and not ended, with their spans; those that it never ends, end here."""

from __future__ import annotations

import asyncio
import weakref
from asyncio import _get_running_loop
from collections import OrderedDict
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

from opentelemetry.context import Context

from llmguard_middleware import Guard
from llmguard_middleware._clock import Clock
from llmguard_middleware._flow import Flow
from llmguard_middleware._forks import renewed_in_children
from llmguard_middleware._root import Root
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.telemetry._beside import Hush

from .._handoff import Handoff

__all__ = ["Run", "Runs"]

_MOST = 100_000  # runs under way; the oldest gives way
_IDLE = 900.0  # seconds
_SWEEPS = 4  # in that time
_REMEMBERED = 10_000  # runs given up, whose answer may come all the same


class Run:
    """One LangChain run: its own call, if it has a span; else what lies above it."""

    # What few runs have stays with the class.
    agent = ""
    bare: Unjudged | None = None  # its call, if it has a span and nothing else
    handoff: Handoff | None = None
    inner: Flow | None = None  # of something protected, which this run is the call of
    hush: Hush | None = None  # what tells other instrumentations of a model's call
    covered = False  # by a copy with the same guard, here or above, which edits and holds
    streamed = False  # known from the first piece only
    asked = 0.0  # when a model was, on the clock of `perf_counter`
    arrivals: list[float] | None = None  # when the answer was asked for, and its pieces came
    paced = False  # whether anybody wants to know of all of its pieces
    piece: Any = None  # the last one
    listener: Any = None  # that lets its pieces pass unheard, until it is told to listen
    task: asyncio.Task[Any] | None = None
    heard = True  # since the last sweep
    quiet = 0  # sweeps since it was heard of
    _over: Any = None

    def __init__(self, identity: UUID, flow: Flow | None, above: Run | None) -> None:
        self.identity, self.flow, self.above = identity, flow, above
        if above is not None:
            if above.agent:
                self.agent = above.agent
            if above.covered:
                self.covered = True

    @property
    def context(self) -> Context | None:
        """The OpenTelemetry context that what runs below it lies in."""
        if (flow := self.flow or self.inner) is not None:
            return flow.span.context
        if self.bare is not None:
            return self.bare.context
        return None if self.above is None else self.above.context

    @property
    def root(self) -> Root | None:
        """What the outermost call shares with what runs below it."""
        if (flow := self.flow or self.inner) is not None:
            return flow.root
        if self.above is not None:
            return self.above.root
        return None if (flow := self.judged()) is None else flow.root

    def judged(self) -> Flow | None:
        """The call of a chain as a Flow, though nobody judged it so far: others are to share with it what it knows."""
        bare = self.bare  # what runs in parallel below it may ask at once
        if bare is not None and bare.call.operation == "invoke_workflow":
            self.flow, self.bare = bare.judged(), None
        return self.flow

    def check(self) -> None:
        """Raise what stopped a call below the outermost one, if anything did.

        Raises:
            GuardrailViolation: the one that was raised before.
        """
        run: Run | None = self
        while run is not None:
            if (flow := run.flow or run.inner) is not None:
                return flow.root.check()
            run = run.above
        return None

    def found_agent(self) -> None:
        """The run turned out to be an agent's."""
        flow = self.judged()
        if flow is not None and flow.call.operation == "invoke_workflow":
            name = "" if flow.call.name == "LangGraph" else flow.call.name
            flow.turned_out(flow.call.but(operation="invoke_agent", name=name))

    def watch(self, over: Any) -> None:
        """Have `over` called when the task that started this run is done, if the run is not over by then."""
        self.task = asyncio.current_task()
        if self.task is not None:
            self._over = partial(over, self.identity)
            self.task.add_done_callback(self._over)

    def ended(self) -> None:
        """It is over: nobody watches it any more."""
        if self.task is not None:
            self.task.remove_done_callback(self._over)
            self.task = None


class Runs:
    """The runs of one guard, whichever of its callbacks saw them start: two callbacks tell nothing twice.

    LangChain tells nobody of a cancelled `ainvoke`, of an event stream that its reader left, of a generator held open
    for ever. Such a run ends when the task that started it is cancelled, or nothing was heard of it for `idle` seconds.

    Attributes:
        live: runs by their ids; one that has no span stands for the run that it lies under.
        given_up: the last of those whose span was ended for them, and whose answer may come all the same.
    """

    def __init__(self) -> None:
        self.live: dict[UUID, Run] = {}
        self.idle = _IDLE
        self.given_up: OrderedDict[UUID, Run | None] = OrderedDict()
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: the clock's thread stayed with the parent, and so did the runs."""
        self.live.clear()
        self.given_up.clear()
        self._clock = Clock("llmguard-langchain-idle")
        self._sweeping = False

    @staticmethod
    def of(guard: Guard) -> Runs:
        """Those of this guard."""
        return _ALL.get(guard) or _ALL.setdefault(guard, Runs())

    def above(self, run_id: UUID | None) -> Run | None:
        """The run of this id or, if that has no span, the one that it lies under."""
        return None if run_id is None else self.heard_of(run_id)

    def heard_of(self, run_id: UUID) -> Run | None:
        """The run of this id, also if it was given up: what stopped it, or races with it, counts all the same."""
        run = self.live.get(run_id)
        return run if run is not None or not self.given_up else self.given_up.get(run_id)

    def start(self, run: Run, *, watched: bool = True) -> None:
        """A run has started; one with a span of its own is `watched`, which ends with its task at the latest."""
        live = self.live
        live[run.identity] = run
        if not self._sweeping:
            self._sweep_later()
        if len(live) > _MOST:
            self._give_up(next(iter(live)))
        if watched and _get_running_loop() is not None:
            run.watch(self._task_over)

    def take(self, run_id: UUID) -> Run | None:
        """A run is over: forget it. None if nobody saw it start, or it has no span."""
        run = self.live.pop(run_id, None) if self.live else None  # the hash of a UUID costs, as does its ==
        if run is None or (run.identity is not run_id and run.identity.int != run_id.int):
            return None
        if run.task is not None:
            run.ended()
        if run.hush is not None:
            run.hush.over()
        return run

    def take_late(self, run_id: UUID) -> tuple[bool, Run | None]:
        """Whether this run's span was ended before, and now its answer is here; the run, unless its task is gone."""
        if not self.given_up or run_id not in self.given_up:
            return False, None
        return True, self.given_up.pop(run_id)

    def _give_up(self, run_id: UUID, error: BaseException | None = None) -> None:
        run = self.take(run_id)
        ended = None if run is None else run.flow or run.bare
        if ended is None:
            return
        if error is None:
            ended.abandoned(late=True)
        else:
            ended.failed(error)
        self._remember(run_id, run if error is None else None)

    def _remember(self, run_id: UUID, run: Run | None) -> None:
        self.given_up[run_id] = run
        if len(self.given_up) > _REMEMBERED:
            self.given_up.popitem(last=False)

    def _task_over(self, run_id: UUID, task: asyncio.Task[Any]) -> None:
        # LangChain starts some runs in tasks of a moment's length: that one is done says nothing.
        if task.cancelled():
            self._give_up(run_id, asyncio.CancelledError())

    def _sweep_later(self) -> None:
        self._sweeping = True
        this = weakref.ref(self)
        when = monotonic() + self.idle / _SWEEPS
        self._clock.at("sweep", when, lambda: None if (runs := this()) is None else runs.sweep())

    def sweep(self) -> None:
        """End the spans of the runs that nothing was heard of for too long."""
        runs = {run.identity: run for run in list(self.live.values())}
        for run in runs.values():  # what is heard below counts for what lies above
            above = run.above if run.heard else None
            while above is not None and not above.heard:
                above.heard = True
                above = above.above
        for identity, run in runs.items():
            run.quiet = 0 if run.heard else run.quiet + 1
            run.heard = False
            if run.listener is not None:
                run.listener.listen()
            if run.quiet > _SWEEPS:
                self._give_up(identity)
        for run_id, run in list(self.live.items()):  # what lies inside and passes on such a run
            if run.quiet > _SWEEPS and self.live.pop(run_id, None) is not None:
                self._remember(run_id, run)
        self._sweeping = bool(self.live)
        if self._sweeping:
            self._sweep_later()


_ALL: weakref.WeakKeyDictionary[Guard, Runs] = weakref.WeakKeyDictionary()
