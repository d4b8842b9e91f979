"""protect, for tools: a guarded copy. Its arguments at the tool_call stage, what it gives at the tool_result stage."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, TypeVar

from llama_index.core.tools import AsyncBaseTool, BaseTool, FunctionTool, ToolOutput

from llmguard_middleware import Guard, GuardrailViolation, Stage
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._failures import judged_failure
from llmguard_middleware._flow import Flow, innermost, reentered
from llmguard_middleware._leaves import leaves, with_leaves
from llmguard_middleware._placeholders import put_back
from llmguard_middleware._policy import Policy
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run

from ._mistakes import refuse_beyond
from ._seal import above, guards_of, seal
from ._tool_calls import arguments_judged, result_judged, tool_call
from ._versions import carried

__all__ = ["guarded_tool"]

T = TypeVar("T", bound=BaseTool)
_STAGES: tuple[Stage, ...] = ("tool_call", "tool_result")


def guarded_tool(tool: T, guard: Guard) -> T:
    """`protect`, for a tool.

    Raises:
        UnenforceableError: if the guard has an acting guardrail at a stage that a tool does not have.
    """

    def check(policy: Policy) -> None:
        beyond = [r for r in policy.guardrails if r.stage not in _STAGES and r.stage not in guard.covered]
        refuse_beyond(guard, beyond, "protect(tool, guard)")
        if "output" in guard.covered:  # or they are among those
            guard.expect_ends(policy, "protect(tool, guard)")

    guard.require("protect(tool, guard)", check)
    guard.covers(*_STAGES)
    if guard in guards_of(tool):
        return tool
    return seal(copy.copy(tool), _methods(isinstance(tool, AsyncBaseTool)), guard, carried(tool))


class _Tool:
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, run, above(self).__call__, args, kwargs)


class _AsyncTool:
    def call(self, *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, run, above(self).call, args, kwargs)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        return await _guarded(self, arun, above(self).acall, args, kwargs)


@lru_cache(maxsize=2)
def _methods(is_async: bool) -> type[Any]:
    return _AsyncTool if is_async else _Tool


def _guarded(
    tool: Any, runner: Callable[[Steps[Any]], Any], method: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
) -> Any:
    def ask(args: Any, kwargs: Mapping[str, Any]) -> Any:
        return method(*args, **kwargs)

    if not inside_scorer.get():  # a scorer's own call is not judged in turn
        for guard in guards_of(tool):
            if not reentered(tool, guard):
                ask = partial(_behind, runner, guard, tool, ask)
    return ask(args, kwargs)


def _behind(
    runner: Callable[[Steps[Any]], Any], guard: Guard, tool: Any, ask: Any, args: Any, kwargs: Mapping[str, Any]
) -> Any:
    return runner(_used(guard, tool, ask, args, kwargs))


def _used(guard: Guard, tool: Any, ask: Any, args: Any, kwargs: Mapping[str, Any]) -> Steps[ToolOutput]:
    name = tool.metadata.get_name()
    injected = _injected(tool, kwargs)
    places: list[Any] = ["input"] if len(args) == 1 and "input" not in kwargs else list(range(len(args)))
    chosen = {**dict(zip(places, args, strict=True)), **{key: kwargs[key] for key in kwargs if key not in injected}}
    flow = Flow(guard, tool_call(name, chosen), owner=tool, span=_known(name))
    try:
        with flow:
            told = yield Judge(guard, arguments_judged(flow, chosen))
            if originals := flow.root.pseudonyms.restorable(tools=True):
                told = with_leaves(told, [put_back(text, originals) for text in leaves(told)])
            given = tuple(told.pop(place) for place in places)
            output = yield from _asked(flow, Ask(flow.active, partial(ask, given, {**told, **injected})))
            output = yield Judge(guard, result_judged(flow, output))
            flow.answered(output=output.content)
            return output  # type: ignore[no-any-return]  # what the tool returned
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        return ToolOutput(content=guard.refusal, tool_name=name, raw_input={}, raw_output=guard.refusal, is_error=True)


def _asked(flow: Flow, ask: Ask) -> Steps[Any]:
    """What the tool gives; what it raises says what its result may: an agent tells its model of it."""
    try:
        return (yield ask)
    except Exception as error:
        if not flow.rules("tool_result"):
            raise
        failure = error
    raise (yield Judge(flow.guard, judged_failure(flow, failure, "tool_result", RuntimeError)))


def _injected(tool: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow's context, which no model chose."""
    name = tool.ctx_param_name if isinstance(tool, FunctionTool) and tool.requires_context else None
    return {name: kwargs[name]} if name is not None and name in kwargs else {}


def _known(name: str) -> Any:
    """The span of the call of an attached agent, which this is."""
    near = innermost()
    if near is None or (near.call.operation, near.call.name) != ("execute_tool", name) or near.owner is not None:
        return None
    return near.span
