"""attach and detach: which methods and parts of an object are guarded."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine.types import BaseChatEngine

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware._checks import expect_known
from llmguard_middleware._guard import expect_guard

from .._agents import attach_agent, detach_agent, expect_idle, is_agent
from .._mistakes import ATTACHABLE, refuse_kind
from .._postprocess import GuardPostprocessor
from .._protect import refuse_stages
from .._retrieval import GuardedRetriever
from .._seal import guards_of, keeps_raw, seal, unseal
from ._chat import GuardedChatEngine
from ._memory import check_memory
from ._parts import Parts
from ._query import GuardedEngine

__all__ = ["attach", "detach"]

E = TypeVar("E")
_KINDS: tuple[tuple[type, type], ...] = (
    (BaseQueryEngine, GuardedEngine),
    (BaseChatEngine, GuardedChatEngine),
    (BaseRetriever, GuardedRetriever),
)


def attach(engine: E, guard: Guard, *, state: Literal["raw", "redacted"] = "redacted") -> E:
    """Guard this query engine, chat engine, retriever or agent in place and return it.

    Of an engine: its question, the documents it retrieves, every call of its LLMs and its answer, streamed or not, pass
    the guard; each call is one span with the retrieval and the model calls below it, and the monitors score it. Of an
    agent, or a workflow of agents: what goes to its models and tools and what comes back, and every event. Parts that
    others may share (retriever, synthesizer, LLM, engines inside) are replaced in this one by guarded copies.

    Args:
        engine: any LlamaIndex query engine, chat engine, retriever, agent, or AgentWorkflow.
        guard: what to put around it. Attaching it again with the same state changes nothing; another guard goes around
            this one.
        state: what the memory of a chat engine or an agent keeps of what its user says: `redacted`, the copies that the
            guard let pass, or `raw`, the messages as they were sent, which the guard judges again whenever a model gets
            them. Answers are kept as they were let pass in either case, and a turn that was stopped is not kept.

    Raises:
        ConfigurationError: if `engine` is something else, for a `state` that is unknown, another than before or of
            what has no memory, or for pseudonyms that would be stored.
        UnenforceableError: if the guard has an acting guardrail at a stage that cannot be enforced here.
    """
    if not isinstance(engine, ATTACHABLE):
        refuse_kind("attach", engine)
    expect_guard(guard, "attach(engine, guard)")
    if is_agent(engine):
        return attach_agent(engine, guard, state)
    methods = next(methods for kind, methods in _KINDS if isinstance(engine, kind))
    expect_known(state, ("raw", "redacted"), "state", "attach")
    chats = isinstance(engine, BaseChatEngine)
    if state == "raw" and not chats:
        msg = f'attach(..., state="raw") says what a memory keeps, and a {type(engine).__name__} has none: leave it out'
        raise ConfigurationError(msg)
    if guard in guards_of(engine):
        if chats and keeps_raw(engine, guard) != (state == "raw"):
            msg = f"this {type(engine).__name__} was attached with another state=: detach(engine) first"
            raise ConfigurationError(msg)
        return engine
    refuse_stages(guard, "attach(engine, guard)")
    guard.covers("retrieval")
    if isinstance(engine, BaseRetriever):
        beyond = [rule for policy in guard.policies for rule in policy.at("output")]
        guard.refuse(
            beyond, "attach(retriever, guard)", 'a retriever has no answer; its documents are stage="retrieval"'
        )
    if chats:
        check_memory(engine, guard, state)
    parts = Parts(engine, guard, chats=chats)
    replaced = parts.replacements(engine)
    _reach_ends(engine, guard, parts)
    if guard.has_rules("retrieval") and not isinstance(engine, BaseRetriever):
        _judge_last(engine, guard, parts, replaced)
    return seal(engine, methods, guard, replaced, raw=state == "raw")


def _reach_ends(engine: Any, guard: Guard, parts: Parts) -> None:
    """Say that how the calls of the engine's LLMs end is judged; refuse rules about that if it shows none."""
    if parts.asks:
        guard.covers(ends=True)
    elif not isinstance(engine, BaseRetriever):  # which was refused all rules of the output
        where = f"attach() to {type(engine).__name__}, which shows no LLM,"
        guard.require(where, lambda policy: guard.expect_ends(policy, where))


def _judge_last(engine: Any, guard: Guard, parts: Parts, replaced: dict[str, Any]) -> None:
    """Have documents judged after all postprocessors, for those that bring in new text."""
    if (listed := vars(engine).get("_node_postprocessors")) is not None:
        # What the retriever's guard let pass is not judged again.
        replaced["_node_postprocessors"] = [*replaced.get("_node_postprocessors", listed), GuardPostprocessor(guard)]
    elif not parts.retrieves:
        where = f"attach() to {type(engine).__name__}, which shows no retriever,"
        guard.refuse(guard.rules("retrieval"), where, "build it with GuardPostprocessor(guard)")


def detach(engine: E) -> E:
    """Undo every `attach`: the engine's own class and parts are back. Returns the engine, which may have no guard.

    Raises:
        ConfigurationError: if `engine` is something that `attach` does not take, or an agent that runs.
    """
    if not isinstance(engine, ATTACHABLE):
        refuse_kind("detach", engine)
    expect_idle(engine)
    unseal(engine)
    detach_agent(engine)
    return engine
