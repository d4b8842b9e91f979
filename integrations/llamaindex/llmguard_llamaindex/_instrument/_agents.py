"""Workflows and agents; of their steps, an agent's turn in a workflow of many, and the call of a tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmguard_middleware import Call, Message

from .._retrieval import asked
from ._kinds import Kind, Transparent, record

if TYPE_CHECKING:
    from ._run import Run

__all__ = ["Agent", "ToolStep", "Turn", "Workflow"]


class Workflow(Kind):
    """A run of a workflow."""

    operation = "invoke_workflow"

    def name(self, run: Run) -> str:
        """The workflow's name."""
        return type(run.owner).__name__

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call, and the user's message if that is what it starts with."""
        call = Call.made(self.operation, name=self.name(run))
        if not judged:
            return call
        start = arguments.get("start_event")
        said = start.get("user_msg", default=None) if start is not None and hasattr(start, "get") else None
        run.request = said if isinstance(said, str) else str(getattr(said, "content", None) or "")
        return call.but(inputs=asked(run.request)) if run.request else call

    def messages(self, run: Run) -> Sequence[Message]:
        """What the user says."""
        return [Message("user", run.request)] if run.request else []

    def answer(self, run: Run, result: Any) -> dict[str, Any]:
        """What the workflow gives, as text if it says something."""
        if (flow := run.flow) is None:
            return {}
        given = getattr(result, "result", result)
        said = getattr(getattr(given, "response", None), "content", given)
        record(flow, "output", said)
        flow.call = flow.call.but(context=flow.root.documents)
        return {"output": said}


class Agent(Workflow):
    """A run of an agent."""

    operation = "invoke_agent"

    def name(self, run: Run) -> str:
        """The agent's name."""
        return str(run.owner.name)


class Turn(Kind):
    """An agent's turn in a workflow of several agents: the step that asks its model."""

    owned = False

    def begins(self, run: Run, arguments: Mapping[str, Any]) -> bool:
        """A lone agent's run has the span."""
        return run.outer is not None and type(run.outer.kind) is Workflow

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call."""
        return Call.made("invoke_agent", name=str(arguments["ev"].current_agent_name))


class ToolStep(Transparent):
    """The step that calls a tool: it knows the id under which the model asked for it."""

    owned = False

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """Remember the id."""
        run.request = arguments["ev"].tool_id
        return Call.made("")
