"""GuardCallback: spans, monitors and blocking guardrails for a chain that stays as it is."""

from __future__ import annotations

from uuid import UUID

from llmguard_middleware import Guard
from llmguard_middleware._checks import expect_bool, expect_seconds
from llmguard_middleware._flow import Flow
from llmguard_middleware._guard import expect_guard

from .._handoff import Handoff
from .._protect import refuse_stages
from ._chains import ChainEvents
from ._enforced import STAGES, Enforced, refuse_changes
from ._instance import Heeded
from ._models import ModelEvents
from ._parts import PartEvents
from ._runs import Runs

__all__ = ["GuardCallback"]


class GuardCallback(ChainEvents, ModelEvents, PartEvents):
    """A callback for any chain: a span for it, one for each model, retriever and tool under it; monitors; blocks.

    A callback judges what a protected copy would: all that is textual in messages and answers, the arguments and
    results of tools, documents. It can stop a call and cannot change one, nor call back what was streamed. Guardrails
    that ask for that are refused at the first model start, unless the model is a protected copy with this guard, which
    enforces them itself; those for tools and retrievers are refused here, unless something protected enforces them.

    Args:
        guard: whose rules apply.
        every_runnable: give each Runnable inside a chain a span, too.
        idle: seconds without a word after which the span of a run is ended as abandoned. LangChain tells nobody of an
            event stream that its reader left. An answer that comes later is judged all the same.

    Raises:
        UnenforceableError: for rules of stages that this adapter does not reach, or that change texts of a stage of
            which nothing has been protected with this guard yet.
    """

    # A blocking handler must be a sync one, called in line: LangChain swallows the errors of all others.
    raise_error = True
    run_inline = True
    ignore_llm = ignore_retry = ignore_chain = ignore_agent = Heeded()
    ignore_retriever = ignore_chat_model = ignore_custom_event = Heeded()

    def __init__(self, guard: Guard, *, every_runnable: bool = False, idle: float = 900.0) -> None:
        expect_guard(guard, "GuardCallback(guard), the chain's config={'callbacks': [...]},")
        expect_bool(every_runnable, "every_runnable of GuardCallback")
        expect_seconds(idle, "idle of GuardCallback")
        refuse_changes(guard)
        refuse_stages(guard, "GuardCallback", STAGES, ends=True)
        self.guard = guard
        self.every_runnable = every_runnable
        self._runs = Runs.of(guard)
        self._runs.idle = idle
        self._live = self._runs.live
        self._calls = {}
        self._streaming = None
        self._sorted = Enforced(guard)

    def flow_above(self, run_id: UUID | None) -> Flow | None:
        """The agent that this run belongs to, or the outermost call, for a GuardMiddleware inside."""
        run = self._runs.above(run_id)
        found = None
        while run is not None:
            if (flow := run.judged()) is not None:
                found = flow
                if found.call.operation == "invoke_agent":
                    break
            run = run.above
        return found

    def lies_above(self, parent_run_id: UUID | None) -> Handoff:
        """What this callback tells something protected that is about to start below this run."""
        run = self._runs.above(parent_run_id)
        if run is None:
            return Handoff(self.guard)
        return Handoff(self.guard, outermost=False, parent=run.context, root=run.root)

    def handed_over(self, run_id: UUID) -> Handoff | None:
        """What this callback tells the protected model of a run that it saw start."""
        run = self._live.get(run_id)
        return None if run is None or run.identity != run_id else run.handoff
