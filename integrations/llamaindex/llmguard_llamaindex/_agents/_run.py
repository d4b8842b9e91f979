"""What the steps of one agent run share: under each guard its span, what stopped it, the tool calls that are open.

LlamaIndex runs every step in a task of its own, made in a copy of the context of `run()`: what is said there in a
ContextVar reaches them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from llmguard_middleware import Call, Guard, GuardrailViolation
from llmguard_middleware._drive import adrive
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import leaves, with_leaves
from llmguard_middleware._rules import Guardrail
from llmguard_middleware.telemetry._call_span import CallSpan

from .._judged import admitted, edited, released
from .._root import Root
from .._tool_calls import ToolUse, tool_call

__all__ = ["AgentRun", "Heard", "Layer", "current"]

current: ContextVar[AgentRun | None] = ContextVar("llmguard_llamaindex_agent_run", default=None)


class Layer:
    """One run under one guard.

    Attributes:
        flow: the whole run.
        agent: the agent of a workflow of several that acts now; the run itself, if it is of one agent.
    """

    def __init__(self, flow: Flow) -> None:
        if racing := [rule for policy in flow.guard.policies for rule in policy.at("input") if rule.race]:
            flow.follow(flow.guard.without(racing))  # these race with the model, whose call judges by all rules
        flow.relays = True
        self.flow = self.agent = flow
        self.guard: Guard = flow.guard
        self._said: Any = None

    def plan(self, plan: Plan[Any]) -> Any:
        """Have the guard decide."""
        return adrive(plan, self.guard.workers)

    def turn(self, name: str, span: CallSpan | None) -> None:
        """In a workflow of several agents: this one acts now."""
        if self.agent is not self.flow:
            self._agent_answered()
        self.agent = Flow(self.guard, Call("invoke_agent", name=name), owner=self, span=span)
        self.agent.relays = True

    def said(self, text: Any) -> None:
        """What the agent that acts now said last."""
        self._said = text

    def _agent_answered(self) -> None:
        with suppress(GuardrailViolation):
            self.agent.answered(output=self._said)

    def end(self, output: Any) -> None:
        """The run is over and was answered."""
        if self.agent is not self.flow:
            self._agent_answered()
        with suppress(GuardrailViolation):  # which the last step has raised
            self.flow.answered(output=output)

    def stop(self, error: BaseException) -> None:
        """The run ended otherwise."""
        for flow in (self.agent, self.flow):
            flow.stopped(error)


class Heard:
    """What guarded LLMs let go in one turn of an agent."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._roots = [root for root in roots if any(rule.acts for rule in root.flow.rules("output"))]

    def __call__(self, text: str, thought: str = "") -> bool:
        """Whether every guard that acts on answers has judged this text, and this thinking."""
        return all(root.heard(text, thought) for root in self._roots)


