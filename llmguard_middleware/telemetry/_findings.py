"""What guardrails found in a call: evaluation records in its span's context, and spans of what is notable."""

from __future__ import annotations

from collections.abc import Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Status, StatusCode

from .._verdict import Finding, Verdict
from . import _draft as draft
from . import _names as names
from ._attributes import error_type, score_attributes

if TYPE_CHECKING:
    from ._call_span import CallSpan
    from ._records import Records

__all__ = ["show", "tell"]


def show(span: CallSpan, records: Records, verdict: Verdict) -> None:
    """Show at once, as spans of their own, the guardrails that flagged, failed or were slow: they end now."""
    if not span.visible:
        return
    slow = records.options.slow_guardrail
    for finding in verdict.findings:
        if finding.remembered:  # and was shown where it was found
            continue
        if finding.outcome not in ("passed", "skipped") or finding.seconds > slow:
            _show(span, records, verdict, finding)


def _show(span: CallSpan, records: Records, verdict: Verdict, finding: Finding) -> None:
    ended, digest = time_ns(), verdict.digest or records.digest
    title = f"llmguard.guardrail {finding.rule}"
    attributes = {
        names.GUARD: records.guard,
        names.DIGEST: digest,
        names.GUARDRAIL: finding.rule,
        names.STAGE: verdict.stage,
        names.ACTION: finding.action,
        names.VERDICT: finding.outcome,
    }
    if finding.error is not None:
        attributes[names.ERROR_TYPE] = error_type(finding.error)
    if records.options.draft_guardrail_names:
        title = f"{draft.OPERATION} {finding.rule}"
        said = draft.result_attributes(records.guard, digest, verdict, finding)
        records.record(span.context, said, digest, draft.EVENT)
        attributes |= {names.OPERATION: draft.OPERATION, names.PROVIDER: "llmguard", **said}
    shown = records.tracer.start_span(
        title, context=span.context, attributes=attributes, start_time=ended - int(finding.seconds * 1e9)
    )
    if finding.error is not None:
        shown.set_status(Status(StatusCode.ERROR))
    shown.end(ended)


def tell(
    span: CallSpan, records: Records, verdicts: Sequence[Verdict], response_id: str = "", *, passed: bool = True
) -> None:
    """Write evaluation records in the context of the span; what passed shares one, if it is told at all."""
    clean: list[str] = []
    digest = verdicts[0].digest if verdicts else ""
    for verdict in verdicts:
        for finding in verdict.findings:
            if finding.remembered:
                continue
            if finding.outcome == "passed":
                clean.append(finding.rule)
            elif finding.outcome != "skipped":
                _tell(span, records, verdict, finding, response_id)
    if clean and passed:
        attributes: dict[str, Any] = {
            names.EVALUATION_NAME: records.guard,
            names.EVALUATION_LABEL: "passed",
            names.GUARDRAIL_NAMES: sorted(set(clean)),
        }
        if response_id:
            attributes[names.RESPONSE_ID] = response_id
        records.record(span.context, attributes, digest)


def _tell(span: CallSpan, records: Records, verdict: Verdict, finding: Finding, response_id: str) -> None:
    attributes = score_attributes(finding.rule, finding.score, finding.error, lambda: (verdict.text,))
    attributes.setdefault(names.EVALUATION_LABEL, finding.outcome)
    attributes |= {
        names.GUARDRAIL: finding.rule,
        names.STAGE: verdict.stage,
        names.ACTION: finding.action,
        names.VERDICT: finding.outcome,
    }
    if response_id:
        attributes[names.RESPONSE_ID] = response_id
    records.record(span.context, attributes, verdict.digest, violation=finding.stops)
