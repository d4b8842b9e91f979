"""Text that arrives in pieces: what may leave now, and what must be held back.

A scorer is *local* if it says how far a match can reach: then holding back no more than that is enough to release
exactly what the whole answer, judged at once, would have released, wherever the chunks are cut. Everything else needs
the whole answer before the first character may leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ._edits import Edit, apply, redact
from ._score import TextSpan

__all__ = ["Window"]

# Scanning at every small chunk costs many scans of the same text; once per so many new characters costs about two.
_STEP = 64


class Window:
    """Holds back as much raw text as a match can reach, redacts on release, and never cuts inside a match.

    Args:
        scan: finds spans in a text. It must be local: whether a stretch is a match depends on no character further
            than `reach` from its start.
        reach: in characters; also what is kept of the released text as left context.
        open_tail: says how many characters at the end of a text may belong to a match that is not complete yet.
    """

    def __init__(self, scan: Callable[[str], Iterable[TextSpan]], reach: int, open_tail: Callable[[str], int]) -> None:
        self._scan = scan
        self._reach = reach
        self._open_tail = open_tail
        self._raw = ""  # released text still needed as left context, then held text
        self._held_from = 0  # where in _raw the held text starts
        self._unscanned = 0

    def feed(self, text: str) -> str:
        """Take the next piece; return what may leave now, redacted."""
        self._raw += text
        self._unscanned += len(text)
        if self._unscanned < max(_STEP, (len(self._raw) - self._held_from) // 4):  # a chain of matches is held whole
            return ""
        return self._release(max(self._held_from, len(self._raw) - self._open_tail(self._raw)))

    def finish(self) -> str:
        """The answer is complete: return all that was held, redacted."""
        return self._release(len(self._raw))

    def _release(self, cut: int) -> str:
        self._unscanned = 0
        start = self._held_from
        # A match never straddles what has left, since no cut is made inside one. A span that seems to (the left
        # context begins anywhere, so what is found at its very start may be none) hides one that starts after it.
        spans = (span for span in self._scan(self._raw) if span.end > start)
        edits = redact(span._replace(start=max(start, span.start)) for span in spans)
        cut = next((edit.start for edit in edits if edit.start < cut < edit.end), cut)
        made = [edit for edit in edits if edit.end <= cut]
        released = apply(self._raw[start:cut], [_moved(edit, -start) for edit in made])
        keep = max(0, cut - self._reach)
        self._raw = self._raw[keep:]
        self._held_from = cut - keep
        return released


def _moved(edit: Edit, by: int) -> Edit:
    return edit._replace(start=edit.start + by, end=edit.end + by)
