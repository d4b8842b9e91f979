"""One tool call of an agent: its arguments and its result through the guard, whoever looks at it.

LangChain tells its callbacks of a tool's result before a middleware has it, so `stream_mode="tools"` and event streams
would show it as it was. The tool is called through a copy that has its result judged first, as a protected model is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial, wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, ToolException
from langgraph.types import Command

from llmguard_middleware import Call, Guard
from llmguard_middleware._current import around
from llmguard_middleware._drive import adrive, drive
from llmguard_middleware._edits import Edit, apply
from llmguard_middleware._failures import judged_failure
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import leaves, opaque, with_leaves
from llmguard_middleware._placeholders import put_back
from llmguard_middleware._steps import Ask, Judge, Steps
from llmguard_middleware._together import judged_numbers, judged_values
from llmguard_middleware.telemetry import _names as names

from .. import _convert as convert
from .._judged._values import judged_message
from ._requests import guarding

if TYPE_CHECKING:
    from langgraph.prebuilt.tool_node import ToolCallRequest

__all__ = ["arguments_judged", "tool_steps"]


class ToolFlow(Flow):
    """One tool call; what was judged of its arguments and its result is not judged again.

    Attributes:
        passed: the arguments that may go to the tool, by name.
        injected: the values that LangChain passes to tools of its own accord, which no model chose.
        released: the texts of the result that may go on.
    """

    passed: Mapping[str, Any] = MappingProxyType({})
    injected: Sequence[Any] = ()
    released: frozenset[str] = frozenset()

    def arguments(self, given: Mapping[str, Any]) -> Plan[dict[str, Any]]:
        """The arguments as the tool may have them.

        Raises:
            GuardrailViolation: if a guardrail stops the call.
        """
        chosen = {name: value for name, value in given.items() if not self._is_known(name, value)}
        return {**given, **(yield from arguments_judged(self, chosen))} if chosen else dict(given)

    def _is_known(self, name: str, value: Any) -> bool:
        return any(value is one for one in self.injected) or (name in self.passed and self.passed[name] == value)

    def result(self, text: str) -> Plan[str]:
        """Judge one text of the result."""
        if text in self.released:
            return text
        told = yield from self.judge(text, "tool_result")
        self.released |= {told}
        return told

    def result_edits(self, text: str, **how: Any) -> Plan[Sequence[Edit]]:
        """Judge one text of the result, or several that are shown as one; returns the edits to be made to it."""
        if text in self.released:
            return ()
        edits = yield from self.edits(text, "tool_result", **how)
        self.released |= {apply(text, edits)}
        return edits


def tool_steps(guard: Guard, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Steps[Any]:
    """Call a tool with what its arguments may say; returns what its result may say.

    Raises:
        GuardrailViolation: if a guardrail stops the call or its result.
    """
    asked = request.tool_call
    injected = _injected(request)
    shown = {name: value for name, value in asked["args"].items() if not any(value is one for one in injected)}
    call = Call("execute_tool", asked["name"], inputs=shown, attributes=_attributes(asked))
    owner = request.runtime  # one for each call of a tool
    others = [flow.span for flow in around() if isinstance(flow, ToolFlow) and flow.owner is owner]
    with ToolFlow(guard, call, owner=owner, span=others[0] if others else None) as flow:
        flow.injected = injected
        told = yield Judge(guard, flow.arguments(asked["args"]))
        flow.call = flow.call.but(inputs={name: told[name] for name in shown})
        if originals := flow.root.pseudonyms.restorable(tools=True):
            values = {name: told[name] for name in shown}
            told.update(with_leaves(values, [put_back(text, originals) for text in leaves(values)]))
        flow.passed = told
        request = request.override(tool_call={**asked, "args": told})
        if guard.has_rules("tool_call") or guard.has_rules("tool_result"):
            request = guarding(request, "tool", _twin)
        result = yield Ask(flow.active, partial(handler, request))
        result = yield Judge(guard, _result_judged(flow, result))
        flow.answered(output=_text(result))
        return result


def _injected(request: ToolCallRequest) -> list[Any]:
    state = request.state
    values = [*state.values()] if isinstance(state, Mapping) else []
    runtime: Any = request.runtime
    return [one for one in (state, *values, runtime, getattr(runtime, "store", None)) if one is not None]


def _attributes(asked: Mapping[str, Any]) -> dict[str, str]:
    return {names.TOOL_CALL_ID: str(asked["id"])} if asked.get("id") else {}


def arguments_judged(flow: Flow, arguments: Mapping[str, Any]) -> Plan[dict[str, Any]]:
    """The arguments as the tool may have them; their names are the program's.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    flow.root.check()
    if not flow.rules("tool_call"):
        return dict(arguments)
    ask = partial(flow.edits, stage="tool_call")
    values = list(arguments.values())
    told = with_leaves(values, (yield from judged_values(leaves(values), ask)))
    return dict(zip(arguments, (yield from judged_numbers(told, ask)), strict=True))


def _result_judged(flow: ToolFlow, result: Any) -> Plan[Any]:
    """A result of any kind: a message, a command, several of these, a text, a value."""
    flow.root.check()
    if isinstance(result, BaseMessage):
        return (yield from _message(flow, result))
    if isinstance(result, Command):
        update = yield from _update(flow, result.update)
        return result if update is result.update else replace(result, update=update)
    if isinstance(result, list) and any(isinstance(one, (BaseMessage, Command)) for one in result):
        several: list[Any] = []
        for one in result:
            several.append((yield from _result_judged(flow, one)))  # noqa: PERF401 - a comprehension cannot yield
        return several
    return (yield from _value(flow, result))


