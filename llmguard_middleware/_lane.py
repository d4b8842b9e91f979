"""Lane: the way of one text of a streamed answer through its window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._json_text import may_become_json

__all__ = ["Feed", "Lane"]

Feed = Callable[[str], str]


class Lane:
    """The way of one text through its window."""

    def __init__(self, feed: Feed, *, whole_json: bool = False) -> None:
        self._feed = feed
        self._start: str | None = "" if whole_json else None  # of what may be JSON
        self._path: tuple[Any, ...] = ()
        self.closed = False

    @property
    def held(self) -> bool:
        """Whether some text is held here."""
        return self.closed or bool(self._start)

    def feed(self, path: tuple[Any, ...], text: str) -> str:
        self._path = self._path or path
        self.closed = self.closed or path != self._path
        if self.closed:
            return ""
        if self._start is not None:
            self._start += text
            if may_become_json(self._start):
                return ""
            text, self._start = self._start, None
        return self._feed(text)
