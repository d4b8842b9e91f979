"""Stored traces for a terminal: as trees, or as a table with one line each (rich)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from . import _names as names
from ._files import StoredRecord, StoredSpan, read_records, read_spans
from ._trees import colour, printable, trees

__all__ = ["StoredTrace", "read_traces", "show_table", "show_trees"]

_SHOWN = {
    names.GUARDRAIL: "guardrail",
    names.MONITOR: "monitor",
    names.STAGE: "stage",
    names.EVALUATION_VALUE: "score",
    names.GUARD: "guard",
}

_COLUMNS = ("started (UTC)", "trace", "root", "ms", "verdict", "by", "user", "tokens", "USD")


@dataclass
class StoredTrace:
    """The spans and log records of one trace; of a trace that was not sampled, the records only."""

    trace_id: str
    spans: list[StoredSpan] = field(default_factory=list)
    records: list[StoredRecord] = field(default_factory=list)

    @property
    def started(self) -> int:
        """Nanoseconds since the epoch."""
        return min([span.started for span in self.spans] or [record.time for record in self.records])

    @property
    def root(self) -> StoredSpan | None:
        """The first span without a parent, or the first at all."""
        ordered = sorted(self.spans, key=lambda span: span.started)
        return next((span for span in ordered if not span.parent_id), ordered[0] if ordered else None)

    @property
    def blocked(self) -> bool:
        """Whether a guardrail stopped something in it."""
        told = [span.attributes for span in self.spans] + [record.attributes for record in self.records]
        return any(attributes.get(names.VERDICT) == "blocked" for attributes in told)

    @property
    def flagged_by(self) -> list[str]:
        """The guardrails that did not pass, each once."""
        told = [name for span in self.spans for name in span.attributes.get(names.FLAGGED_BY, ())]
        told += [
            str(record.attributes[names.GUARDRAIL])
            for record in self.records
            if names.GUARDRAIL in record.attributes and record.attributes.get(names.VERDICT) not in (None, "passed")
        ]
        return list(dict.fromkeys(told))


def read_traces(files: list[Path]) -> list[StoredTrace]:
    """All traces of these files, in the order of their starts. A record that is stored twice counts once."""
    traces: dict[str, StoredTrace] = {}
    for span in read_spans(files):
        traces.setdefault(span.trace_id, StoredTrace(span.trace_id)).spans.append(span)
    told: set[str] = set()
    for record in read_records(files):
        if (same := repr(record)) not in told:  # in the journal and in the file of log records
            told.add(same)
            traces.setdefault(record.trace_id, StoredTrace(record.trace_id)).records.append(record)
    return sorted(traces.values(), key=lambda trace: trace.started)


def show_trees(traces: Iterable[StoredTrace], console: Console) -> None:
    """Print each trace as a tree."""
    for trace in traces:
        if trace.spans:
            for tree in trees(trace.spans, trace.records):
                console.print(tree)
            continue
        tree = Tree(Text(f"trace {printable(trace.trace_id) or '(none)'}, spans not stored", style="dim"))
        for record in trace.records:
            tree.add(_told(record))
        console.print(tree)


def _told(record: StoredRecord) -> Text:
    label = Text(printable(record.event_name) or "log record", style="bold")
    verdict = record.attributes.get(names.VERDICT) or record.attributes.get(names.EVALUATION_LABEL)
    if verdict:
        label.append(f"  {printable(verdict)}", style=colour(verdict))
    for key, short in _SHOWN.items():
        if record.attributes.get(key) is not None:
            label.append(f"  {short}={printable(record.attributes[key])}", style="cyan")
    return label


def show_table(traces: Iterable[StoredTrace], console: Console) -> None:
    """Print one line for each trace: when, which, what, how long, who was stopped by what, and what it cost."""
    rows = [_row(trace) for trace in traces]
    used = [title for title in _COLUMNS if title not in ("user", "USD") or any(row[title].plain for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in used:
        table.add_column(title, overflow="fold", no_wrap=title not in ("root", "by", "user"))
    for row in rows:
        table.add_row(*(row[title] for title in used))
    console.print(table)


def _row(trace: StoredTrace) -> dict[str, Text]:
    root = trace.root
    verdicts = [str(span.attributes.get(names.VERDICT)) for span in trace.spans if names.VERDICT in span.attributes]
    verdict = "blocked" if trace.blocked else next((v for v in verdicts if v != "passed"), "".join(verdicts[:1]))
    started = datetime.fromtimestamp(trace.started / 1e9, timezone.utc)
    costs = [usd for span in trace.spans if isinstance(usd := span.attributes.get(names.COST), (int, float))]
    cells = (
        f"{started:%m-%d %H:%M:%S}",
        trace.trace_id[:8],  # `--trace` takes the beginning of an id
        root.name if root else "not stored",
        f"{(root.ended - root.started) / 1e6:.1f}" if root else "",
        verdict,
        ", ".join(trace.flagged_by),
        ", ".join(sorted({str(user) for span in trace.spans if (user := span.attributes.get(names.USER))})),
        f"{_sum(trace, names.INPUT_TOKENS)}+{_sum(trace, names.OUTPUT_TOKENS)}",
        f"{sum(costs):.6f}" if costs else "",
    )
    return {title: Text(printable(cell), style=colour(cell)) for title, cell in zip(_COLUMNS, cells, strict=True)}


def _sum(trace: StoredTrace, key: str) -> int:
    told = [span.attributes.get(key) for span in trace.spans if span.attributes.get(names.OPERATION) == "chat"]
    return sum(tokens for tokens in told if isinstance(tokens, int))
