"""What a GuardCallback does with a run of any kind: opens its call below the one above, joins another's, ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from llmguard_middleware import Call, Guard
from llmguard_middleware._flow import Flow
from llmguard_middleware._unjudged import Unjudged, unjudged

from ._runs import Run, Runs
from ._session import with_session

__all__ = ["RunEvents", "Started"]

Started = Mapping[str, Any]
"""What LangChain tells of any run that starts: run_id, parent_run_id, metadata, tags, name."""

_LEAVES = frozenset(("retrieval", "execute_tool"))  # a chain has what is below it to answer for


class RunEvents(BaseCallbackHandler):
    """What the handlers of all kinds of runs share."""

    guard: Guard
    _runs: Runs
    _live: dict[UUID, Run]
    _streaming: Run | None

    def _flow(self, guard: Guard, call: Call, above: Run | None) -> Flow:
        if above is None:
            return Flow(guard, call)  # an op may be above
        return Flow(guard, call, parent=above.context, outermost=None if above.root is None else False, root=above.root)

    def _begin(self, call: Call, started: Started, above: Run | None) -> Run:
        metadata, tags = started.get("metadata"), started.get("tags")
        if metadata or tags:
            call = with_session(call, metadata, tags)
        run_id = started["run_id"]
        if call.operation in _LEAVES and unjudged(self.guard):
            run = Run(run_id, None, above)
            run.bare = Unjudged(self.guard, call, None if above is None else above.context)
        else:
            run = Run(run_id, self._flow(self.guard, call, above), above)
        self._runs.start(run)
        return run

    def _join(self, theirs: Flow, call: Call, run_id: UUID, above: Run | None) -> Run:
        """The run is of something protected, which has a span already: the copy's own, or one to join."""
        own = theirs.guard.identity is self.guard.identity
        root = None if above is None else above.root
        outermost = None if root is None else False
        flow = None if own else Flow(self.guard, call, span=theirs.span, outermost=outermost, root=root)
        run = Run(run_id, flow, above)
        run.inner = theirs
        if own:
            run.covered = True
        self._runs.start(run)
        return run

    def _error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a run that failed."""
        run = self._runs.take(run_id)
        self._streaming = None
        if run is None:
            return
        if run.root is not None:
            run.root.note(error)
        if (ended := run.flow or run.bare) is not None:
            ended.stopped(error)

    on_chain_error = on_llm_error = on_retriever_error = on_tool_error = _error