def _message(flow: ToolFlow, message: BaseMessage) -> Plan[BaseMessage]:
    return (yield from judged_message(flow, message, flow.result_edits))


def _update(flow: ToolFlow, update: Any) -> Plan[Any]:
    """What a command writes to the state: by channel, or messages."""
    if isinstance(update, Mapping):
        values = list(update.values())
        told = yield from _several(flow, values)
        return update if told is values else dict(zip(update, told, strict=True))
    if isinstance(update, (list, tuple)):
        return (yield from _several(flow, update))
    return (yield from _value(flow, update))


def _several(flow: ToolFlow, values: list[Any] | tuple[Any, ...]) -> Plan[Any]:
    told: list[Any] = []
    for value in values:
        if isinstance(value, BaseMessage):
            told.append((yield from _message(flow, value)))
        elif isinstance(value, (list, tuple)):
            told.append((yield from _several(flow, value)))
        else:
            told.append((yield from _value(flow, value)))
    if all(one is other for one, other in zip(told, values, strict=True)):
        return values
    return type(values)(told)


def _value(flow: ToolFlow, value: Any) -> Plan[Any]:
    texts: list[str] = []
    for text in leaves(value):
        texts.append((yield from flow.result(text)))  # noqa: PERF401 - a comprehension cannot yield
    return with_leaves(value, texts)


def _text(result: Any) -> Any:
    return convert.text_of(result) if isinstance(result, ToolMessage) else None


_MARK = "__llmguard_twin__"
_STATE = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


def _twin(tool: BaseTool) -> BaseTool:
    """The tool, with its very own state, under a class that has its results judged."""
    if _MARK in type(tool).__dict__:
        return tool
    kind = _judging(type(tool))
    twin = kind.__new__(kind)
    for state in _STATE:
        object.__setattr__(twin, state, getattr(tool, state))
    return twin


@lru_cache(maxsize=256)
def _judging(base: type[BaseTool]) -> type[BaseTool]:  # noqa: C901 - LangChain's four methods, side by side
    """A subclass of a tool's class, of the same name, that has what the tool gives judged by the call it is in."""

    def judged(result: Any, flow: ToolFlow) -> Plan[Any]:
        told = yield from _result_judged(flow, result)
        if isinstance(told, (str, tuple, BaseMessage, Command)) or (isinstance(told, list) and not opaque(told)):
            return told
        return (yield from _written(flow, told))

    def invoke(self: Any, given: Any, config: Any = None, **kwargs: Any) -> Any:
        for flow in _flows():
            given = drive(_given(flow, given), flow.guard.workers)
        return base.invoke(self, given, config, **kwargs)

    async def ainvoke(self: Any, given: Any, config: Any = None, **kwargs: Any) -> Any:
        for flow in _flows():
            given = await adrive(_given(flow, given), flow.guard.workers)
        return await base.ainvoke(self, given, config, **kwargs)

    @wraps(base._run)  # LangChain reads its signature
    def _run(self: Any, *args: Any, **kwargs: Any) -> Any:
        failure = result = None
        try:
            result = base._run(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised below, where it is not the context of what takes its place
            failure = error
        if failure is not None:
            for flow in _flows():
                failure = drive(judged_failure(flow, failure, "tool_result", ToolException), flow.guard.workers)
            raise failure
        for flow in _flows():
            result = drive(judged(result, flow), flow.guard.workers)
        return result

    @wraps(base._arun)
    async def _arun(self: Any, *args: Any, **kwargs: Any) -> Any:
        failure = result = None
        try:
            result = await base._arun(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
        if failure is not None:
            for flow in _flows():
                failure = await adrive(judged_failure(flow, failure, "tool_result", ToolException), flow.guard.workers)
            raise failure
        for flow in _flows():
            result = await adrive(judged(result, flow), flow.guard.workers)
        return result

    fields = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__, _MARK: True}
    return type(base.__name__, (base,), {**fields, "invoke": invoke, "ainvoke": ainvoke, "_run": _run, "_arun": _arun})


def _flows() -> list[ToolFlow]:
    """The call that a tool is in, once for each guard of its agent, the innermost first."""
    flows = around()[::-1]
    if not flows or not isinstance(flows[0], ToolFlow):
        return []
    return [flow for flow in flows if isinstance(flow, ToolFlow) and flow.owner is flows[0].owner]


def _given(flow: ToolFlow, given: Any) -> Plan[Any]:
    """What a tool is given, which a middleware behind the guard may have changed."""
    flow.root.check()
    if not isinstance(given, Mapping) or "args" not in given:
        return given
    return {**given, "args": (yield from flow.arguments(given["args"]))}


def _written(flow: ToolFlow, value: Any) -> Plan[Any]:
    """A value as LangChain will write it down for the model: what nobody can look into is judged as that text."""
    try:
        written = json.dumps(value, ensure_ascii=False)
    except Exception:  # noqa: BLE001 - as LangChain does
        written = str(value)
    return (yield from flow.result(written))
