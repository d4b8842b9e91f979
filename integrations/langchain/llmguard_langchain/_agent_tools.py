"""One tool call of an agent: its arguments and its result through the guard, whoever looks at it.

LangChain tells its callbacks of a tool's result before a middleware has it, so `stream_mode="tools"` and event streams
would show it as it was. The tool is called through a copy that has its result judged first, as a protected model is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial, wraps
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.types import Command

from llmguard_middleware import Call, Guard
from llmguard_middleware._drive import adrive, drive
from llmguard_middleware._flow import Flow, innermost
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import leaves, opaque, with_leaves
from llmguard_middleware._steps import Ask, Judge, Steps

from . import _convert as convert

if TYPE_CHECKING:
    from langgraph.prebuilt.tool_node import ToolCallRequest

__all__ = ["arguments_judged", "tool_steps"]


class ToolFlow(Flow):
    """One tool call; what was judged of its result is not judged again."""

    released: frozenset[str] = frozenset()

    def result(self, text: str) -> Plan[str]:
        """Judge one text of the result."""
        if text in self.released:
            return text
        told = yield from self.judge(text, "tool_result")
        self.released |= {told}
        return told


def tool_steps(guard: Guard, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Steps[Any]:
    """Call a tool with what its arguments may say; returns what its result may say.

    Raises:
        GuardrailViolation: if a guardrail stops the call or its result.
    """
    asked = request.tool_call
    call = Call("execute_tool", asked["name"], inputs=asked["args"], attributes=_attributes(asked))
    with ToolFlow(guard, call, owner=request.tool) as flow:
        told = yield Judge(guard, arguments_judged(flow, asked["args"]))
        flow.call = flow.call.but(inputs=told)
        given = flow.root.pseudonyms.restorable(tools=True) and with_leaves(
            told, [flow.root.pseudonyms.restore(text, tools=True) for text in leaves(told)]
        )
        request = request.override(tool_call={**asked, "args": given or told})
        if request.tool is not None and guard.has_rules("tool_result"):
            request = request.override(tool=_twin(request.tool))
        result = yield Ask(flow.active, partial(handler, request))
        result = yield Judge(guard, _result_judged(flow, result))
        flow.answered(output=_text(result))
        return result


def _attributes(asked: Mapping[str, Any]) -> dict[str, str]:
    return {"gen_ai.tool.call.id": str(asked["id"])} if asked.get("id") else {}


def arguments_judged(flow: Flow, arguments: Mapping[str, Any]) -> Plan[dict[str, Any]]:
    """The arguments as the tool may have them; their names are the program's.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    values = list(arguments.values())
    texts = yield from flow.judge_all(leaves(values), "tool_call")
    return dict(zip(arguments, with_leaves(values, texts), strict=True))


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
    parts: list[str] = []
    for part in convert.parts(message):
        parts.append((yield from flow.result(part)))  # noqa: PERF401 - a comprehension cannot yield
    told = convert.with_parts(message, parts)
    if len(parts) > 1:  # a match may lie across two of them
        told = convert.with_text(told, (yield from flow.result("".join(parts))))
    artifact = getattr(message, "artifact", None)
    released = yield from _value(flow, artifact)
    return told if released is artifact else told.model_copy(update={"artifact": released})


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


_STATE = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


def _twin(tool: BaseTool) -> BaseTool:
    """The tool, with its very own state, under a class that has its results judged."""
    kind = _judging(type(tool))
    twin = kind.__new__(kind)
    for state in _STATE:
        object.__setattr__(twin, state, getattr(tool, state))
    return twin


@lru_cache(maxsize=256)
def _judging(base: type[BaseTool]) -> type[BaseTool]:
    """A subclass of a tool's class, of the same name, that has what the tool gives judged by the call it is in."""

    def judged(result: Any, flow: ToolFlow) -> Plan[Any]:
        told = yield from _result_judged(flow, result)
        if isinstance(told, (str, tuple, BaseMessage, Command)) or (isinstance(told, list) and not opaque(told)):
            return told
        return (yield from _written(flow, told))

    @wraps(base._run)  # LangChain reads its signature
    def _run(self: Any, *args: Any, **kwargs: Any) -> Any:
        flow = innermost()
        if not isinstance(flow, ToolFlow):
            return base._run(self, *args, **kwargs)
        flow.root.check()
        return drive(judged(base._run(self, *args, **kwargs), flow), flow.guard.workers)

    @wraps(base._arun)
    async def _arun(self: Any, *args: Any, **kwargs: Any) -> Any:
        flow = innermost()
        if not isinstance(flow, ToolFlow):
            return await base._arun(self, *args, **kwargs)
        flow.root.check()
        return await adrive(judged(await base._arun(self, *args, **kwargs), flow), flow.guard.workers)

    fields = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), {**fields, "_run": _run, "_arun": _arun})


def _written(flow: ToolFlow, value: Any) -> Plan[Any]:
    """A value as LangChain will write it down for the model: what nobody can look into is judged as that text."""
    try:
        written = json.dumps(value, ensure_ascii=False)
    except Exception:  # noqa: BLE001 - as LangChain does
        written = str(value)
    return (yield from flow.result(written))
