"""What a GuardCallback does with a run of any kind: opens its call below the one above, joins another's, ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from llmguard_middleware import Call, Guard, GuardrailViolation
from llmguard_middleware._call import Stage
from llmguard_middleware._current import around
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._unjudged import Unjudged, unjudged

from .._session import with_session
from ._enforced import Enforced
from ._runs import Run, Runs

__all__ = ["RunEvents", "Started"]

_LEAVES = frozenset(("retrieval", "execute_tool"))

Started = Mapping[str, Any]
"""What LangChain tells of any run that starts: run_id, parent_run_id, metadata, tags, name."""

_ANSWERED = {"output": "chat", "retrieval": "retrieval", "tool_result": "execute_tool"}


class RunEvents(BaseCallbackHandler):
    """What the handlers of all kinds of runs share."""

    guard: Guard
    _sorted: Enforced
    _runs: Runs
    _live: dict[UUID, Run]
    _calls: dict[str, Call]
    _streaming: Run | None

    def _flow(self, guard: Guard, call: Call, above: Run | None) -> Flow:
        if above is None:
            return Flow(guard, call)  # an op may be above
        root = above.root
        return Flow(guard, call, parent=above.context, outermost=None if root is None else False, root=root)

    @property
    def _enforced(self) -> Enforced:
        if self._sorted.of is not self.guard.in_force:
            self._sorted = Enforced(self.guard)
        return self._sorted

    def _called(self, operation: str, name: str, inputs: Mapping[str, Any]) -> Call:
        """The call of a chain or a retriever: that of last time if it tells the same: its attributes are known."""
        last = self._calls.get(operation)
        if inputs or last is None or last.name != name:
            last = Call.made(operation, name=name, inputs=inputs)
            if not inputs:
                self._calls[operation] = last
        return last

    def _opened(
        self,
        guard: Guard,
        call: Call,
        run_id: UUID,
        above: Run | None,
        metadata: Mapping[str, Any] | None,
        tags: Sequence[str] | None,
    ) -> Run:
        """The run with its span, which has not started until `_runs` knows it."""
        if metadata or tags:
            call = with_session(call, metadata, tags)
        # An agent's middleware tells a Flow what was asked, and what is protected around a chain shares its root.
        leaf = call.operation in _LEAVES
        if not (unjudged(self.guard) and (leaf or (call.operation == "invoke_workflow" and not around()))):
            return Run(run_id, self._flow(guard, call, above), above)
        run = Run(run_id, None, above)
        run.bare = Unjudged(self.guard, call, None if above is None else above.context)
        return run

    def _judge(self, flow: Flow, plan: Plan[Any]) -> None:
        """Drive a plan; what stops it ends the call, since LangChain tells nobody of an error in a callback."""
        try:
            drive(plan, self.guard.workers)
        except BaseException as error:
            flow.stopped(error)
            raise

    def _late(self, run_id: UUID, guard: Guard, stage: Stage) -> Run | None:
        """A run whose answer comes after it was given up, if there is something to judge at this stage."""
        given_up, before = self._runs.take_late(run_id)
        flow = None if before is None else before.flow
        if not given_up or not ((flow is not None and flow.racing) or guard.has_rules(stage)):
            return None
        call = Call(_ANSWERED[stage], "" if flow is None else flow.call.name)
        run = Run(run_id, self._flow(guard, call, before), before)
        if before is not None and flow is not None and run.flow is not None:
            run.streamed = before.streamed
            run.flow.take_races(flow)
        return run

    def _joined(self, theirs: Flow, guard: Guard, call: Call, run_id: UUID, above: Run | None) -> Run:
        """The run of something protected, which has a span already: the copy's own, or one to join if it is seen."""
        root = None if above is None else above.root
        outermost = None if root is None else False
        own = any(one.guard.identity is guard.identity and one.span is theirs.span for one in (theirs, *around()))
        span, parent = (None if theirs.guard.emitter.silent else theirs.span), None if above is None else above.context
        flow = None if own else Flow(guard, call, span=span, parent=parent, outermost=outermost, root=root)
        run = Run(run_id, flow, above)
        run.inner = theirs
        if own:
            run.covered = True
        return run

    def _error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a run that failed."""
        run = self._runs.take(run_id)
        self._streaming = None
        if run is None:
            return
        if isinstance(error, GuardrailViolation) and (root := run.root) is not None:
            root.note(error)
        if (ended := run.flow or run.bare) is not None:
            ended.stopped(error)

    on_chain_error = on_llm_error = on_retriever_error = on_tool_error = _error
