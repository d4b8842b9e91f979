"""Spans: name, kind, status, and what each operation has to tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._attributes import check_attributes, check_requirements
from ._conventions import DRAFT, OWN_OPERATIONS, THEIRS

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedSpan

__all__ = ["check_span"]

_INFERENCE = "gen_ai.client.inference"
# By operation: which span of the conventions, and which attribute its name goes on with.
_OPERATIONS = {
    "chat": (_INFERENCE, "gen_ai.request.model"),
    "text_completion": (_INFERENCE, "gen_ai.request.model"),
    "generate_content": (_INFERENCE, "gen_ai.request.model"),
    "embeddings": ("gen_ai.embeddings.client", "gen_ai.request.model"),
    "retrieval": ("gen_ai.retrieval.client", "gen_ai.data_source.id"),
    "invoke_agent": ("gen_ai.invoke_agent.internal", "gen_ai.agent.name"),
    "execute_tool": ("gen_ai.execute_tool.internal", "gen_ai.tool.name"),
    "invoke_workflow": ("gen_ai.invoke_workflow.internal", "gen_ai.workflow.name"),
}
# What any span of ours may tell: which conversation and which user it belongs to.
_ANYWHERE = frozenset({"gen_ai.conversation.id", "user.id", "error.type"})
# A workflow that turns out to be an agent has told its name already, and a span forgets nothing.
_TURNED_OUT = {"invoke_agent": _ANYWHERE | {"gen_ai.workflow.name"}}
_GUARDED = frozenset({"llmguard.guard.name", "llmguard.guard.digest"})
# Our own spans, by the first word of their names: what they have to tell, and the attribute their names go on with.
_OWN = {
    "llmguard.guardrail": (
        {"llmguard.guardrail.name", "llmguard.stage", "llmguard.action", "llmguard.verdict"},
        "llmguard.guardrail.name",
    ),
    "llmguard.monitor": ({"llmguard.monitor.name", "gen_ai.evaluation.name"}, "llmguard.monitor.name"),
    "llmguard.score": ({"gen_ai.evaluation.name"}, "gen_ai.evaluation.name"),
}


def check_span(span: CapturedSpan) -> Iterator[str]:
    """What is wrong with a span."""
    operation = span.attributes.get("gen_ai.operation.name")
    yield from check_attributes(span.attributes)
    yield from _status(span)
    for event in span.events:
        yield f'it has an event "{event}", which no span of ours has'
    for name in sorted(_GUARDED - set(span.attributes)):
        yield f"{name} is required"
    if operation in _OPERATIONS:
        yield from _operation(span, operation)
    elif operation in OWN_OPERATIONS:
        yield from _of_kind(span, "INTERNAL")
        if span.name.partition(" ")[0] != operation:
            yield f'its name does not begin with "{operation}"'
        if operation == "apply_guardrail":
            for name in sorted({name for name in DRAFT if "risk" not in name} - set(span.attributes)):
                yield f"{name} is required"
    elif operation is None:
        yield from _own(span)


def _operation(span: CapturedSpan, operation: str) -> Iterator[str]:
    of, subject = _OPERATIONS[operation]
    told = THEIRS["spans"][of]
    yield from _of_kind(span, told["kind"].upper())
    yield from check_requirements(span.attributes, told["attributes"], also=_TURNED_OUT.get(operation, _ANYWHERE))
    named = span.attributes.get(subject)
    expected = f"{operation} {named}" if named else operation
    # The conventions let retrievers have a format of their own: ours names the retriever, as the framework does.
    fits = span.name == expected or (operation == "retrieval" and not named and span.name.startswith("retrieval "))
    if not fits:
        yield f'it should be called "{expected}"'


def _own(span: CapturedSpan) -> Iterator[str]:
    first, _, rest = span.name.partition(" ")
    if first not in _OWN:
        yield "gen_ai.operation.name is required"
        return
    required, subject = _OWN[first]
    yield from _of_kind(span, "INTERNAL")
    for name in sorted(required - set(span.attributes)):
        yield f"{name} is required"
    if span.attributes.get(subject) != rest:
        yield f"its name does not end with its {subject}"


def _of_kind(span: CapturedSpan, kind: str) -> Iterator[str]:
    if span.kind != kind:
        yield f"its kind is {span.kind}, not {kind}"


def _status(span: CapturedSpan) -> Iterator[str]:
    failed = span.status == "ERROR"
    if failed and "error.type" not in span.attributes:
        yield "error.type is required: it failed"
    if not failed and "error.type" in span.attributes:
        yield "error.type is there although its status is no error"
    if span.status == "OK":
        yield "its status is OK, which is for applications to set"
