"""What an agent's memory and context keep of a run that was stopped: nothing."""

from __future__ import annotations

from typing import Any

from llmguard_middleware import Guard

from .._memory_llms import llms_of
from .._seal import guards_of
from .._versions import events_before, forget_events
from ._run import AgentRun

__all__ = ["forget", "remember"]


async def remember(run: AgentRun, ctx: Any, event: Any) -> None:
    """Note what the memory holds before the run adds to it."""
    run.events_before = events_before(ctx, event)
    memory = await ctx.store.get("memory", default=None) or event.get("memory", default=None)
    if run.keeps_raw and memory is not None:
        for layer in run.layers:
            _expect_guarded(memory, layer.guard)
    run.before = list(await memory.aget_all()) if memory is not None else []
    run.agent_before = await ctx.store.get("current_agent_name", default="")


def _expect_guarded(memory: Any, guard: Guard) -> None:
    """A memory whose own LLM is told what the user said has to have a guarded one, if what he said is kept raw.

    Raises:
        UnenforceableError: if an input guardrail acts.
    """
    if any(guard.identity not in [one.identity for one in guards_of(llm)] for llm in llms_of(memory)):
        where = f'attach(agent, state="raw"), with a {type(memory).__name__} that has an LLM of its own,'
        guard.refuse(guard.rules("input"), where, "build the memory with llm=protect(llm, guard)")


async def forget(agent: Any, run: AgentRun, ctx: Any) -> None:
    """Take a run's turn out of the memory, and its notes out of the context."""
    memory = await ctx.store.get("memory", default=None)
    forget_events(ctx, run.events_before)
    if memory is not None and run.before is not None and await memory.aget_all() != run.before:
        await memory.aset(run.before)
    agents = list(getattr(agent, "agents", {}).values()) or [agent]
    for name in {getattr(one, key, None) for one in agents for key in ("scratchpad_key", "reasoning_key")} - {None}:
        if await ctx.store.get(name, default=None):
            await ctx.store.set(name, [])
    for name, empty in (("current_tool_calls", []), ("next_agent", None), ("user_msg_str", "")):
        if await ctx.store.get(name, default=None):
            await ctx.store.set(name, empty)
    if run.agent_before:
        await ctx.store.set("current_agent_name", run.agent_before)
    elif getattr(agent, "agents", None):
        await ctx.store.set("current_agent_name", agent.root_agent)
