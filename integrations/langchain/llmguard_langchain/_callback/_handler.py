"""GuardCallback: spans, monitors and blocking guardrails for a chain that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from llmguard_middleware import Call, Guard, Message
from llmguard_middleware._call import Stage
from llmguard_middleware._checks import expect_bool, expect_seconds
from llmguard_middleware._drive import drive, inside_scorer
from llmguard_middleware._flow import Flow, innermost
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._unjudged import Unjudged, unheard, unjudged
from llmguard_middleware.telemetry import _names as names

from .. import _convert as convert
from .._handoff import MARK, Handoff, claimed, marked, report
from .._middleware._state import answer
from .._protect import refuse_stages
from .._session import agent_of, named, shows_agent, with_session
from ._runs import Run, Runs

__all__ = ["GuardCallback"]

_STAGES: tuple[Stage, ...] = ("input", "output")
_LEAVES = frozenset(("retrieval", "execute_tool"))  # a chain has what is below it to answer for
_INSTEAD = "put protect(model, guard) around the model"


class GuardCallback(BaseCallbackHandler):
    """A callback for any chain: a span for it, one for each model, retriever and tool under it; monitors; blocks.

    A callback can stop a call and cannot change one, nor call back what was streamed. Guardrails that ask for that are
    refused at the first model start, unless the model is a protected copy with this guard, which enforces them itself.

    Args:
        guard: whose rules apply.
        every_runnable: give each Runnable inside a chain a span, too.
        idle: seconds without a word after which the span of a run is ended as abandoned. LangChain tells nobody of an
            event stream that its reader left. An answer that comes later is judged all the same.

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

    def __init__(self, guard: Guard, *, every_runnable: bool = False, idle: float = 900.0) -> None:
        expect_guard(guard, "GuardCallback(guard)")
        expect_bool(every_runnable, "every_runnable of GuardCallback")
        expect_seconds(idle, "idle of GuardCallback")
        refuse_stages(guard, "GuardCallback")
        self.guard = guard
        self.every_runnable = every_runnable
        self._runs = Runs.of(guard)
        self._runs.idle = idle
        self._live = self._runs.live
        self._streaming: Run | None = None
        self._sort()

    def _sort(self) -> None:
        """What of the guard's rules a callback can enforce: all but edits, and on streams nothing at the output."""
        self._seen = self.guard.in_force
        policies = self.guard.policies  # those for some calls only, too
        self._unenforceable = [rule for one in policies for stage in _STAGES for rule in one.at(stage) if rule.edits]
        self._blocking = self.guard.without(self._unenforceable)
        self._output_rules = [rule for one in policies for rule in one.at("output") if rule.acts]
        self._recording = self._blocking.without(self._output_rules)

    def _flow(self, guard: Guard, call: Call, above: Run | None) -> Flow:
        if above is None:
            return Flow(guard, call)  # an op may be above
        return Flow(guard, call, parent=above.context, outermost=None if above.root is None else False, root=above.root)

    def _begin(
        self, call: Call, run_id: UUID, above: Run | None, metadata: dict[str, Any] | None, tags: list[str] | None
    ) -> Run:
        if metadata or tags:
            call = with_session(call, metadata, tags)
        if call.operation in _LEAVES and unjudged(self.guard):
            run = Run(run_id, None, above)
            run.bare = Unjudged(self.guard, call, None if above is None else above.context)
        else:
            run = Run(run_id, self._flow(self.guard, call, above), above)
        self._runs.start(run)
        return run

    # Chains: the root is a span and so is an agent, what lies inside passes them on.

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the span of a root chain or an agent."""
        live = self._live
        if (not live and unheard(self.guard)) or run_id in live:  # the same handler given twice
            return
        above = None if parent_run_id is None else self._runs.above(parent_run_id)
        agent = agent_of(metadata, name) if metadata else None
        if above is not None and shows_agent(metadata, name) and above.identity == parent_run_id:
            above.found_agent()
        if (theirs := claimed(run_id)) is not None:
            if above is not None and above.inner is theirs:  # the same call's run inside
                live[run_id] = above
                return
            call = Call("invoke_workflow", name=named(serialized, name, "chain"), inputs=convert.inputs(inputs))
            self._join(theirs, call, run_id, above).agent = agent or ""
            return
        if above is not None and not self.every_runnable and (agent is None or agent == above.agent):
            live[run_id] = above
            return
        asked = {} if unjudged(self.guard) else convert.inputs(inputs)
        if agent is not None and (above is None or agent != above.agent):
            call = Call.made("invoke_agent", name=agent, inputs=asked)
            self._begin(call, run_id, above, metadata, tags).agent = agent
        else:
            call = Call.made("invoke_workflow", name=named(serialized, name, "chain"), inputs=asked)
            self._begin(call, run_id, above, metadata, tags)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, inputs: Any = None, **kwargs: Any) -> None:
        """End the span of a root chain and give it to the monitors.

        Raises:
            GuardrailViolation: if something inside swallowed one.
        """
        run = self._runs.take(run_id)
        if run is None:
            _, before = self._runs.take_late(run_id)
            if before is not None and before.root is not None:
                before.root.check()
            return
        if run.flow is None:
            return
        if run.flow.policy.idle:
            run.flow.answered()
        elif run.flow.relays:  # a GuardMiddleware told what was asked
            run.flow.answered(output=answer(outputs), context=run.flow.root.documents)
        else:
            # A streamed chain is started with an empty input and told what it was only now.
            late = {"inputs": convert.inputs(inputs)} if inputs is not None else {}
            run.flow.answered(output=convert.plain(outputs), context=run.flow.root.documents, **late)

    # Models.

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge what goes to a chat model; raises GuardrailViolation before the model is called."""
        if run_id not in self._live:
            self._model_start("chat", serialized, messages[0], run_id, parent_run_id, metadata or {}, tags, name)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge what goes to a text model; raises GuardrailViolation before the model is called."""
        if run_id not in self._live:
            self._model_start(
                "text_completion", serialized, prompts[0], run_id, parent_run_id, metadata or {}, tags, name
            )

    def _model_start(
        self,
        operation: str,
        serialized: dict[str, Any] | None,
        asked: list[BaseMessage] | str,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: dict[str, Any],
        tags: list[str] | None,
        name: str | None,
    ) -> None:
        if not self._live and MARK not in metadata and unheard(self.guard):
            return
        above = None if parent_run_id is None else self._runs.above(parent_run_id)
        if (mark := metadata.get(MARK)) and marked(self.guard, metadata):
            # The copy does it all; it is told what lies above it, and no second span or score is made.
            run = Run(run_id, None, above)
            run.handoff = Handoff(
                self.guard, outermost=None if run.root is None else False, parent=run.context, root=run.root
            )
            report(metadata, run_id, run.handoff)
            self._runs.keep(run)
            return
        if inside_scorer.get():
            return
        source = serialized.get("kwargs") if serialized else None
        call = convert.model_call(operation, metadata, source or convert.NOTHING)
        call = with_session(call, metadata, tags, name)
        if not mark and unjudged(self.guard):
            if above is not None and above.root is not None:
                above.root.check()  # what another guard stopped
            run = Run(run_id, None, above)
            run.bare = Unjudged(self.guard, call, None if above is None else above.context)
        else:
            if self._seen is not self.guard.in_force:
                self._sort()
            if self._unenforceable and (above is None or not above.covered):
                self.guard.refuse(self._unenforceable, "GuardCallback", _INSTEAD)
            flow = self._flow(self._blocking, call, above)
            messages = [Message("user", asked)] if isinstance(asked, str) else convert.read(asked)
            try:
                drive(flow.admit(messages), self.guard.workers)
            except BaseException as error:
                # LangChain tells nobody of a start that failed, so this span would never end.
                flow.stopped(error)
                raise
            run = Run(run_id, flow, above)
            if mark:
                outermost = None if above is None else False
                run.handoff = Handoff(self.guard, outermost=outermost, span=flow.span, root=flow.root)
                report(metadata, run_id, run.handoff)
        self._runs.start(run)

    def flow_above(self, run_id: UUID | None) -> Flow | None:
        """The agent that this run belongs to, or the outermost call, for a GuardMiddleware inside."""
        run = self._runs.above(run_id)
        found = None
        while run is not None:
            if run.flow is not None:
                found = run.flow
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

    def handed_over(self, run_id: UUID) -> Handoff | None:
        """What this callback tells the protected model of a run that it saw start."""
        run = self._live.get(run_id)
        return None if run is None or run.identity != run_id else run.handoff

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        run_id: UUID,
        chunk: Any = None,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Refuse to let a stream begin whose answer a callback could not hold back."""
        run = self._streaming
        if run is None or run.identity is not run_id:  # a stream's pieces mostly come one after the other
            run = self._streaming = self._runs.heard_of(run_id)
        if run is not None:
            run.heard = True
            if not run.streamed:
                self._streamed(run)

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The same for LangChain's event streams."""
        self.on_llm_new_token("", run_id=run_id)

    def _streamed(self, run: Run) -> None:
        run.streamed = True
        if run.flow is None:
            return
        if not run.covered:
            self.guard.refuse(self._output_rules, "GuardCallback on a streamed answer", _INSTEAD)
        drive(run.flow.settle_races(), self.guard.workers)  # before the first piece leaves
        run.flow.follow(self._recording)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Judge what came back; raises GuardrailViolation before the caller has it."""
        run = self._runs.take(run_id)
        self._streaming = None  # or it would live on
        if run is None:
            run = self._late(run_id)
        ended = None if run is None else run.flow or run.bare
        if run is None or ended is None:
            return
        generations = convert.first_candidates(response)
        if (flow := run.flow) is not None and not flow.transparent:
            try:
                drive(flow.release([generation.text for generation in generations]), self.guard.workers)
            except BaseException as error:
                flow.stopped(error)
                raise
        ended.answered(**convert.answer(generations, response.llm_output), streamed=run.streamed)

    def _late(self, run_id: UUID) -> Run | None:
        """A run whose answer comes after it was given up, if there is something to judge."""
        given_up, before = self._runs.take_late(run_id)
        raced = before is not None and before.flow is not None and before.flow.racing
        if not given_up or not (raced or self._blocking.has_rules("output")):
            return None
        run = Run(run_id, self._flow(self._blocking, Call("chat"), before), before)
        if before is not None and before.flow is not None and run.flow is not None:
            run.streamed = before.streamed
            run.flow.take_races(before.flow)
        return run

    # Retrievers and tools: a span each, and the documents for scorers that ask for `context`.

    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the span of a retrieval."""
        if run_id not in self._live and (self._live or not unheard(self.guard)):
            call = Call.made("retrieval", name=named(serialized, name), inputs={"query": query})
            self._part(call, run_id, parent_run_id, metadata, tags, ("retrieval",))

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        """End it and keep the documents."""
        run = self._runs.take(run_id)
        if run is not None and run.bare is not None:
            run.bare.answered()
        elif run is not None and run.flow is not None:
            found = [document.page_content for document in documents]
            run.flow.root.documents += tuple(found)
            run.flow.answered(output=found)

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
        name: str | None = None,
        inputs: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the span of a tool."""
        if run_id not in self._live and (self._live or not unheard(self.guard)):
            call = Call.made(
                "execute_tool",
                name=named(serialized, name),
                inputs=convert.inputs(inputs) if inputs is not None else {"input": input_str},
                attributes={names.TOOL_CALL_ID: tool_call_id} if tool_call_id else {},
            )
            self._part(call, run_id, parent_run_id, metadata, tags, ("tool_call", "tool_result"))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End it."""
        run = self._runs.take(run_id)
        if run is not None and run.bare is not None:
            run.bare.answered()
        elif run is not None and run.flow is not None:
            run.flow.answered(output=convert.plain(output))

    def _part(
        self,
        call: Call,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: dict[str, Any] | None,
        tags: list[str] | None,
        stages: Sequence[Stage],
    ) -> None:
        above = self._runs.above(parent_run_id)
        theirs = claimed(run_id)
        if theirs is None and (near := innermost()) is not None:  # a GuardMiddleware has this call's span
            theirs = near if (near.call.operation, near.call.name) == (call.operation, call.name) else None
        if theirs is not None:
            self._join(theirs, call, run_id, above)
            return
        for stage in stages:
            if rules := [rule for policy in self.guard.policies for rule in policy.at(stage)]:
                self.guard.refuse(rules, f"GuardCallback at {call.name}", "put protect(..., guard) around it as well")
        self._begin(call, run_id, above, metadata, tags)

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
