"""Guarded tools: their arguments at the tool_call stage, what they give at the tool_result stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException

from llmguard_middleware import Call, Guard, GuardrailViolation
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._failures import judged_failure
from llmguard_middleware._flow import Flow, innermost
from llmguard_middleware._judge import Plan
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run
from llmguard_middleware.telemetry import _names as names
from llmguard_middleware.telemetry._call_span import CallSpan

from .. import _convert as convert
from .._judged._parts import arguments, given_back, result
from .._judged._values import unknown
from .._session import said, with_session
from ._copies import bare, inner
from ._gates import LATER, Gate, gated
from ._outer import opened
from ._sentinel import watching
from ._sticky import sticky_methods

__all__ = ["tool_members"]

_BY_POSITION = ("verbose", "start_color", "color", "callbacks")


def tool_members(base: type[Any], guard: Guard) -> dict[str, Any]:
    """The members of the class of a guarded tool of the class `base`."""
    # The gate is inside the tool's own run, so that callbacks are told of its result as it leaves.
    behind = inner(base, gated(base, BaseTool, ("_run", "_arun")))

    def used(self: Any, name: str, given: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Steps[Any]:
        how = {**dict(zip(_BY_POSITION, args, strict=False)), **options}
        thing = bare(self, behind)
        call_id = how.get("tool_call_id")
        call = Call("execute_tool", name=self.name, attributes={names.TOOL_CALL_ID: call_id} if call_id else {})
        if (told := said(how.get("callbacks"), how.get("metadata"), how.get("tags"), self)) is not None:
            call = with_session(call, *told)
        known = _known(self.name, call_id)
        flow, run_id = opened(guard, call, thing, how.get("callbacks"), how.get("run_id"), known)
        how |= {"run_id": run_id, "callbacks": watching(how.get("callbacks"), flow.root)}
        return _used(flow, thing, given, partial(getattr(thing, name), **how), call_id)

    def run_(self: Any, tool_input: Any, *args: Any, **options: Any) -> Any:
        if inside_scorer.get():  # a scorer's own call is not judged in turn
            return base.run(bare(self, base), tool_input, *args, **options)
        return run(used(self, "run", tool_input, args, options))

    async def arun_(self: Any, tool_input: Any, *args: Any, **options: Any) -> Any:
        if inside_scorer.get():
            return await base.arun(bare(self, base), tool_input, *args, **options)
        return await arun(used(self, "arun", tool_input, args, options))

    run_.__name__, arun_.__name__ = "run", "arun"
    return {"run": run_, "arun": arun_, **sticky_methods(base)}


def _known(name: str, call_id: str | None) -> CallSpan | None:
    """The span of the call of an agent under a GuardMiddleware, which this is."""
    near = innermost()
    if near is None or call_id is None or (near.call.operation, near.call.name) != ("execute_tool", name):
        return None
    return near.span if near.call.attributes.get(names.TOOL_CALL_ID) == call_id else None


def _used(flow: Flow, tool: Any, given: Any, ask: Callable[[Any], Any], call_id: str | None) -> Steps[Any]:
    guard = flow.guard
    try:
        with flow:
            given = yield Judge(guard, _admitted(flow, tool, given))
            gate = Gate(flow, _given, _failed)
            told = yield Ask(gate.open, partial(ask, given))
            if gate.passed is None:
                told = yield Judge(guard, result(flow, told, f'protect(tool) "{tool.name}"'))
            flow.answered(output=convert.plain(told))
            return told
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        return guard.refusal if call_id is None else ToolMessage(guard.refusal, tool_call_id=call_id, name=tool.name)


def _admitted(flow: Flow, tool: Any, given: Any) -> Plan[Any]:
    """The arguments as they may reach the tool, which LangChain validates then; what it injects itself passes."""
    said = yield from arguments(flow, _chosen(tool, given) if isinstance(given, dict) else {"input": given})
    flow.call = flow.call.but(inputs=said)
    return {**given, **said} if isinstance(given, dict) else said["input"]


def _chosen(tool: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments without those that LangChain injects."""
    if (chosen := getattr(tool, "_filter_injected_args", None)) is not None:
        return chosen(given)  # type: ignore[no-any-return]  # of Any, since the first versions of LangChain 1 lack it
    schema, seen = tool.get_input_schema(), tool.tool_call_schema
    if isinstance(seen, dict):  # JSON schema, which marks nothing
        return dict(given)
    injected = schema.model_fields.keys() - seen.model_fields.keys()
    return {name: value for name, value in given.items() if name not in injected}


def _given(flow: Flow, told: Any) -> Plan[Any]:
    """What the tool's own method gave. LangChain may yet make a text of it, if nobody can look into it."""
    if any(rule.acts for rule in flow.rules("tool_result")) and unknown(told):
        return LATER
    return (yield from given_back(flow, told))


def _failed(flow: Flow, error: Exception) -> Plan[Exception]:
    """What a tool raised, with its text as it may be: LangChain, or whoever catches it, may make it the result."""
    return (yield from judged_failure(flow, error, "tool_result", ToolException))
