"""One tool call of an agent: its arguments and its result through the guards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import ToolOutput

from llmguard_middleware import Call, GuardrailViolation
from llmguard_middleware._drive import adrive
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import leaves, opaque, with_leaves
from llmguard_middleware._placeholders import put_back
from llmguard_middleware._together import judged_numbers, judged_values
from llmguard_middleware.telemetry import _names as names

from ._judged import judged_message, text_of

__all__ = ["ToolUse", "arguments_judged", "result_judged", "tool_call"]


def tool_call(name: str, kwargs: Mapping[str, Any], tool_id: str = "") -> Call:
    """The call of a tool, before its arguments are judged."""
    attributes = {names.TOOL_CALL_ID: tool_id} if tool_id else {}
    return Call("execute_tool", name=name, inputs=dict(kwargs), attributes=attributes)


def arguments_judged(flow: Flow, kwargs: Mapping[Any, Any]) -> Plan[dict[Any, Any]]:
    """The arguments as the tool may have them. Names are the program's, unless they could not be.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    if (root := flow.root).hides:
        kwargs = with_leaves(dict(kwargs), [root.pseudonyms.hide(text) for text in leaves(dict(kwargs))])
    flow.root.check()
    values = list(kwargs.values())
    if flow.rules("tool_call"):
        ask = partial(flow.edits, stage="tool_call")
        values = with_leaves(values, (yield from judged_values(leaves(values), ask)))
        values = yield from judged_numbers(values, ask)
    keys: list[Any] = []
    for name in kwargs:
        known = str(name).isidentifier() or not isinstance(name, str)
        keys.append(name if known else (yield from flow.judge(name, "tool_call")))
    told = dict(zip(keys, values, strict=True))
    flow.call = flow.call.but(inputs=dict(told))
    return told


def result_judged(flow: Flow, output: ToolOutput) -> Plan[ToolOutput]:
    """What a tool gave, as it may go on: the texts of its blocks, and its raw output.

    Raises:
        GuardrailViolation: if a guardrail stops the call, or stopped one inside the tool.
    """
    flow.root.check()
    message = ChatMessage(role="tool", blocks=list(output.blocks))
    told = yield from judged_message(flow, message, "tool_result")
    update: dict[str, Any] = {} if told is message else {"blocks": list(told.blocks)}
    raw = output.raw_output
    acts = any(rule.acts for rule in flow.rules("tool_result"))
    if acts and opaque(raw):
        update["raw_output"] = text_of(told)  # nobody can look into it
    elif raw is not None:
        released = with_leaves(raw, (yield from flow.judge_all(leaves(raw), "tool_result")))
        if flow.rules("tool_result"):
            released = yield from judged_numbers(released, partial(flow.edits, stage="tool_result"), together=False)
        if released is not raw:
            update["raw_output"] = released
    if flow.root.hides:
        given = leaves(output.raw_input)
        update["raw_input"] = with_leaves(output.raw_input, [flow.root.pseudonyms.hide(text) for text in given])
    if not update and not (
        acts and getattr(output, "exception", None) is not None
    ):  # of which nobody knows what it holds
        return output
    changed = output.model_copy(update=update)
    if hasattr(changed, "_exception"):
        changed._exception = None
    return changed


def _expect_no_violation(failure: Exception | None) -> None:
    if isinstance(failure, GuardrailViolation):
        raise failure  # LlamaIndex would tell it to the model


class ToolUse:
    """A tool call under all guards of its agent, the outermost first.

    Attributes:
        told: the arguments as the guards let them pass.
        error: what the tool raised, if anybody noted it.
    """

    def __init__(self, flows: Sequence[Flow]) -> None:
        self.flows = flows
        self.told: dict[str, Any] = {}
        self.error: Exception | None = None

    async def arguments(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Judge the arguments; the span is ended if a guard stops the call."""
        told = dict(kwargs)
        try:
            for flow in reversed(self.flows):
                told = await adrive(arguments_judged(flow, told), flow.guard.workers)
        except BaseException as error:
            self.stopped(error)
            raise
        self.told = told
        return told

    def restored(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments with those originals that tools may see."""
        for flow in self.flows:
            if originals := flow.root.pseudonyms.restorable(tools=True):
                kwargs = with_leaves(kwargs, [put_back(text, originals) for text in leaves(kwargs)])
        return kwargs

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this the current call."""
        with ExitStack() as stack:
            for flow in self.flows:
                stack.enter_context(flow.active())
            yield

    async def result(self, output: ToolOutput) -> ToolOutput:
        """Judge the result; the span is ended either way."""
        try:
            failure = self.error or getattr(output, "exception", None)  # before 0.14.8 it has none
            _expect_no_violation(failure)
            for flow in reversed(self.flows):
                output = await adrive(result_judged(flow, output), flow.guard.workers)
        except BaseException as error:
            self.stopped(error)
            raise
        failed = failure if output.is_error else None
        for flow in reversed(self.flows):
            if failed is not None:
                flow.failed(failed)
            else:
                flow.answered(output=output.content)
        return output

    def stopped(self, error: BaseException) -> None:
        """The call ended by an exception."""
        for flow in reversed(self.flows):
            flow.stopped(error)

    def dropped(self) -> None:
        """The run ended before the tool was called."""
        for flow in reversed(self.flows):
            flow.interrupted()
