"""The calls under way: where they begin, and how each one ends, once."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from llmguard_middleware import Guard
from llmguard_middleware._asking import judge_asking, unseen
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware._forks import renewed_in_children
from llmguard_middleware._idle import Idle
from llmguard_middleware._unjudged import Unjudged, unheard, unjudged

from .._seal import seal_of
from ._engines import Writer
from ._kinds import first
from ._models import Model
from ._run import Run, current
from ._table import Table

__all__ = ["Calls"]

_log = logging.getLogger("llmguard.telemetry")


class Calls:
    """Those of one guard.

    Attributes:
        live: calls by the ids of LlamaIndex's spans, nested duplicates under the call that they are part of.
        faults: how often something could not be traced; each kind of error is logged once.
    """

    def __init__(self, guard: Guard, *, synthesis: bool, idle: float) -> None:
        self.guard = guard
        self.live: dict[str | None, Run] = {}
        self.faults = 0
        self._logged: set[str] = set()
        self._table = Table(synthesis=synthesis)
        self._known = self._table.known
        self._idle = Idle(self.live, idle, self._give_up)
        # Async streams of a LlamaIndex class that ask its sync one when they are first read.
        self._waiting: dict[tuple[int, int, str], list[Run]] = {}
        renewed_in_children(self)

    def fault(self, error: Exception) -> None:
        """A call could not be traced; it goes on all the same."""
        self.faults += 1
        kind = type(error).__name__
        if kind not in self._logged:  # once: whatever it is, it comes again with every call
            self._logged.add(kind)
            _log.warning("a call of LlamaIndex could not be traced: %s", kind)

    def enter(self, id_: str, key: tuple[type, str], bound: inspect.BoundArguments, instance: Any) -> None:
        """A decorated method is called; `key` is its object's class and the name of its span."""
        try:
            kind = self._known[key]
        except KeyError:
            kind = self._table.find(key, instance)
        if kind is None or (not self.live and unheard(self.guard)):
            return
        if (instance is not None and seal_of(instance) is not None) or unseen():
            return
        question = judge_asking()
        around = outer = current.get()
        while outer is not None and (outer.calls is not self or outer.question is not question):
            outer = outer.around
        run = Run(self, id_, kind, instance if kind.owned else None, outer)
        run.around, run.question = around, question
        if (whole := self._part_of(run, bound, key[1])) is not None:
            self.live[id_] = whole
            whole.aliases = (*whole.aliases, id_)
        elif kind.begins(run, bound.arguments):
            self._begin(run, bound.arguments, key[1].rpartition(".")[2])

    def _part_of(self, run: Run, bound: inspect.BoundArguments, name: str) -> Run | None:
        """The call that this one of the same object is part of."""
        outer, owner, kind = run.outer, run.owner, run.kind
        if outer is not None and outer.owner is owner and outer.kind is kind and owner is not None:
            return outer
        if not self._waiting or type(kind) is not Model:
            return None
        # Async streams of a CustomLLM ask the sync one for the very same request when they are first read, and by then
        # their method is over.
        waiting = self._waiting.get((id(owner), id(first(bound.arguments)), name.rpartition(".")[2]))
        whole = next((one for one in waiting if not one.begun and one.reader is None), None) if waiting else None
        if whole is not None:
            whole.reader = run.id
            whole.enter()
        return whole

    def _begin(self, run: Run, arguments: Mapping[str, Any], method: str) -> None:
        guard, kind = self.guard, run.kind
        judged = kind.has_span and not unjudged(guard)
        call = kind.asked(run, arguments, method, judged=judged)
        if judged:
            if reentered(run.owner, guard):
                return
            run.flow = run.ended = flow = Flow(guard, call, owner=run.owner)
            try:
                kind.opened(run, flow)
            except Exception as error:  # noqa: BLE001 - the span has begun and must end
                self.fault(error)
        elif kind.has_span:
            run.ended = Unjudged(guard, call, None)
        self.live[run.id] = run
        self._idle.watch()
        if run.streams and run.ended is not None:
            ended = run.ended
            run.arrivals = ended.span.timed() if isinstance(ended, Flow) else ended.timed()
        if run.streams and method[0] == "a":
            run.waits = (id(run.owner), id(run.request), method[1:])
            self._waiting.setdefault(run.waits, []).append(run)
        run.enter()

    def leave(self, id_: str, result: Any) -> None:
        """A method returned."""
        run = self.live[id_]
        if run.id != id_:
            self._part_over(run, id_)
            return
        kind = run.kind
        if run.ended is None:
            self._passed(run, None)
            return
        try:
            later = kind.later(run, result)  # in its context still
        except Exception as error:  # noqa: BLE001 - its span must end
            later = False
            self.fault(error)
        run.leave()
        if not later:
            self.end(run, result)
        elif run.streams and not run.begun:
            run.hush = self.guard.emitter.hush(run.ended.call.operation)

    def fail(self, id_: str, error: BaseException | None) -> None:
        """A method raised."""
        run = self.live[id_]
        if run.id != id_:
            self._part_over(run, id_)
            return
        if run.ended is None:
            self._passed(run, error or RuntimeError())
            return
        run.leave()
        self.end(run, error=error or RuntimeError())

    def step_failed(self, error: BaseException | None) -> None:
        """Something inside a call raised that is no call itself, such as the step of a workflow."""
        run = current.get()
        while run is not None and run.calls is not self:
            run = run.around
        if run is not None and error is not None:
            run.failure = error

    def _part_over(self, run: Run, id_: str) -> None:
        if run.reader == id_:
            run.leave()
        if not run.streams:  # of a stream, the part may be what tells how it goes on
            self.live.pop(id_, None)

    def _passed(self, run: Run, error: BaseException | None) -> None:
        run.leave()
        self.live.pop(run.id, None)
        if isinstance(run.kind, Writer):
            run.kind.over(run, error)

    def end(self, run: Run, result: Any = None, *, error: BaseException | None = None, abandoned: bool = False) -> None:
        """A call is over: answered, failed, or left by its reader."""
        if run.over:
            return
        run.over = True
        if run.hush is not None:
            run.hush.over()
        self._forget(run)
        ended = run.ended
        assert ended is not None
        if abandoned:
            ended.abandoned()
            return
        answer: dict[str, Any] = {}
        if error is None:
            try:
                error = run.kind.error(result) or (run.failure if result is None else None)
                answer = run.kind.answer(run, result)
            except Exception as fault:  # noqa: BLE001 - its span must end
                self.fault(fault)
        if error is not None:
            ended.stopped(error)
        else:
            ended.answered(**answer)

    def _forget(self, run: Run) -> None:
        live = self.live
        live.pop(run.id, None)
        for alias in run.aliases:
            live.pop(alias, None)
        if run.waits is not None:
            waiting = self._waiting.get(run.waits, [])
            if run in waiting:
                waiting.remove(run)
            if not waiting:
                self._waiting.pop(run.waits, None)

    def _give_up(self, run: Run) -> None:
        """Nothing was heard of a call for too long."""
        if run.ended is None:
            self.live.pop(run.id, None)
        else:
            self.end(run, abandoned=True)

    def close(self) -> None:
        """Nothing is told any more: what is under way ends as abandoned."""
        run = current.get()
        while run is not None:  # those around this code, of which we could leave no other
            if run.calls is self:
                run.leave()
            run = run.around
        for run in list(self.live.values()):
            self._give_up(run)
        self.live.clear()
        self._waiting.clear()

    def begin_anew(self) -> None:
        """After a fork: what was under way stayed with the parent."""
        self.live.clear()
        self._waiting.clear()
        self._idle.begin_anew()
