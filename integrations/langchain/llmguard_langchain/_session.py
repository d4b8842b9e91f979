"""What LangChain's configuration says of a run: its conversation, its user, its tags and its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmguard_middleware import Call
from llmguard_middleware.telemetry import _names as names

__all__ = ["agent_of", "named", "with_session"]

_CONVERSATION = ("thread_id", "session_id", "conversation_id")


def with_session(call: Call, metadata: Mapping[str, Any] | None) -> Call:
    """The call with its conversation and its user, if `config={"metadata": ...}` names them."""
    if not metadata:
        return call
    changes: dict[str, Any] = {}
    for key in _CONVERSATION:
        if conversation := metadata.get(key):
            changes["conversation"] = str(conversation)
            break
    if user := metadata.get("user_id"):
        changes["attributes"] = {**call.attributes, names.USER: str(user)}
    return call.but(**changes) if changes else call


def named(serialized: Mapping[str, Any] | None, name: str | None, otherwise: str = "") -> str:
    """The name that a run goes by: that of its configuration, or of its class."""
    return name or (serialized or {}).get("name") or otherwise


def agent_of(metadata: Mapping[str, Any] | None, name: str | None) -> str | None:
    """The name of the agent that this run is, "" if it has none; None if it is no agent's run.

    LangChain's `create_agent` says so in the metadata, which the runs inside inherit: a graph's own run has the
    graph's name.
    """
    if not metadata or metadata.get("ls_integration") != "langchain_create_agent":
        return None
    agent = str(metadata.get("lc_agent_name") or "")
    return agent if name in (agent or "LangGraph", None) else None
