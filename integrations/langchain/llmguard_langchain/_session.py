"""What LangChain's configuration says of a run: its conversation, its user, its tags and its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig

from llmguard_middleware import Call
from llmguard_middleware.telemetry import _names as names

__all__ = ["KEYS", "NODE", "Said", "agent_of", "named", "said", "shows_agent", "with_config", "with_session"]

# LangChain tells by tags where in a chain or graph a run is.
_THEIRS = ("seq:step:", "map:key:", "graph:step:", "langsmith:")
_AGENT = "langchain_create_agent"
NODE = "GuardMiddleware"  # how the names of our middleware's runs begin
KEYS = frozenset(("thread_id", "session_id", "conversation_id", "user_id"))


class Said(NamedTuple):
    """What `with_session` takes."""

    metadata: Mapping[str, Any]
    tags: Sequence[str]
    name: str | None = None


def said(
    callbacks: Any,
    metadata: Mapping[str, Any] | None,
    tags: Sequence[str] | None,
    thing: Any = None,
    name: str | None = None,
) -> Said | None:
    """What callbacks would be told of a run; None if it says nothing of interest.

    Args:
        callbacks: of the call; those that a run above gives say what was said of that one.
        metadata: of the call.
        tags: of the call.
        thing: what is called, which may have metadata and tags of its own.
        name: of the run.
    """
    if isinstance(callbacks, BaseCallbackManager):
        if callbacks.metadata:
            metadata = {**callbacks.metadata, **metadata} if metadata else callbacks.metadata
        if callbacks.tags:
            tags = _added(callbacks.tags, tags)
    own = getattr(thing, "metadata", None)
    if own:
        metadata = {**metadata, **own} if metadata else own
    if mine := getattr(thing, "tags", None):
        tags = _added(tags, mine)
    if not name and not (tags and _own(tags)) and (not metadata or KEYS.isdisjoint(metadata)):
        return None
    return Said(metadata or {}, tags or (), name)


def with_config(call: Call, config: RunnableConfig, thing: Any = None) -> Call:
    """The call with what callbacks would be told by this config."""
    told = said(config.get("callbacks"), config.get("metadata"), config.get("tags"), thing)
    return call if told is None else with_session(call, *told)


def _added(tags: Sequence[str] | None, more: Sequence[str] | None) -> Sequence[str]:
    """As LangChain puts tags together: what is said again goes to the end."""
    if not tags or not more:
        return tags or more or ()
    return [*(tag for tag in tags if tag not in more), *more]


def _own(tags: Sequence[str]) -> list[str]:
    return [tag for tag in tags if not tag.startswith(_THEIRS)]


def with_session(
    call: Call, metadata: Mapping[str, Any] | None, tags: Sequence[str] | None = None, name: str | None = None
) -> Call:
    """The call with what a `config` says of it.

    Args:
        call: the call.
        metadata: its conversation (`thread_id`, `session_id` or `conversation_id`) and its user (`user_id`).
        tags: the application's own, and those that LangChain adds, which are left out.
        name: of the run, if it is not the call's own.
    """
    attributes: dict[str, Any] = {}
    conversation = None
    if metadata:
        conversation = metadata.get("thread_id") or metadata.get("session_id") or metadata.get("conversation_id")
        if user := metadata.get("user_id"):
            attributes[names.USER] = str(user)
    if tags and (own := _own(tags)):
        attributes[names.TAGS] = own
    if name and name != call.name:
        attributes[names.RUN] = name
    if attributes:
        call = call.but(attributes={**call.attributes, **attributes})
    return call.but(conversation=str(conversation)) if conversation else call


def named(serialized: Mapping[str, Any] | None, name: str | None, otherwise: str = "") -> str:
    """The name that a run goes by: that of its configuration, or of its class."""
    return name or (serialized or {}).get("name") or otherwise


def agent_of(metadata: Mapping[str, Any] | None, name: str | None) -> str | None:
    """The name of the agent that this run is, "" if it has none; None if it is no agent's run.

    LangChain's `create_agent` says so in the metadata, which the runs inside inherit: a graph's own run has the
    graph's name.
    """
    if not _of_agent(metadata):
        return None
    agent = str((metadata or {}).get("lc_agent_name") or "")
    return agent if name in (agent or "LangGraph", None) else None


def shows_agent(metadata: Mapping[str, Any] | None) -> bool:
    """Whether this run, a `NODE`, shows that the run above it is an agent's.

    The first versions of LangChain 1 say so of no agent, or of agents with a name only.
    """
    return not _of_agent(metadata)


def _of_agent(metadata: Mapping[str, Any] | None) -> bool:
    if not metadata:
        return False
    return "lc_agent_name" in metadata or metadata.get("ls_integration") == _AGENT