class AgentRun:
    """One run of an agent, under all its guards.

    Args:
        layers: the outermost guard's first.
        keeps_raw: whether the memory is to have the messages as the user sent them.
        several: whether it is a workflow, whose agents have spans of their own.

    Attributes:
        before: the messages that were in the memory.
        tools: the tool calls that the model asked for and that have not run yet, by id.
        using: those that run.
        steps: the tasks of the steps that run.
        last: what an agent of this run said last.
    """

    def __init__(self, layers: Sequence[Layer], *, keeps_raw: bool = False, several: bool = False) -> None:
        self.layers, self.keeps_raw, self.several = layers, keeps_raw, several
        self.before: list[ChatMessage] | None = None
        self.agent_before = ""
        self.events_before: int | None = None
        self.tools: dict[str, ToolUse] = {}
        self.using: set[ToolUse] = set()
        self.steps: set[asyncio.Task[Any]] = set()
        self.last = ""

    @property
    def violation(self) -> GuardrailViolation | None:
        """What stopped a call of this run, if anything did."""
        return next((one for layer in self.layers if (one := layer.flow.root.violation) is not None), None)

    @property
    def refusal(self) -> str | None:
        """What is answered in place of a violation, if all its guards say so."""
        return next((layer.guard.refusal for layer in self.layers if layer.guard.refusal is not None), None)

    def check(self) -> None:
        """Raise what stopped a call of this run, if anything did."""
        if (violation := self.violation) is not None:
            raise violation

    def rules(self, stage: Any) -> list[Guardrail]:
        """The rules of a stage that act, of all guards."""
        return [rule for layer in self.layers for rule in layer.agent.rules(stage) if rule.acts]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the agent that acts now the current call."""
        with ExitStack() as stack:
            for layer in self.layers:
                if layer.agent is not layer.flow:
                    stack.enter_context(layer.agent.active())
            yield

    @contextmanager
    def hearing(self) -> Iterator[Heard]:
        """Take note of what guarded LLMs let go inside."""
        roots = [Root(layer.agent) for layer in self.layers]
        with ExitStack() as stack:
            for root in roots:
                stack.enter_context(root.beside())
            yield Heard(roots)

    def turn(self, name: str) -> None:
        """This agent of several acts now."""
        if not self.several or (self.layers and self.layers[0].agent.call.name == name):
            return
        with ExitStack() as stack:
            for layer in self.layers:
                stack.enter_context(layer.flow.active())
            span = None
            for layer in self.layers:
                layer.turn(name, span)
                span = layer.agent.span

    async def admitted(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """Messages as they may go to the model."""
        for layer in self.layers:
            flow = layer.agent
            root = flow.root
            if not flow.policy.at("input") and flow.call.messages and not root.hides:
                continue
            if root.hides:
                hide = root.pseudonyms.hide
                messages = [edited(one, hide) if one.role.value == "assistant" else one for one in messages]
            messages = await layer.plan(admitted(flow, messages))
            await layer.plan(flow.settle_races())
            if flow is not layer.flow and not layer.flow.call.messages:
                layer.flow.call = layer.flow.call.but(messages=flow.call.messages)
        return messages

    async def answered(self, message: ChatMessage) -> ChatMessage:
        """A message of a model that no guard has judged, as it may leave."""
        for layer in reversed(self.layers):
            message, _ = await layer.plan(released(layer.agent, message, {}, reask=False))
        return message

    async def released(self, value: Any) -> Any:
        """An answer, a text or a value, as it may leave."""
        for layer in reversed(self.layers):
            texts = leaves(value)
            told: list[str] = []
            for text in texts:
                told += (await layer.plan(layer.agent.release([text]))) if text else [text]
            value = with_leaves(value, told)
        return value

    def use(self, name: str, kwargs: Mapping[str, Any], tool_id: str) -> ToolUse:
        """A tool call that the model asks for: its spans begin."""
        flows: list[Flow] = []
        with self.active(), ExitStack() as stack:
            for layer in self.layers:
                span = flows[0].span if flows else None
                flows.append(Flow(layer.guard, tool_call(name, kwargs, tool_id), span=span))
                stack.enter_context(flows[-1].active())
        return ToolUse(flows)

    def said(self, text: Any) -> None:
        """What an agent of this run said last."""
        self.last = text if isinstance(text, str) else ""
        for layer in self.layers:
            layer.said(text)

    def ended(self, task: asyncio.Future[Any]) -> None:
        """The task of the run is done: so are all its spans."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        for use in self.tools.values():
            use.dropped()
        for use in self.using:
            use.stopped(error or asyncio.CancelledError())
        for step in self.steps:
            step.cancel()  # LlamaIndex may leave one running, and with it a call that nobody waits for
        if error is not None:
            for layer in reversed(self.layers):
                layer.stop(error)
            return
        stop = task.result()
        output = _output(getattr(stop, "result", stop))
        for layer in reversed(self.layers):
            layer.end(output)


def _output(result: Any) -> Any:
    """What an agent answered: its structured answer, or its text."""
    structured = getattr(result, "structured_response", None)
    return str(result) if structured is None else structured
