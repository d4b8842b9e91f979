"""GuardCallback: spans, monitors and blocking guardrails for a chain that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from opentelemetry.context import Context

from llmguard_middleware import Call, Guard, Message
from llmguard_middleware._drive import drive, inside_scorer
from llmguard_middleware._flow import Flow, innermost
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._policy import Policy

from . import _convert as convert
from ._agent_state import answer
from ._handoff import Handoff, marked, report
from ._protect import refuse_stages

__all__ = ["GuardCallback"]

_INSTEAD = "put protect(model, guard) around the model"


class _Run:
    """One LangChain run: its own call, if it has a span; what runs below it lie under; the documents of its root."""

    __slots__ = ("context", "documents", "flow", "handoff", "root", "streamed")

    def __init__(self, flow: Flow | None, above: _Run | None, handoff: Handoff | None = None) -> None:
        self.flow = flow
        self.handoff = handoff
        self.streamed = False  # known from the first piece only
        self.context: Context | None = flow.span.context if flow is not None else above.context if above else None
        self.documents: list[str] = above.documents if above is not None else []
        self.root: Flow | None = above.root if above is not None else flow


class GuardCallback(BaseCallbackHandler):
    """A callback for any chain: a span for it, one for each model, retriever and tool under it; monitors; blocks.

    A callback can stop a call and cannot change one, nor call back what was streamed. Guardrails that ask for that are
    refused at the first model start, unless the model is a protected copy with this guard, which enforces them itself.

    Raises:
        UnenforceableError: for rules of stages that this adapter does not reach.
    """

    # A blocking handler must be a sync one, called in line: LangChain swallows the errors of all others.
    raise_error = True
    run_inline = True
    # LangChain has properties here. Of the class itself, given with its parentheses forgotten, these count as true, and
    # every event would be ignored without a word; these let it fail.
    ignore_llm = ignore_retry = ignore_chain = ignore_agent = False
    ignore_retriever = ignore_chat_model = ignore_custom_event = False

    def __init__(self, guard: Guard) -> None:
        expect_guard(guard, "GuardCallback(guard)")
        refuse_stages(guard, "GuardCallback")
        self.guard = guard
        self._runs: dict[UUID, _Run] = {}
        self._seen: Policy | None = None
        self._sort()

    def _sort(self) -> None:
        """What of the guard's rules a callback can enforce: all but edits, and on streams nothing at the output."""
        if self._seen is not self.guard.policy:
            self._seen = self.guard.policy
            self._unenforceable = [rule for rule in self._seen.guardrails if rule.edits]
            self._blocking = self.guard.without(self._unenforceable)
            self._output_rules = [rule for rule in self._seen.at("output") if rule.acts]
            self._recording = self._blocking.without(self._output_rules)

    # Chains: the root is a span, what lies inside it only passes the root on.

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the span of a root chain."""
        if run_id in self._runs:  # the same handler given twice
            return
        above = self._runs.get(parent_run_id) if parent_run_id else None
        if above is not None:
            self._runs[run_id] = _Run(None, above)
            return
        name = kwargs.get("name") or (serialized or {}).get("name") or "chain"
        call = Call("invoke_workflow", name=name, inputs=convert.inputs(inputs))
        metadata = kwargs.get("metadata") or {}
        if metadata.get("ls_integration") == "langchain_create_agent":
            call = call.but(operation="invoke_agent", name=str(metadata.get("lc_agent_name") or ""))
            call = call.but(conversation=str(metadata.get("thread_id") or ""))
        self._runs[run_id] = _Run(Flow(self.guard, call, outermost=True), None)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a root chain and give it to the monitors."""
        run = self._runs.pop(run_id, None)
        if run is not None and run.flow is not None and run.flow.relays:  # a GuardMiddleware told what was asked
            run.flow.answered(output=answer(outputs), context=tuple(run.documents))
        elif run is not None and run.flow is not None:
            # A streamed chain is started with an empty input and told what it was only now.
            late = {"inputs": convert.inputs(kwargs["inputs"])} if kwargs.get("inputs") is not None else {}
            run.flow.answered(output=convert.plain(outputs), context=tuple(run.documents), **late)

    def flow_above(self, run_id: UUID | None) -> Flow | None:
        """The outermost call that this run belongs to, for a GuardMiddleware inside."""
        run = None if run_id is None else self._runs.get(run_id)
        return None if run is None else run.root

    # Models.

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Judge what goes to a chat model; raises GuardrailViolation before the model is called."""
        self._model_start("chat", serialized, convert.read(messages[0]), run_id, **kwargs)

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any) -> None:
        """Judge what goes to a text model; raises GuardrailViolation before the model is called."""
        self._model_start("text_completion", serialized, [Message("user", prompts[0])], run_id, **kwargs)

    def _model_start(
        self,
        operation: str,
        serialized: dict[str, Any] | None,
        messages: Sequence[Message],
        run_id: UUID,
        *,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if run_id in self._runs:
            return
        above = self._runs.get(parent_run_id) if parent_run_id else None
        parent = above.context if above is not None else None
        metadata = metadata or {}
        if marked(self.guard, metadata):
            # The copy does it all; it is told what lies above it, and no second span or score is made.
            handoff = Handoff(self.guard, outermost=above is None, parent=parent)
            report(metadata, run_id, handoff)
            self._runs[run_id] = _Run(None, above, handoff)
            return
        if inside_scorer.get():
            return
        self._sort()
        self.guard.refuse(self._unenforceable, "GuardCallback", _INSTEAD)
        call = convert.model_call(operation, metadata, (serialized or {}).get("kwargs") or {})
        flow = Flow(self._blocking, call, parent=parent, outermost=above is None)
        try:
            drive(flow.admit(messages), self.guard.workers)
        except BaseException as error:
            # LangChain tells nobody of a start that failed, so this span would never end.
            flow.failed(error)
            raise
        handoff = Handoff(self.guard, outermost=above is None, span=flow.span)
        self._runs[run_id] = _Run(flow, above, handoff if report(metadata, run_id, handoff) else None)

    def handed_over(self, run_id: UUID) -> Handoff | None:
        """What this callback tells the protected model of a run that it saw start."""
        run = self._runs.get(run_id)
        return None if run is None else run.handoff

    def on_llm_new_token(self, token: str | list[str | dict[str, Any]], *, run_id: UUID, **kwargs: Any) -> None:
        """Refuse to let a stream begin whose answer a callback could not hold back."""
        self._streamed(run_id)

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The same for LangChain's event streams."""
        self._streamed(run_id)

    def _streamed(self, run_id: UUID) -> None:
        run = self._runs.get(run_id)
        if run is None or run.flow is None or run.streamed:
            return
        self.guard.refuse(self._output_rules, "GuardCallback on a streamed answer", _INSTEAD)
        run.streamed = True
        drive(run.flow.settle_races(), self.guard.workers)  # before the first piece leaves
        run.flow.follow(self._recording)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Judge what came back; raises GuardrailViolation before the caller has it."""
        run = self._runs.pop(run_id, None)
        if run is None or run.flow is None:
            return
        generations = convert.first_candidates(response)
        try:
            drive(run.flow.release([generation.text for generation in generations]), self.guard.workers)
        except BaseException as error:
            run.flow.failed(error)
            raise
        run.flow.answered(**convert.answer(generations, response.llm_output), streamed=run.streamed)

    # Retrievers and tools: a span each, and the documents for scorers that ask for `context`.

    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the span of a retrieval."""
        self._part("retrieval", serialized, {"query": query}, run_id, parent_run_id, kwargs.get("name"))

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        """End it and keep the documents."""
        run = self._runs.pop(run_id, None)
        if run is not None and run.flow is not None:
            found = [document.page_content for document in documents]
            run.documents += found
            run.flow.answered(output=found)

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the span of a tool."""
        self._part("execute_tool", serialized, {"input": input_str}, run_id, parent_run_id, kwargs.get("name"))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End it."""
        run = self._runs.pop(run_id, None)
        if run is not None and run.flow is not None:
            run.flow.answered(output=convert.plain(output))

    def _part(
        self,
        operation: str,
        serialized: dict[str, Any] | None,
        given: dict[str, Any],
        run_id: UUID,
        parent_run_id: UUID | None,
        name: str | None,
    ) -> None:
        if run_id in self._runs:
            return
        above = self._runs.get(parent_run_id) if parent_run_id else None
        parent = above.context if above is not None else None
        call = Call(operation, name=name or (serialized or {}).get("name") or "", inputs=given)
        around = innermost()
        guarded = around is not None and around.call.operation == operation and around.call.name == call.name
        if guarded and around is not None:  # a GuardMiddleware has this call's span
            same = around.guard.identity is self.guard.identity
            flow = None if same else Flow(self.guard, call, span=around.span, outermost=above is None)
            self._runs[run_id] = _Run(flow, above)
            self._runs[run_id].context = around.span.context
            return
        flow = Flow(self.guard, call, parent=parent, outermost=above is None)
        self._runs[run_id] = _Run(flow, above)

    def _error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a run that failed."""
        run = self._runs.pop(run_id, None)
        if run is not None and run.flow is not None:
            if isinstance(error, GeneratorExit):
                run.flow.abandoned()
            else:
                run.flow.failed(error)

    on_chain_error = on_llm_error = on_retriever_error = on_tool_error = _error
