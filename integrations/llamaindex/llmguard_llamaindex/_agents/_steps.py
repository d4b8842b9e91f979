"""The steps of a guarded agent's workflow, each around LlamaIndex's own."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from functools import wraps
from typing import Any

from llama_index.core.agent.workflow.workflow_events import AgentOutput, AgentStream, ToolCall
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.workflow import StopEvent

from llmguard_middleware import ConfigurationError, GuardrailViolation

from .._protect import guarded_llm
from .._seal import above, guards_of, reseal
from .._tool_calls import ToolUse
from .._versions import as_called, become, keeps_events, step_config
from ._context import Events, bare, guarded_context
from ._memory import forget, remember
from ._messages import asks_in_text, in_message, in_text, is_llamaindex, noted, with_text
from ._run import AgentRun, current

__all__ = ["guarded_step", "run_of", "step_taken", "tool_ran"]

_using: ContextVar[ToolUse | None] = ContextVar("llmguard_llamaindex_tool_use", default=None)


def run_of(agent: Any) -> AgentRun:
    """The run that this code is a step of.

    Raises:
        ConfigurationError: if there is none: whoever calls a step by itself would pass the guard by.
    """
    run = current.get()
    if run is None:
        name = type(agent).__name__
        msg = f"a step of a guarded {name} ran outside of its run(): attach the guard to the workflow that you run"
        raise ConfigurationError(msg)
    return run


def guarded_step(name: str, step: Any) -> Any:
    """A step that is LlamaIndex's own behind the guard of the run; it looks the same to the workflow."""
    config = step_config(step)
    if not inspect.iscoroutinefunction(step) or not config.context_parameter:
        return step

    @wraps(step)
    async def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = run_of(self)
        given = inspect.signature(step).bind(self, *args, **kwargs).arguments
        given.pop(next(iter(given)))
        context, event = given[config.context_parameter], config.event_name
        given[config.context_parameter], events = guarded_context(context, run)
        if (task := asyncio.current_task()) is not None:
            run.steps.add(task)
            task.add_done_callback(run.steps.discard)
        try:
            with run.active():
                if name == "init_run":
                    given[event] = await _begun(run, context, given[event])
                elif name == "call_tool":
                    return await _tool_called(self, run, context, given, event)
                result = await getattr(above(self), name)(**given)
                await events.done()
                if isinstance(result, StopEvent) and isinstance(result.result, AgentOutput):
                    result = StopEvent(result=await _answer(run, result.result))
                run.check()
                return result
        except Exception as error:
            events.dropped()
            if not isinstance(violation := run.violation or error, GuardrailViolation):
                raise
            return await _stopped(self, run, context, violation)

    return guarded  # `wraps` gave it the step's config


async def _stopped(agent: Any, run: AgentRun, ctx: Any, violation: GuardrailViolation) -> StopEvent:
    """What ends a run that a guardrail stopped: the violation, or the answer in its place."""
    await forget(agent, run, ctx)
    if run.violation is None and run.refusal is not None:
        return _refused(run, ctx, run.refusal)
    raise violation from None


async def _begun(run: AgentRun, ctx: Any, event: Any) -> Any:
    """The run's first event with its messages as they may go on."""
    await remember(run, ctx, event)
    asked, history = event.get("user_msg", default=None), event.get("chat_history", default=None) or []
    if isinstance(asked, str):
        asked = ChatMessage(role="user", content=asked)
    messages = [*history, *([asked] if asked else [])]
    told = list(await run.admitted(messages))
    if run.keeps_raw or all(one is other for one, other in zip(told, messages, strict=True)):
        return event
    given = {**{name: getattr(event, name) for name in type(event).model_fields}, **event.to_dict()}
    if asked:
        given["user_msg"] = told.pop()
    if history:
        given["chat_history"] = told
    changed = type(event)(**given)
    if keeps_events(ctx):
        become(event, changed)
        return event
    return changed


async def _tool_called(agent: Any, run: AgentRun, ctx: Any, given: dict[str, Any], name: str) -> Any:
    """Call a tool: its arguments were judged when the model asked for it, unless somebody else did."""
    call: ToolCall = given[name]
    use = run.tools.pop(call.tool_id, None)
    if use is None or use.told != call.tool_kwargs:
        use = run.use(call.tool_name, call.tool_kwargs, call.tool_id)
        given[name] = call = call.model_copy(update={"tool_kwargs": await use.arguments(call.tool_kwargs)})
    run.using.add(use)
    token = _using.set(use)
    try:
        with use.active():
            result = await above(agent).call_tool(**given)
        output = await use.result(result.tool_output)
    except BaseException as error:
        use.stopped(error)
        raise
    finally:
        _using.reset(token)
        run.using.discard(use)
    result = result.model_copy(update={"tool_output": output, "tool_kwargs": call.tool_kwargs})
    run.check()
    ctx.write_event_to_stream(result)
    return result


