"""Text that arrives in pieces: what may leave now, and what must be held back.

A scorer is *local* if it says how far a match can reach: then holding back no more than that is enough to release
exactly what the whole answer, judged at once, would have released, wherever the chunks are cut. Everything else needs
the whole answer before the first character may leave.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from ._actions import placeholder
from ._edits import MAX_HOLD, Edit, Found, apply, merge
from ._score import TextSpan

__all__ = ["Window"]

# Characters. Scanning at every small chunk costs many scans of the same text, so it is scanned when as much is new as
# is seen again, and this much at least; less at first, so that a reader sees something soon.
_FIRST_STEP = 24
_STEP = 64


class Window:
    """Holds back as much raw text as a match can reach, edits on release, and never cuts inside a match.

    Args:
        scan: finds spans in a text, those to be edited and those that must not be cut; it is told from where to where
            the text may leave. It must be local: whether a stretch is a match depends on no character further than its
            reach from its start.
        open_tail: says how many characters at the end of a text may belong to a match that is not complete yet.
        left: says how many characters at the end of a released text can decide what follows.
        reach: the same where the release ended inside a match.
        edit: makes the edit of a span of a text.
    """

    def __init__(
        self,
        scan: Callable[[str, int, int], tuple[Iterable[Found], Iterable[TextSpan]]],
        open_tail: Callable[[str], int],
        left: Callable[[str], int],
        reach: int,
        edit: Callable[[Found, str], Edit],
    ) -> None:
        self._scan, self._open_tail, self._left, self._reach, self._edit = scan, open_tail, left, reach, edit
        self._raw = ""  # released text still needed as left context, then held text
        self._held_from = 0  # where in _raw the held text starts
        self._unscanned = 0
        self._step = _FIRST_STEP
        self._swallowing = False  # the held text starts inside a match whose edit has left

    @property
    def held(self) -> bool:
        """Whether some text is held."""
        return len(self._raw) > self._held_from

    def feed(self, text: str) -> str:
        """Take the next piece; return what may leave now, edited."""
        self._raw += text
        self._unscanned += len(text)
        if self._unscanned < self._step or 2 * self._unscanned < len(self._raw):
            return ""
        self._step = _STEP
        return self._release(max(self._held_from, len(self._raw) - self._open_tail(self._raw)))

    def finish(self) -> str:
        """The answer is complete: return all that was held, edited."""
        return self._release(len(self._raw))

    def _release(self, cut: int) -> str:
        self._unscanned = 0
        start = self._held_from
        # A match never straddles what has left, since no cut is made inside one. A span that seems to (the left
        # context begins anywhere, so what is found at its very start may be none) hides one that starts after it.
        spans, whole = self._scan(self._raw, start, cut)
        found = merge(span._replace(start=max(start, span.start)) for span in spans if span.end > start)
        edits: list[Edit] = []
        swallowing = self._swallowing and bool(found) and found[0].start == start
        self._swallowing = False
        cut = max(start, _uncut(cut, found[1:] if swallowing else found, whole))
        for one in found:
            if one.start >= cut:
                break
            if swallowing:
                # The edit of this match left before its end was known; the rest of it goes without a trace.
                swallowing = False
                edits.append(Edit(one.start, min(one.end, cut), ""))
                self._swallowing = one.end > cut
            elif one.end <= cut:
                edits.append(self._edit(one, self._raw))
            elif cut - one.start > MAX_HOLD:
                edits.append(Edit(one.start, cut, placeholder(one.kind)))
                self._swallowing = True
        released = apply(self._raw[start:cut], [_moved(edit, -start) for edit in edits])
        keep = max(0, cut - (2 * self._reach if self._swallowing else self._left(self._raw[:cut])))
        self._raw = self._raw[keep:]
        self._held_from = cut - keep
        return released


def _uncut(cut: int, found: Iterable[Found], whole: Iterable[TextSpan]) -> int:
    """The last place, at `cut` or before it, that is inside no match, be it one that only might grow into another."""
    limits = [(one.start, one.end, MAX_HOLD) for one in found]
    limits += [(span.start, span.end, sys.maxsize) for span in whole]
    for start, end, most in sorted(limits, reverse=True):
        if start < cut < end and cut - start <= most:
            cut = start
    return cut


def _moved(edit: Edit, by: int) -> Edit:
    return edit._replace(start=edit.start + by, end=edit.end + by)
