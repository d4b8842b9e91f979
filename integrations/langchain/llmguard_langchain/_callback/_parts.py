"""Retrievers and tools: a span each, and the documents for scorers that ask for `context`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.documents import Document

from llmguard_middleware import Call
from llmguard_middleware._call import Stage
from llmguard_middleware._flow import innermost
from llmguard_middleware._unjudged import unheard
from llmguard_middleware.telemetry import _names as names

from .. import _convert as convert
from .._handoff import claimed
from ._base import RunEvents, Started
from ._session import named

__all__ = ["PartEvents"]


class PartEvents(RunEvents):
    """Runs of retrievers and tools."""

    def on_retriever_start(self, serialized: dict[str, Any] | None, query: str, **started: Any) -> None:
        """Open the span of a retrieval."""
        if started["run_id"] not in self._live and (self._live or not unheard(self.guard)):
            call = Call.made("retrieval", name=named(serialized, started.get("name")), inputs={"query": query})
            self._part(call, started, ("retrieval",))

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        """End it and keep the documents."""
        run = self._runs.take(run_id)
        if run is not None and run.bare is not None:
            run.bare.answered()
        elif run is not None and run.flow is not None:
            found = [document.page_content for document in documents]
            run.flow.root.documents += tuple(found)
            run.flow.answered(output=found)

    def on_tool_start(self, serialized: dict[str, Any] | None, input_str: str, **started: Any) -> None:
        """Open the span of a tool."""
        if started["run_id"] not in self._live and (self._live or not unheard(self.guard)):
            inputs, tool_call_id = started.get("inputs"), started.get("tool_call_id")
            call = Call.made(
                "execute_tool",
                name=named(serialized, started.get("name")),
                inputs=convert.inputs(inputs) if inputs is not None else {"input": input_str},
                attributes={names.TOOL_CALL_ID: tool_call_id} if tool_call_id else {},
            )
            self._part(call, started, ("tool_call", "tool_result"))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End it."""
        run = self._runs.take(run_id)
        if run is not None and run.bare is not None:
            run.bare.answered()
        elif run is not None and run.flow is not None:
            run.flow.answered(output=convert.plain(output))

    def _part(self, call: Call, started: Started, stages: Sequence[Stage]) -> None:
        run_id = started["run_id"]
        above = self._runs.above(started.get("parent_run_id"))
        theirs = claimed(run_id)
        if theirs is None and (near := innermost()) is not None:  # a GuardMiddleware has this call's span
            theirs = near if (near.call.operation, near.call.name) == (call.operation, call.name) else None
        if theirs is not None:
            self._join(theirs, call, run_id, above)
            return
        for stage in stages:
            if rules := [rule for policy in self.guard.policies for rule in policy.at(stage)]:
                self.guard.refuse(rules, f"GuardCallback at {call.name}", "put protect(..., guard) around it as well")
        self._begin(call, started, above)