async def tool_ran(agent: Any, ctx: Any, tool: Any, kwargs: Any) -> Any:
    """LlamaIndex's call of a tool: with the originals that it may see, and a context of its own."""
    use = _using.get()
    if use is not None:
        kwargs, tool = use.restored(kwargs), as_called(tool, _tool_failed)
    ctx = ctx.llmguard_events.context if hasattr(ctx, "llmguard_events") else ctx
    return await above(agent)._call_tool(ctx, tool, kwargs)


def _tool_failed(error: Exception) -> None:
    if (use := _using.get()) is not None:
        use.error = error


async def step_taken(agent: Any, ctx: Any, messages: Any, tools: Any, memory: Any) -> AgentOutput:
    """One turn of an agent's model: what it is asked, what it says, and the tools that it asks for."""
    run = run_of(agent)
    ctx, events = guarded_context(ctx, run)
    run.turn(agent.name)
    _guard_llm(agent)
    with run.active(), run.hearing() as heard:
        messages = list(await run.admitted(messages))
        acts = bool(run.rules("tool_call"))
        if acts:
            events.hold(all_of_them=asks_in_text(agent))
        if own := not is_llamaindex(agent):
            events.heard = heard
        output: AgentOutput = await above(agent).take_step(ctx, messages, tools, memory)
        text = output.response.content or ""
        if not heard(text) or (own and not text):
            output = await _judged(agent, run, ctx, output)
        output = await _asked_for(agent, run, ctx, events, output, acts=acts)
        run.said(output.response.content or "")
        await events.done()
        run.check()
        return output


def _guard_llm(agent: Any) -> None:
    """Guard the agent's LLM, if its owner has set another one since the agent was attached."""
    llm = agent.llm
    if isinstance(llm, BaseLLM):
        for guard in guards_of(agent):
            llm = guarded_llm(llm, guard)
        if llm is not agent.llm:
            reseal(agent, "llm", llm)


async def _judged(agent: Any, run: AgentRun, ctx: Any, output: AgentOutput) -> AgentOutput:
    """A turn of which no guarded LLM has said all: an agent of one's own may have changed it, or asked another LLM."""
    if not run.rules("output"):
        return output
    message = await run.answered(output.response)
    calls = await run.released(output.tool_calls)
    if message is not output.response:
        await noted(agent, ctx, output.response, message, None)
    return output.model_copy(update={"response": message, "tool_calls": calls, "raw": bare(output.raw)})


async def _asked_for(
    agent: Any, run: AgentRun, ctx: Any, events: Events, output: AgentOutput, *, acts: bool
) -> AgentOutput:
    """The turn with the arguments of its tool calls as they may go on."""
    before = output.tool_calls
    after = []
    for call in before:
        use = run.use(call.tool_name, call.tool_kwargs, call.tool_id)
        if (other := run.tools.pop(call.tool_id, None)) is not None:
            other.dropped()  # an id that is there twice
        told = await use.arguments(call.tool_kwargs)
        run.tools[call.tool_id] = use
        after.append(call if told == call.tool_kwargs else call.model_copy(update={"tool_kwargs": told}))
    changed = {one.tool_id: one.tool_kwargs for one, other in zip(after, before, strict=True) if one is not other}
    text = told_text = output.response.content or ""
    if changed:
        message = in_message(output.response, changed)
        if asks_in_text(agent) and (told_text := in_text(agent, text, before, after)) != text:
            message = with_text(message, told_text)
        await noted(agent, ctx, output.response, message, after[0])
        output = output.model_copy(update={"response": message, "tool_calls": after, "raw": bare(output.raw)})
    if acts and before:
        output = output.model_copy(update={"raw": bare(output.raw)})
    if events.holding:

        def shown(held: list[Any]) -> list[Any]:
            last = held[-1:]
            if events.unheard:
                return [events.rest(one, told_text) for one in last]
            if told_text != text:
                return [one.model_copy(update={"delta": told_text, "response": told_text}) for one in last]
            extra = [] if asks_in_text(agent) else after
            return [*held[:-1], *(one.model_copy(update={"tool_calls": extra}) for one in last)]

        events.release(shown)
    return output


async def _answer(run: AgentRun, output: AgentOutput) -> AgentOutput:
    """The run's answer as it may leave: what a guarded model said word for word was judged."""
    update: dict[str, Any] = {}
    text = output.response.content or ""
    if text and text not in run.last:
        told = await run.released(text)
        if told != text:
            update["response"] = with_text(output.response, told)
            update["raw"] = bare(output.raw)
        text = told
    if output.structured_response is not None:
        structured = await run.released(output.structured_response)
        if structured is not output.structured_response:
            update["structured_response"] = structured
    run.said(text)
    return output.model_copy(update=update) if update else output


def _refused(run: AgentRun, ctx: Any, refusal: str) -> StopEvent:
    name = run.layers[0].agent.call.name
    output = AgentOutput(response=ChatMessage(role="assistant", content=refusal), current_agent_name=name)
    ctx.write_event_to_stream(AgentStream(delta=refusal, response=refusal, current_agent_name=name))
    ctx.write_event_to_stream(output)
    run.said(refusal)
    return StopEvent(result=output)
