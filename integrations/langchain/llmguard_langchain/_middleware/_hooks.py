"""GuardMiddleware: a guard around an agent of `create_agent`, in every call mode.

A guardrail that stops a call stops the run, and does so from a node of its own: the wrapped call ends with a stand-in,
which other middlewares may retry or rewrite as they like, the next node takes the blocked turn out of the state, and
the last one raises. No node can swallow what another one raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse, hook_config
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from typing_extensions import NotRequired

from llmguard_middleware import ConfigurationError, Guard, GuardrailViolation
from llmguard_middleware._checks import expect_known
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._judge import Plan
from llmguard_middleware._policy import Policy
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run
from llmguard_middleware.telemetry._call_span import CallSpan

from .. import _convert as convert
from .._judged import admitted
from .._protect import guarded_model, is_signal
from . import _state as states
from ._model import Watched, structured
from ._requests import guarding
from ._run import KEY, AgentRun, GuardedRun, RunChannel
from ._tools import arguments_judged, tool_steps

if TYPE_CHECKING:
    from langgraph.prebuilt.tool_node import ToolCallRequest

__all__ = ["GuardMiddleware"]

_NOWHERE: RunnableConfig = {}
_READ = "__pregel_read"


class _State(AgentState[Any]):
    llmguard_run: NotRequired[Annotated[AgentRun, RunChannel, PrivateStateAttr]]


class GuardMiddleware(AgentMiddleware):
    """A guard around an agent: its models, its tools, its state, its span.

    Put it last in `middleware=[...]`, where no other one changes what it let pass; one that swaps the model behind it
    is refused at the first call.

    Args:
        guard: whose guardrails and monitors apply. Stages: input, output, tool_call (arguments), tool_result.
        state: what LangGraph keeps of what went to models and tools: `raw`, the messages as the user sent them and the
            arguments as the model gave them, so that a later run judges them by the rules that are in force then; or
            `redacted`, the copies that the guard let pass. Answers and tool results are kept as they were let pass in
            either case. LangGraph stores its input before any node runs: with `redacted`, call the agent with
            `durability="exit"`, or delete earlier checkpoints.
        on_block: what becomes of the turn that a guardrail stopped: `remove` takes it out of the state, so that the
            thread goes on; `keep` leaves it there, and as long as it is, the thread stays blocked (code `blocked`).

    Raises:
        ConfigurationError: for something that is no guard, an unknown word, or pseudonyms that would be stored.
        UnenforceableError: for rules of stages that no agent has.
    """

    state_schema = _State

    def __init__(
        self,
        guard: Guard,
        *,
        state: Literal["raw", "redacted"] = "raw",
        on_block: Literal["remove", "keep"] = "remove",
    ) -> None:
        super().__init__()
        expect_guard(guard, "GuardMiddleware(guard)")
        expect_known(state, ("raw", "redacted"), "state", "GuardMiddleware")
        expect_known(on_block, ("remove", "keep"), "on_block", "GuardMiddleware")
        self.guard, self.state, self.on_block = guard, state, on_block
        self.tools = []
        guard.covers("input", "output", "tool_call", "tool_result", ends=True)
        guard.require(f"GuardMiddleware(state={state!r})", self._check)
        guard.pass_untouched(is_signal)

    def _check(self, policy: Policy) -> None:
        beyond = [rule for rule in policy.guardrails if rule.stage not in self.guard.covered]
        self.guard.refuse(beyond, "GuardMiddleware", "guard the retriever or the embeddings first, which this is for")
        stored = [rule.name for rule in policy.at("input") if rule.remedy.name == "pseudonymize"]
        if self.state == "redacted" and stored:
            msg = (
                f'rule "{stored[0]}" gives placeholders that only one run can put back, and state="redacted" would '
                'store them: use state="raw", or action="redact"'
            )
            raise ConfigurationError(msg)

    @property
    def name(self) -> str:
        """What LangChain calls it; its guard's name tells two of them apart."""
        return "GuardMiddleware" if self.guard.name == "default" else f"GuardMiddleware({self.guard.name})"

    def _run(self, state: Any, config: Any) -> GuardedRun:
        """This run of the agent, opened by the first node that asks for it."""
        found = state.get(KEY)
        if not isinstance(found, AgentRun) and (read := (config or {}).get("configurable", {}).get(_READ)):
            found = read([KEY]).get(KEY)  # LangGraph 1.0 stores a tool's input with a copy of the state
        shared = found if isinstance(found, AgentRun) else AgentRun()
        return shared.under(self.guard, partial(self._begin, state, config))

    def _begin(self, state: Any, config: Any, span: CallSpan | None) -> GuardedRun:
        if not config:
            try:
                config = get_config()
            except RuntimeError:  # an async node before Python 3.11, or no graph at all
                config = {}
        return GuardedRun.begin(self.guard, state, config, span, middleware=self)

    # Nodes.

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Any, config: RunnableConfig = _NOWHERE) -> dict[str, Any] | None:
        """End a run that was stopped; redact the state, if it is to be."""
        return run(self._settled(state, config))

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: Any, runtime: Any, config: RunnableConfig = _NOWHERE) -> dict[str, Any] | None:
        """`before_model`, in async runs."""
        return await arun(self._settled(state, config))

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Any, config: RunnableConfig = _NOWHERE) -> dict[str, Any] | None:
        """End a run that was stopped."""
        return self._stopped(self._run(state, config), state)

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: Any, runtime: Any, config: RunnableConfig = _NOWHERE) -> dict[str, Any] | None:
        """`after_model`, in async runs."""
        return self._stopped(self._run(state, config), state)

    def after_agent(self, state: Any, runtime: Any, config: RunnableConfig = _NOWHERE) -> dict[str, Any] | None:
        """End the run; raises GuardrailViolation if a guardrail stopped a call of it."""
        return run(self._ended(state, config))

    async def aafter_agent(self, state: Any, runtime: Any, config: RunnableConfig = _NOWHERE) -> dict[str, Any] | None:
        """`after_agent`, in async runs."""
        return await arun(self._ended(state, config))

    def _settled(self, state: Any, config: Any) -> Steps[dict[str, Any] | None]:
        told = self._run(state, config)
        if not told.stopped and self.state == "redacted":
            try:
                update: dict[str, Any] | None = yield Judge(self.guard, self._redacted(told, state["messages"]))
            except GuardrailViolation as violation:
                if self.guard.refusal is None:
                    told.stop(violation)
                # A refused one is left to the model's turn, whose answer says so.
            else:
                return update
        return self._stopped(told, state)

    def _redacted(self, told: GuardedRun, messages: list[Any]) -> Plan[dict[str, Any] | None]:
        """What puts the guarded copies of messages in the place of those that a guardrail changes."""
        copies: list[Any] = yield from admitted(told.flow, messages)
        yield from told.flow.settle_races()
        if told.flow.rules("tool_call"):
            for index, message in enumerate(copies):
                if isinstance(message, AIMessage) and message.tool_calls:
                    copies[index] = yield from self._with_arguments(told, message)
        changed = [copy for copy, message in zip(copies, messages, strict=True) if copy is not message]
        return {"messages": changed} if changed else None

    def _with_arguments(self, told: GuardedRun, message: AIMessage) -> Plan[AIMessage]:
        changed: dict[str, dict[str, Any]] = {}
        for call in message.tool_calls:
            arguments = yield from arguments_judged(told.flow, call["args"])
            if arguments != call["args"]:
                changed[str(call["id"])] = arguments
        return states.with_arguments(message, changed) if changed else message

    def _ended(self, state: Any, config: Any) -> Steps[dict[str, Any] | None]:
        told = self._run(state, config)
        messages = state["messages"]
        update: dict[str, Any] | None = None
        if not told.stopped and self.state == "redacted":
            try:
                update = yield Judge(self.guard, self._redacted(told, messages))
            except GuardrailViolation as violation:
                if self.guard.refusal is None:
                    told.stop(violation)
        told.end(states.answer(state))
        return update

    def _stopped(self, told: GuardedRun, state: Any) -> dict[str, Any] | None:
        """What ends a run that was stopped: its turn is taken out of the state, unless it is to stay."""
        messages = state["messages"]

        def stops(text: str) -> bool:
            found = told.root.findings(told.flow.policy.digest, "input", text)
            return any(finding.stops for finding in found.values())

        if told.stopped:
            if self.on_block == "remove":
                gone: list[Any] = list(states.blocked_turns(messages, stops))
            else:
                gone = states.stand_ins(messages)
            return {"messages": gone, "jump_to": "end"}
        if self.on_block == "remove" and self._refused(messages[-1:]):
            changed = states.emptied(messages[:-1], stops)
            return {"messages": changed} if changed else None
        return None

    def _refused(self, last: list[Any]) -> bool:
        refusal = self.guard.refusal
        return refusal is not None and any(convert.text_of(message) == refusal for message in last)

    # Calls of models and tools.

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call a guarded copy of the model."""
        return run(self._model(request, handler))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """`wrap_model_call`, in async runs."""
        return await arun(self._model(request, handler))

    def _model(self, request: ModelRequest[Any], handler: Callable[..., Any]) -> Steps[ModelResponse[Any]]:
        told = self._run(request.state, None)
        if not told.stopped:
            guard, root = self.guard, told.root
            messages = states.hidden(request.messages, root.pseudonyms.hide) if root.hides else request.messages
            asked = guarding(request.override(messages=messages), "model", _Guarded(guard))
            try:
                around = partial(Watched, told.flow, guard, handler)
                response = yield Ask(around, partial(handler, asked))
                if told.flow.rules("output"):
                    response = yield Judge(guard, structured(told.flow, response))
            except Exception as error:  # noqa: BLE001 - raised again, except after a violation
                self._failed(told, error)
            if not told.stopped:
                return response  # type: ignore[no-any-return]  # what the handler returned
        return ModelResponse(result=[AIMessage("", id=states.stand_in())])

    def _failed(self, told: GuardedRun, error: Exception) -> None:
        """Take note of what a call raised; only a violation is not raised again here."""
        if isinstance(error, GuardrailViolation):
            told.stop(error)
            return
        interrupted = isinstance(error, GraphBubbleUp)
        if told.stopped and not interrupted:
            return  # a retry or a fallback after the violation, which is what the run ends with
        told.dropped.note(error, interrupted=interrupted)
        raise error

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Call the tool with what its arguments may say, and give back what its result may say."""
        told = self._run(request.state, request.runtime.config)
        with told.flow.active():
            return run(self._tool(told, request, handler))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """`wrap_tool_call`, in async runs."""
        told = self._run(request.state, request.runtime.config)
        with told.flow.active():
            return await arun(self._tool(told, request, handler))

    def _tool(self, told: GuardedRun, request: ToolCallRequest, handler: Callable[..., Any]) -> Steps[Any]:
        refusal = self.guard.refusal
        if not told.stopped:
            try:
                result = yield from tool_steps(self.guard, request, handler)
            except GuardrailViolation as violation:
                if refusal is None or told.stopped:
                    told.stop(violation)
                else:
                    return _answer(request, refusal)
            except Exception as error:  # noqa: BLE001 - raised again, except after a violation
                self._failed(told, error)
            if not told.stopped:
                return result
        return _answer(request, str(told.root.violation))


@dataclass(frozen=True)
class _Guarded:
    """Puts the guard around a model."""

    guard: Guard

    def __call__(self, model: Any) -> Any:
        return guarded_model(model, self.guard)


def _answer(request: ToolCallRequest, text: str) -> ToolMessage:
    call = request.tool_call
    return ToolMessage(text, name=call["name"], tool_call_id=str(call["id"]), status="error")
