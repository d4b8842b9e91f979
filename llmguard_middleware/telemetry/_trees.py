"""Traces as trees for a terminal (rich)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text
from rich.tree import Tree

from . import _names as names
from ._files import StoredRecord, StoredSpan

__all__ = ["colour", "printable", "trees"]

_COLOURS = {"blocked": "red", "error": "red", "redacted": "yellow", "flagged": "yellow", "passed": "green"}
# What a reader looks for first, under short names.
_SHOWN = {
    names.PROVIDER: "provider",
    names.RESPONSE_MODEL: "model",
    names.INPUT_TOKENS: "in",
    names.OUTPUT_TOKENS: "out",
    names.COST: "usd",
    names.USER: "user",
    names.REDACTIONS: "redactions",
    names.REDACTED_KINDS: "kinds",
    names.FLAGGED_BY: "by",
    names.BYPASS_REASON: "bypass",
    names.EVALUATION_VALUE: "score",
    names.ERROR_TYPE: "error",
}

_LONGEST = 500  # characters of one value; a terminal wraps megabytes for a minute


def trees(spans: Iterable[StoredSpan], records: Sequence[StoredRecord] = ()) -> list[Tree]:
    """One tree for each trace, in the order of their starts; `records` are counted beside the span they score."""
    ordered = sorted(spans, key=lambda span: span.started)
    known = {span.span_id for span in ordered}
    scores: dict[str, int] = {}
    for record in records:
        if record.event_name == names.EVALUATION:
            scores[record.span_id] = scores.get(record.span_id, 0) + 1
    roots: list[Tree] = []
    nodes: dict[str, Tree] = {}
    waiting = list(ordered)
    while waiting:
        # A parent may have been stored after its child, and may start in the same tick.
        span = next((s for s in waiting if s.parent_id not in known or s.parent_id in nodes), waiting[0])
        waiting.remove(span)
        label = _label(span, scores.get(span.span_id, 0))
        if span.parent_id in nodes:
            nodes[span.span_id] = nodes[span.parent_id].add(label)
        else:
            label.append(f"  trace={span.trace_id[:8]}", style="dim")  # `llmguard traces --trace` takes the beginning
            nodes[span.span_id] = Tree(label)
            roots.append(nodes[span.span_id])
    return roots


def colour(outcome: object) -> str:
    """The colour of a verdict."""
    return _COLOURS.get(str(outcome), "")


def printable(value: object) -> str:
    """A value as text that controls no terminal and does not fill it: a model may have chosen it."""
    text = str(value)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}\N{HORIZONTAL ELLIPSIS}"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _label(span: StoredSpan, scores: int) -> Text:
    label = Text(printable(span.name), style="bold red" if span.failed else "bold")
    label.append(f"  {(span.ended - span.started) / 1e6:.1f} ms", style="dim")
    verdict = span.attributes.get(names.VERDICT)
    if verdict:
        label.append(f"  {printable(verdict)}", style=colour(verdict))
    for key, short in _SHOWN.items():
        value = span.attributes.get(key)
        if value is not None:
            shown = ",".join(map(str, value)) if isinstance(value, list) else value
            shown = f"{value:.6f}" if key == names.COST and isinstance(value, float) else shown
            label.append(f"  {short}={printable(shown)}", style="cyan")
    if scores:
        label.append(f"  {scores} evaluation{'s' if scores > 1 else ''}", style="dim")
    return label
