"""Retrievers and tools: a span each; arguments, results and documents are judged, and kept for scorers of the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from langchain_core.documents import Document

from llmguard_middleware import Call
from llmguard_middleware._call import Stage
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import Flow, innermost
from llmguard_middleware._judge import Plan
from llmguard_middleware._unjudged import unheard, unjudged
from llmguard_middleware.telemetry import _names as names

from .. import _convert as convert
from .._handoff import claimed
from .._judged import _parts as parts
from .._session import named
from ._base import RunEvents, Started
from ._runs import Run

__all__ = ["PartEvents"]

_INSTEAD = "put protect(..., guard) around it as well"


class PartEvents(RunEvents):
    """Runs of retrievers and tools."""

    def on_retriever_start(self, serialized: dict[str, Any] | None, query: str, **started: Any) -> None:
        """Open the span of a retrieval."""
        if started["run_id"] not in self._live and (self._live or not unheard(self.guard)):
            asked = {} if unjudged(self.guard) else {"query": query}
            call = self._called("retrieval", named(serialized, started.get("name")), asked)
            self._runs.start(self._part(call, started))

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        """Judge the documents, and keep them for scorers that ask for `context`.

        Raises:
            GuardrailViolation: before the caller has them.
        """
        if (flow := self._ended(run_id, "retrieval")) is not None:
            self._judge_at(flow, "retrieval", lambda: parts.documents(flow, documents))
            found = [document.page_content for document in documents]
            flow.root.documents += tuple(found)
            flow.answered(output=found)

    def on_tool_start(self, serialized: dict[str, Any] | None, input_str: str, **started: Any) -> None:
        """Judge the arguments; raises GuardrailViolation before the tool is called."""
        if started["run_id"] not in self._live and (self._live or not unheard(self.guard)):
            inputs, tool_call_id = started.get("inputs"), started.get("tool_call_id")
            call = Call.made(
                "execute_tool",
                name=named(serialized, started.get("name")),
                inputs=convert.inputs(inputs) if inputs is not None else {"input": input_str},
                attributes={names.TOOL_CALL_ID: tool_call_id} if tool_call_id else {},
            )
            run = self._part(call, started)
            if (flow := run.flow) is not None:
                given = {"input": input_str} if inputs is None else inputs
                self._judge_at(flow, "tool_call", lambda: parts.arguments(flow, given))
            self._runs.start(run)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Judge what the tool gives; raises GuardrailViolation before the caller has it."""
        if (flow := self._ended(run_id, "tool_result")) is not None:
            where = f"GuardCallback at {flow.call.name}"
            self._judge_at(flow, "tool_result", lambda: parts.result(flow, output, where))
            flow.answered(output=convert.plain(output))

    def _part(self, call: Call, started: Started) -> Run:
        """The run of a retriever or a tool, which has not started yet; without a flow if something protected judges."""
        run_id, enforced = started["run_id"], self._enforced
        above = self._runs.above(started.get("parent_run_id"))
        theirs = claimed(run_id)
        if theirs is None and (near := innermost()) is not None:  # a GuardMiddleware has this call's span
            theirs = near if (near.call.operation, near.call.name) == (call.operation, call.name) else None
        if theirs is None:
            if enforced.refused[call.operation]:
                self._refuse(call)
            return self._opened(enforced.part, call, run_id, above, started.get("metadata"), started.get("tags"))
        run = self._joined(theirs, enforced.part, call, run_id, above)
        if run.flow is not None:
            self._refuse(call)
        return run

    def _refuse(self, call: Call) -> None:
        if (rules := self._enforced.refused[call.operation]) and not inside_scorer.get():
            self.guard.refuse(rules, f"GuardCallback at {call.name}", _INSTEAD)

    def _ended(self, run_id: UUID, stage: Stage) -> Flow | None:
        """The call of a run that is over, if it is to be told what came out."""
        run = self._runs.take(run_id)
        if run is None and self._runs.given_up:
            run = self._late(run_id, self._enforced.part, stage)
        if run is None or run.bare is None:
            return None if run is None else run.flow
        run.bare.answered()
        return None

    def _judge_at(self, flow: Flow, stage: Stage, plan: Callable[[], Plan[Any]]) -> None:
        if flow.policy.at(stage) and not inside_scorer.get():  # a scorer's own call is not judged in turn
            self._judge(flow, plan())
