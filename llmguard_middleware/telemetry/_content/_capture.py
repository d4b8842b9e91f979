"""Capture: puts the content of calls on their spans, into events, or elsewhere with a reference to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..._call import Call
from .. import _names as names
from .._attributes import INFERENCE
from .._boundary import unwritten
from .._options import TelemetryOptions
from ._clearance import Clearance
from ._content import Content
from ._fit import fitted, written
from ._ledger import Ledger
from ._plain import each, plain
from ._upload import Uploads, uploads_to

if TYPE_CHECKING:
    from .._call_span import CallSpan

__all__ = ["Capture"]

_GAVE = (names.OUTPUT_MESSAGES, names.TOOL_RESULT, names.RETRIEVAL_DOCUMENTS)
_MADE = (names.INPUT_MESSAGES, names.OUTPUT_MESSAGES, names.SYSTEM_INSTRUCTIONS)  # of `_parts`: plain, and ours
_LONGEST = 1 << 22  # characters of one text


class Capture:
    """Of one guard.

    Attributes:
        simple: whether content goes on spans, and nowhere else.
        uploads: where content goes in place of spans and events; None if it stays.
    """

    def __init__(self, options: TelemetryOptions) -> None:
        Ledger.wanted = True
        self._on_spans, self._in_events = options.content_on_spans, options.content_in_events
        self._limit = options.bytes_of_content
        self.uploads: Uploads | None = None
        if options.upload is not None:
            self.uploads = uploads_to(options.upload, options.upload_format, options.upload_queue)
        self.simple = self._on_spans and not self._in_events and self.uploads is None

    def take(
        self,
        span: CallSpan,
        call: Call,
        content: Content | None,
        clearance: Clearance | None,
        hide: Callable[[str], str] | None,
        *,
        answered: bool,
    ) -> None:
        """Keep the content of a call for the end of its span; of several guards around it, the inner one's input.

        Without a `clearance` there is no rule that it depends on.
        """
        content = content or Content()
        asked = self._plain(content.asked(call), hide)
        gave = self._plain(content.gave(call), hide) if answered else {}
        if clearance is not None:
            asked, gave = clearance.of(asked), clearance.of(gave)
        if span.content:
            asked |= {name: value for name, value in span.content.items() if name not in _GAVE}
        span.content = asked | gave
        span.captures, span.captured = self, call

    def _plain(self, told: Mapping[str, Any], hide: Callable[[str], str] | None) -> dict[str, Any]:
        copied = {name: value if name in _MADE else plain(value, _LONGEST) for name, value in told.items()}
        return copied if hide is None else {name: each(value, hide) for name, value in copied.items()}

    def quoted(self, call: Call, content: Content) -> dict[str, Any]:
        """What the span tells of a call that was answered, if it is `simple` and no guardrail took anything out."""
        try:
            told = self._plain({**content.asked(call), **content.gave(call)}, None)
            return {name: written(name, value, self._limit) for name, value in told.items()}
        except Exception as error:  # noqa: BLE001 - whatever a value makes of itself; the span must end
            unwritten(error)
            return {}

    def written(self, span: CallSpan) -> dict[str, Any]:
        """What the span tells of the content; what its event is to tell is put there."""
        ledger, content, call = span.ledger, span.content, span.captured
        if not content or call is None or ledger.closed:
            return {}
        if not ledger.empty:
            content = {name: ledger.outside(value) for name, value in content.items()}
        event = self._in_events and call.operation in INFERENCE
        spans = self._on_spans and span.span.is_recording()
        if not (event or spans):
            return {}
        if self.uploads is not None:
            references = self.uploads.put(content)
            if event:
                span.event = call, references
            return references if spans else {}
        if event:
            span.event = call, {name: fitted(name, value, self._limit) for name, value in content.items()}
        return {name: written(name, value, self._limit) for name, value in content.items()} if spans else {}
