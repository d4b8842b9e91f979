"""attach, for agents: their LLMs and agents are replaced by guarded copies, their steps go through the guard."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar

from llama_index.core.agent.workflow import AgentWorkflow
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.base.llms.base import BaseLLM

from llmguard_middleware import Call, ConfigurationError, Guard
from llmguard_middleware._checks import expect_known
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import Flow
from llmguard_middleware._policy import Policy
from llmguard_middleware._scope import captured

from .._mistakes import refuse_beyond
from .._protect import guarded_llm
from .._seal import above, guards_of, seal
from .._versions import steps_of, stop_workers
from ._handler import guarded_handler, task_of
from ._run import AgentRun, Layer, current
from ._steps import guarded_step, step_taken, tool_ran

__all__ = ["attach_agent", "detach_agent", "expect_idle", "is_agent"]

A = TypeVar("A")
State = Literal["raw", "redacted"]
_STATE = "_llmguard_state"
_STAGES = ("input", "output", "tool_call", "tool_result")
_running: weakref.WeakKeyDictionary[AgentRun, weakref.ref[Any]] = weakref.WeakKeyDictionary()
_DEFAULT_STORE_KEY = "chat_history"


def is_agent(thing: Any) -> bool:
    """Whether this is an agent, or a workflow of agents."""
    return isinstance(thing, (BaseWorkflowAgent, AgentWorkflow))


def attach_agent(agent: A, guard: Guard, state: State = "redacted") -> A:
    """`attach`, for an agent or a workflow of agents.

    Raises:
        ConfigurationError: for an unknown `state` or another than before, pseudonyms that would be stored, an agent of
            a workflow that has a guard of its own.
        UnenforceableError: for rules of stages that no agent has.
    """
    expect_known(state, ("raw", "redacted"), "state", "attach(agent, guard)")
    kept: State = vars(agent).get(_STATE, state)
    if kept != state:
        msg = f'this {type(agent).__name__} was attached with state="{kept}", and has one memory: say the same here'
        raise ConfigurationError(msg)
    if guard in guards_of(agent):
        return agent
    guard.covers("input", "output", "tool_call", "tool_result", ends=True)
    guard.require(f"attach(agent, state={state!r})", lambda policy: _check(guard, policy, state))
    guard.pass_untouched(_is_signal)
    replaced = {"agents": _agents(agent, guard)} if isinstance(agent, AgentWorkflow) else _parts(agent, guard)
    sealed = seal(agent, _methods(_original(agent)), guard, replaced)
    object.__setattr__(sealed, _STATE, state)
    return sealed


def expect_idle(agent: Any) -> None:
    """Refuse to take the guard off an agent while it runs: LlamaIndex looks its steps up one by one.

    Raises:
        ConfigurationError: if a run of it is under way.
    """
    if any(of() is agent for of in list(_running.values())):
        msg = (
            f"detach({type(agent).__name__}) while a run of it is under way would leave the rest of that run without "
            "its guard: await the run, or cancel it, first"
        )
        raise ConfigurationError(msg)


def detach_agent(agent: Any) -> None:
    """Forget what `attach` noted on an agent besides its seal."""
    vars(agent).pop(_STATE, None)


def _check(guard: Guard, policy: Policy, state: State) -> None:
    beyond = [rule for rule in policy.guardrails if rule.stage not in _STAGES and rule.stage not in guard.covered]
    refuse_beyond(guard, beyond, "attach(agent, guard)")
    stored = [rule.name for rule in policy.at("input") if rule.remedy.name == "pseudonymize"]
    if state == "redacted" and stored:
        msg = (
            f'rule "{stored[0]}" gives placeholders that only one run can put back, and state="redacted" would store '
            'them in the memory: use state="raw", or action="redact"'
        )
        raise ConfigurationError(msg)


def _is_signal(error: BaseException) -> bool:
    """Whether an exception is how a step waits for a person."""
    return type(error).__name__ == "WaitingForEvent"


def _original(agent: Any) -> type:
    found = vars(agent).get("_llmguard_seal")
    kind: type = found.original if found is not None else type(agent)
    return kind


def _parts(agent: Any, guard: Guard) -> dict[str, Any]:
    llm = agent.llm
    return {"llm": guarded_llm(llm, guard)} if isinstance(llm, BaseLLM) else {}


def _agents(workflow: AgentWorkflow, guard: Guard) -> dict[str, Any]:
    agents = {}
    for name, agent in workflow.agents.items():
        if set(guards_of(agent)) - set(guards_of(workflow)):
            msg = f'agent "{name}" has a guard of its own: attach that guard to the workflow that runs it'
            raise ConfigurationError(msg)
        agents[name] = seal(copy.copy(agent), _methods(_original(agent)), guard, _parts(agent, guard))
    return agents


def _expect_attached(workflow: Any) -> None:
    """Refuse to run agents that came to a workflow after its guard."""
    for name, agent in workflow.agents.items():
        if set(guards_of(workflow)) - set(guards_of(agent)):
            msg = f'agent "{name}" came to the workflow after its guard: detach(workflow), then attach the guard again'
            raise ConfigurationError(msg)


@lru_cache(maxsize=64)
def _methods(original: type) -> type:
    """The guard methods for a class of agents or workflows: its steps, and what is run by them."""
    base = _Agent if issubclass(original, BaseWorkflowAgent) else _Workflow
    steps = {
        name: guarded_step(name, step)
        for name, step in steps_of(original).items()
        if getattr(original, name, None) is not None
    }
    return type(base.__name__, (), {**_functions(base), **steps})


def _functions(base: type[Any]) -> Mapping[str, Any]:
    return {name: value for name, value in vars(base).items() if callable(value) and not name.startswith("__")}


def _run(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Run it behind its guards; returns the handler."""
    if inside_scorer.get():
        return _started(self, AgentRun([]), args, kwargs)
    several = isinstance(self, AgentWorkflow)
    if several:
        _expect_attached(self)
    state: State = vars(self).get(_STATE, "redacted")
    memory = kwargs.get("memory")
    call = Call(
        "invoke_workflow" if several else "invoke_agent",
        name=type(self).__name__ if several else self.name,
        conversation=_conversation(memory if memory is not None else next(iter(args[2:3]), None)),
    )
    layers: list[Layer] = []
    with ExitStack() as stack:
        for guard in reversed(guards_of(self)):
            layer = Layer(Flow(guard, call, owner=self))
            layers.append(layer)
            stack.enter_context(layer.flow.active())
        run = AgentRun(layers, keeps_raw=state == "raw", several=several)
        try:
            handler = _started(self, run, args, kwargs)
        except BaseException as error:
            for layer in reversed(layers):
                layer.stop(error)
            raise
    _running[run] = weakref.ref(self)
    task_of(handler).add_done_callback(run.ended)
    task_of(handler).add_done_callback(lambda _: _running.pop(run, None))
    task_of(handler).add_done_callback(partial(stop_workers, handler.ctx))
    return guarded_handler(handler)


