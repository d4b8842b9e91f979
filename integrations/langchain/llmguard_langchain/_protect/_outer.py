"""What protected retrievers, tools and Runnables have in common: one call, with LangChain's config around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from llmguard_middleware import Call, Guard, Guardrail, Message
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._policy import Policy
from llmguard_middleware.telemetry._call_span import CallSpan

from .. import _convert as convert
from .._handoff import above, claim
from .._judged._values import by_rules, judged, restoring, unknown

__all__ = [
    "admitted",
    "apart",
    "around",
    "opened",
    "originally",
    "pseudonymizing",
    "released",
    "shows_nothing",
    "unstreamed",
]

_STREAM = "__pregel_stream"  # by which LangGraph has a graph tell the graph around it what happens in it


def opened(
    guard: Guard, call: Call, thing: Any, callbacks: Any, run_id: UUID | None, span: CallSpan | None = None
) -> tuple[Flow, UUID]:
    """The flow of a call that LangChain is about to start as the run of this id, which is chosen here if there is none.

    `thing` is what is guarded; two guards around it share one span. `span` is one to join: the call is known already.
    """
    told = above(callbacks)
    flow = Flow(
        guard,
        call,
        owner=vars(thing),  # which all guards around one object share
        parent=next((handoff.parent for handoff in told if handoff.parent is not None), None),
        span=span,
        outermost=next((handoff.outermost for handoff in told if handoff.guard.identity is guard.identity), None),
        root=next((handoff.root for handoff in told if handoff.guard.identity is guard.identity), None),
    )
    run_id = run_id or uuid4()
    claim(run_id, flow)
    return flow, run_id


def admitted(flow: Flow, given: Any) -> Plan[Any]:
    """What goes into a chain, as it may, in copies where a text changes. Objects that nobody can look into pass.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
        UnenforceableError: if it can be read only once, and a guardrail acts.
    """
    flow.root.check()
    if isinstance(given, (Iterator, AsyncIterator)):
        rules = [rule for rule in flow.rules("input") if rule.acts]
        flow.guard.refuse(
            rules, f"protect({flow.call.name}), which was given an iterator,", "pass a list of what it gives"
        )
    if flow.policy.at("input"):
        flow.call = flow.call.but(messages=_messages(given))  # which scorers may ask for
        given = yield from judged(given, by_rules(flow, "input", flow.admit))
    messages = _messages(given)
    named = {} if messages else convert.inputs(given)
    flow.call = flow.call.but(messages=messages, inputs=named)
    return given


def _messages(given: Any) -> tuple[Message, ...]:
    found = given.get("messages") if isinstance(given, dict) else given
    if isinstance(found, list) and found and all(isinstance(one, BaseMessage) for one in found):
        return tuple(convert.read(found))
    return ()


def released(flow: Flow, result: Any) -> Plan[Any]:
    """What comes out of a chain, as it may, in copies where a text changes.

    Raises:
        GuardrailViolation: if a guardrail stops the answer.
        UnenforceableError: if the answer holds what nobody can look into, and a guardrail acts.
    """
    yield from flow.release([])
    if flow.transparent:
        return result
    rules = [rule for rule in flow.rules("output") if rule.acts]
    if rules and (names := unknown(result)):
        where = f"protect({flow.call.name}), which gave a {names[0]} that nobody can look into,"
        flow.guard.refuse(rules, where, "let it return texts, messages, documents, dicts or models")

    def release(messages: Any) -> Plan[list[str]]:
        return flow.release([message.text for message in messages])

    return (yield from judged(result, by_rules(flow, "output", release, restores=True)))


def shows_nothing(guard: Guard) -> bool:
    """Whether what happens inside must not be seen: an output guardrail acts, and inner tokens are before it."""
    return any(rule.acts for policy in guard.policies for rule in policy.at("output"))


def pseudonymizing(policy: Policy) -> list[Guardrail]:
    """The rules of what goes in whose originals come back in what comes out."""
    return [rule for rule in policy.at("input") if rule.remedy.name == "pseudonymize"]


def apart(guard: Guard) -> bool:
    """Whether callers' callbacks are told of another run than that of the thing itself: what it says does not leave."""
    return shows_nothing(guard) or any(pseudonymizing(policy) for policy in guard.policies)


def originally(flow: Flow, given: Any) -> Plan[Any]:
    """What was admitted as its caller knows it: with the originals of its pseudonyms."""
    return (yield from judged(given, restoring(flow))) if flow.root.hides else given


def around(flow: Flow) -> Callable[[], AbstractContextManager[Any]]:
    """What a chain is called in: its flow; and, where nothing may be shown, a context without those who listen.

    LangGraph adds the callbacks of the context to those that it is given.
    """
    return partial(_quietly, flow) if shows_nothing(flow.guard) else flow.active


@contextmanager
def _quietly(flow: Flow) -> Iterator[None]:
    ambient = var_child_runnable_config.get()
    token = None if ambient is None else var_child_runnable_config.set(unstreamed(ambient))
    try:
        with flow.active():
            yield
    finally:
        if token is not None:
            with suppress(ValueError):  # thrown away, a coroutine unwinds in another context
                var_child_runnable_config.reset(token)


def unstreamed(config: RunnableConfig) -> RunnableConfig:
    """The config without those who listen to inner tokens and updates for event streams and graphs around."""
    callbacks: Any = config.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        callbacks.handlers = _deaf(callbacks.handlers)
        callbacks.inheritable_handlers = _deaf(callbacks.inheritable_handlers)
    elif callbacks:
        callbacks = _deaf(callbacks)
    configurable = {name: value for name, value in config.get("configurable", {}).items() if name != _STREAM}
    return {**config, "callbacks": callbacks, "configurable": configurable}


def _deaf(handlers: Any) -> list[Any]:
    return [handler for handler in handlers if not hasattr(handler, "tap_output_aiter")]
