"""code_injection: code in what a model says that would act on a browser, a database, a shell, a template or files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ..errors import ConfigurationError
from ._code._signs import KINDS, REACH, SHORT, Kind, rare_in
from ._lower import lower
from ._patterns import PatternScorer, Span, select

__all__ = ["CodeInjection", "code_injection"]

# From a line that opens a fence to the one that closes it, or to the end. The look-ahead takes all of the signs that
# open it and gives none back: a line of a thousand of them is looked at once.
_FENCED: Final = re.compile(
    r"^ {0,3}(?=(```+|~~~+))\1[^\n]*\n(?:(?! {0,3}\1)[^\n]*\n)*(?: {0,3}\1[^\n]*|[^\n]*\Z)", re.MULTILINE
)


class CodeInjection(PatternScorer[Kind]):
    """Flags texts that hold such code; value is how many stretches, label the kinds found."""

    behind = 2

    def __init__(self, kinds: Sequence[Kind], *, ignore_fenced: bool) -> None:
        super().__init__("code_injection", kinds, REACH)
        self.options = f"{ignore_fenced}:{self.options}"
        self._ignores_fenced = ignore_fenced
        if ignore_fenced:
            self.reach = None  # whether a fence is open is told by all that came before

    def found(self, text: str) -> Iterator[Span]:
        """Each stretch of each kind."""
        low = lower(text)
        if self._ignores_fenced and ("```" in low or "~~~" in low):
            low = _FENCED.sub(_blank, low)
        rare = rare_in(low)
        return ((start, end, kind.name) for kind in self._kinds for start, end in kind.find(low, rare))

    def open_tail(self, text: str) -> int:
        """How many characters at the end of `text` may belong to code that is not complete yet."""
        floor = max(0, len(text) - REACH)
        tag = text.find("<", floor)
        return min(len(text), max(SHORT, len(text) - tag if tag >= 0 else 0))


def _blank(block: re.Match[str]) -> str:
    return "\n".join([" " * len(line) for line in block[0].split("\n")])


def code_injection(*kinds: str, ignore_fenced: bool = False) -> CodeInjection:
    """Find code in answers that somebody further on may run: a page that shows them, a query or a command made of them.

    XSS (scripts, event handlers, javascript: and data: URLs, frames), SQL_INJECTION (tautologies, stacked and UNION
    queries, time-based probes), SHELL_INJECTION (command substitution, chained and piped commands, reverse shells,
    eval), TEMPLATE_INJECTION, PATH_TRAVERSAL, SSRF (addresses of cloud metadata). It cannot know what is asked for: an
    answer that teaches such code looks the same.

    Args:
        kinds: look for these only; all if none is named.
        ignore_fenced: whether to leave code between fences of three backticks or tildes alone; then a stream is held
            to its end.

    Raises:
        ConfigurationError: if a kind is unknown.
    """
    given: object = ignore_fenced
    if not isinstance(given, bool):
        msg = f"ignore_fenced is {given!r}; it must be true or false"
        raise ConfigurationError(msg)
    return CodeInjection(select(KINDS, kinds, "code_injection"), ignore_fenced=ignore_fenced)
