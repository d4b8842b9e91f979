"""protect(): a guarded copy of a model, a retriever, a tool, or any other Runnable, of the same type.

What a kind of thing needs is imported when the first of it is protected, so that an application of chat models does not
wait for LangChain's tools, retrievers, text models and configurables.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware._call import Stage
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._ingestion import reaches_embedding
from llmguard_middleware._policy import Policy

from ._configurable import alternatives_member, configurable_members, is_configurable_model
from ._copies import guarded_copy, guards_of
from ._kinds import is_a
from ._sticky import sticky

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["guarded_model", "is_signal", "protect", "refuse_stages"]

T = TypeVar("T", bound="Runnable[Any, Any] | Embeddings")
Members = Callable[[type[Any], Guard], dict[str, Any]]

_CONFIGURABLE = "langchain_core.runnables.configurable"


def protect(thing: T, guard: Guard) -> T:
    """A guarded copy: spans, monitors and every guardrail, in invoke, stream, batch and their async twins.

    The original stays as it is. A second guard on a copy goes around the first; the same guard again changes nothing.

    Args:
        thing: a chat model or text model; a retriever, whose query and documents are judged; a tool, whose arguments
            and result are; an embedding model, of which what is embedded is (`embedding`); any other Runnable (a chain,
            a compiled graph), of which what goes in and what comes out is.
        guard: what is put around it.

    Raises:
        ConfigurationError: if this is none of these.
        UnenforceableError: if the guard has a rule that the copy cannot enforce.
    """
    if is_a(thing, "langchain_core.embeddings.embeddings", "Embeddings"):
        return _guarded_embeddings(thing, guard)  # type: ignore[no-any-return]  # of a subclass
    if not isinstance(thing, Runnable):
        _refuse_kind(thing)
    expect_guard(guard, "protect(thing, guard)")
    if guard in guards_of(thing):
        return thing
    if (inside := _protected_inside(thing, guard, protect)) is not None:
        return inside  # type: ignore[no-any-return]  # of the same type
    members, where, stages = _kind(thing)
    refuse_stages(guard, f"protect({where})", stages, ends=where == "model")
    if where == "chain":
        from ._runnables import check_refusal, check_stored

        _refuse_reask(guard, thing)
        check_refusal(thing, guard)
        check_stored(thing, guard)
    return _copied(thing, guard, members)  # type: ignore[no-any-return]  # of a subclass


def _refuse_kind(thing: Any) -> NoReturn:
    given = f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__
    instead = ""
    if isinstance(thing, Guard):
        instead = ": write protect(thing, guard), in this order"
    elif isinstance(thing, type):
        instead = f": write protect({thing.__name__}(...), guard)"
    elif callable(thing):
        instead = ": wrap it in RunnableLambda"
    takes = "a LangChain Runnable (a model, chain, tool, retriever or graph) or an embedding model"
    msg = f"protect() takes {takes} and was given {given}{instead}"
    raise ConfigurationError(msg)


def _guarded_embeddings(model: Any, guard: Guard) -> Any:
    from ._embeddings import embeddings_members

    expect_guard(guard, "protect(embeddings, guard)")
    if guard in guards_of(model):
        return model
    reaches_embedding(guard, "protect(embeddings)")
    return guarded_copy(model, guard, embeddings_members)


def guarded_model(model: Any, guard: Guard) -> Any:
    """What `protect` gives for a model, for an adapter that reaches the other stages of the guard's rules.

    Raises:
        ConfigurationError: if this is no chat model.
    """
    if guard in guards_of(model):
        return model
    if (inside := _protected_inside(model, guard, guarded_model)) is not None:
        return inside
    if not isinstance(model, BaseChatModel):
        msg = f"a guard is put around LangChain chat models and was given {type(model).__name__}"
        raise ConfigurationError(msg)
    return _copied(model, guard, _kind(model)[0])


def _copied(thing: Any, guard: Guard, members: Members) -> Any:
    copy = guarded_copy(
        thing, guard, lambda base, guard: {**members(base, guard), **alternatives_member(base, protect)}
    )
    if isinstance(thing, BaseChatModel):
        from ._models._chat import without_native_events

        without_native_events(type(copy))
    return copy


def _kind(thing: Any) -> tuple[Members, str, tuple[Stage, ...]]:
    """How this kind of thing is guarded, what it is called, and the stages that it reaches."""
    if isinstance(thing, BaseChatModel):
        from ._models._chat import chat_members

        return chat_members, "model", ("input", "output", "tool_call")
    if is_a(thing, "langchain_core.language_models.llms", "BaseLLM"):
        from ._models._text import text_members

        return text_members, "model", ("input", "output")
    if is_a(thing, "langchain_core.retrievers", "BaseRetriever"):
        from ._retriever import retriever_members

        return retriever_members, "retriever", ("input", "retrieval")
    if is_a(thing, "langchain_core.tools.base", "BaseTool"):
        from ._tool import tool_members

        return tool_members, "tool", ("tool_call", "tool_result")
    if is_configurable_model(thing):
        return partial(configurable_members, protect=protect), "model", ("input", "output", "tool_call")
    from ._runnables import runnable_members

    return runnable_members, "chain", ("input", "output")


def _protected_inside(thing: Any, guard: Guard, around: Callable[[Any, Guard], Any]) -> Any:
    """What only adds options to another Runnable, with that one protected; None if it is no such thing."""
    if isinstance(thing, RunnableBinding):
        return sticky(thing.model_copy(update={"bound": around(thing.bound, guard)}))
    if not is_a(thing, _CONFIGURABLE, "RunnableConfigurableFields", "RunnableConfigurableAlternatives"):
        return None
    changes: dict[str, Any] = {"default": around(thing.default, guard)}
    if is_a(thing, _CONFIGURABLE, "RunnableConfigurableAlternatives"):
        changes["alternatives"] = {name: _later(one, guard, around) for name, one in thing.alternatives.items()}
    return sticky(thing.model_copy(update=changes))


def _later(alternative: Any, guard: Guard, around: Callable[[Any, Guard], Any]) -> Any:
    """An alternative, protected; one that is made when it is chosen is protected then."""
    return around(alternative, guard) if isinstance(alternative, Runnable) else lambda: around(alternative(), guard)


def refuse_stages(guard: Guard, where: str, reached: tuple[Stage, ...], *, ends: bool) -> None:
    """Refuse rules of stages that are not reached there, nor by what was guarded before.

    `ends` is whether models are: a chain sees their answers, and not how their calls ended.
    """

    def check(policy: Policy) -> None:
        rules = [rule for rule in policy.guardrails if not rule.bound.of_call]
        guard.refuse([r for r in rules if r.stage not in reached and r.stage not in guard.covered], where, _INSTEAD)
        if not ends:
            guard.expect_ends(policy, where)

    guard.require(where, check)
    guard.covers(*reached, ends=ends)
    guard.pass_untouched(is_signal)


_INSTEAD = (
    "protect(retriever) reaches input and retrieval, protect(tool) tool_call and tool_result, a chain input and "
    "output, a model these and tool_call, protect(embeddings) embedding: put each rule where its stage is, and protect "
    "that first"
)


def _refuse_reask(guard: Guard, thing: Runnable[Any, Any]) -> None:
    asking = [rule for policy in guard.policies for rule in policy.guardrails if rule.action == "reask"]
    guard.refuse(asking, f"protect({thing.get_name()})", "only a model can be asked again, use protect(model, guard)")


def is_signal(error: BaseException) -> bool:
    """LangGraph's interrupts and commands to a parent graph travel as exceptions."""
    return is_a(error, "langgraph.errors", "GraphBubbleUp")