def _started(agent: Any, run: AgentRun, args: Any, kwargs: Any) -> Any:
    """Start the workflow, whose tasks take with them what is said here."""
    token = current.set(run)
    try:
        with captured() or nullcontext():
            if (start := kwargs.get("start_event")) is not None:
                kwargs = {**kwargs, "start_event": copy.copy(start)}  # a run may write into it
            return above(agent).run(*args, **kwargs)
    finally:
        current.reset(token)


def _conversation(memory: Any) -> str:
    """Which conversation a memory is of, if it says so."""
    if isinstance(found := getattr(memory, "session_id", None), str):
        return found
    key = getattr(memory, "chat_store_key", None)
    return key if isinstance(key, str) and key != _DEFAULT_STORE_KEY else ""


class _Workflow:
    run = _run

    async def _call_tool(self, ctx: Any, tool: Any, tool_input: Any) -> Any:
        return await tool_ran(self, ctx, tool, tool_input)


class _Agent:
    run = _run

    async def _call_tool(self, ctx: Any, tool: Any, tool_input: Any) -> Any:
        return await tool_ran(self, ctx, tool, tool_input)

    async def take_step(self, ctx: Any, llm_input: Any, tools: Any, memory: Any) -> Any:
        return await step_taken(self, ctx, llm_input, tools, memory)
