"""Each trace as a tree on the terminal, when its root ends: for those who develop."""

from __future__ import annotations

import threading
from collections import OrderedDict

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode
from rich.console import Console

from .._boundary import unwritten
from .._files import StoredSpan
from .._trees import trees

__all__ = ["ConsoleTrees"]

_MOST = 1000  # open traces, and spans of one


class ConsoleTrees(SpanProcessor):
    """Prints to standard error."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._lock = threading.RLock()  # what is collected, or a signal, may lead back here
        self._open: OrderedDict[int, list[StoredSpan]] = OrderedDict()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: what counts is the end."""

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span until the root of its trace in this process has ended."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        is_root = span.parent is None or span.parent.is_remote
        with self._lock:
            spans = self._open.setdefault(context.trace_id, [])
            if is_root or len(spans) < _MOST:
                spans.append(_stored(span))
            if is_root:
                del self._open[context.trace_id]
            elif len(self._open) > _MOST:
                self._open.popitem(last=False)
        if is_root:
            self._print(spans)

    def shutdown(self) -> None:
        """Print what came after its root, such as a late monitor's span."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Print what came after its root, such as a late monitor's span."""
        with self._lock:
            late, self._open = self._open, OrderedDict()
        for spans in late.values():
            self._print(spans)
        return True

    def _print(self, spans: list[StoredSpan]) -> None:
        try:
            for tree in trees(spans):
                self._console.print(tree)
        except Exception as error:  # noqa: BLE001 - a closed terminal, say: whoever ends a span must not hear of it
            unwritten(error)


def _stored(span: ReadableSpan) -> StoredSpan:
    assert span.context is not None
    return StoredSpan(
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
        f"{span.parent.span_id:016x}" if span.parent else "",
        span.name,
        span.start_time or 0,
        span.end_time or 0,
        {key: list(value) if isinstance(value, tuple) else value for key, value in (span.attributes or {}).items()},
        span.status.status_code is StatusCode.ERROR,
        span.status.description or "",
    )
