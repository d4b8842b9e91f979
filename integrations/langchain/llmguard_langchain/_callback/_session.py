"""What LangChain's configuration says of a run: its conversation, its user, its tags and its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmguard_middleware import Call
from llmguard_middleware.telemetry import _names as names

__all__ = ["agent_of", "named", "shows_agent", "with_session"]

# LangChain tells by tags where in a chain or graph a run is.
_THEIRS = ("seq:step:", "map:key:", "graph:step:", "langsmith:")
_AGENT = "langchain_create_agent"


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
    if tags and (own := [tag for tag in tags if not tag.startswith(_THEIRS)]):
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


def shows_agent(metadata: Mapping[str, Any] | None, name: str | None) -> bool:
    """Whether this run is a GuardMiddleware's node, which shows that the run above it is an agent's.

    The first versions of LangChain 1 say so of no agent, or of agents with a name only.
    """
    return name is not None and name.startswith("GuardMiddleware") and not _of_agent(metadata)


def _of_agent(metadata: Mapping[str, Any] | None) -> bool:
    if not metadata:
        return False
    return "lc_agent_name" in metadata or metadata.get("ls_integration") == _AGENT
