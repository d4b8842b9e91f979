"""regex: patterns of the user's own, matched by RE2 in time that is linear in the text, whatever the pattern."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from time import thread_time
from typing import Any, Final

from .._edits import merge_spans
from .._score import Score
from ..errors import ConfigurationError
from ._patterns import PatternScorer

__all__ = ["Regex", "regex"]

_LARGEST: Final = 4_000  # instructions of a compiled pattern: what a character may cost
_LONGEST: Final = 10_000
_STEP, _LARGE_STEP = 16, 65_536  # bytes that are searched at once
_SECONDS, _SECONDS_PER_CHARACTER = 0.1, 1e-5  # of CPU, and five times what a match at every character takes


class _Pattern:
    """One pattern and the kind of what it matches."""

    def __init__(self, name: str, pattern: str, *, ignore_case: bool) -> None:
        self.name, self.pattern = name, pattern
        self.compiled = _compiled(pattern, ignore_case=ignore_case)


class Regex(PatternScorer[_Pattern]):
    """Flags texts that a pattern matches somewhere; value is how many spans, label the kinds found."""

    def __init__(self, patterns: Sequence[tuple[str, str]], *, ignore_case: bool, max_length: int) -> None:
        kinds = [_Pattern(name, pattern, ignore_case=ignore_case) for name, pattern in patterns]
        super().__init__("regex", kinds, max_length + 1)  # \b and $ see the character after a match
        self.options = json.dumps([patterns, ignore_case, max_length])
        self._longest = max_length

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.options,)

    def score(self, text: str) -> Score:
        """The places that match; unscored if the text was made to take too long."""
        deadline = thread_time() + (_SECONDS + _SECONDS_PER_CHARACTER * len(text)) * len(self._kinds)
        data = text.encode("utf-8", "replace")  # a lone surrogate becomes a question mark, one for one
        width = 1 if len(data) == len(text) else 4
        try:
            found = [
                (start, end, kind.name)
                for kind in self._kinds
                for start, end in _in_characters(self._matches(kind.compiled, data, width, deadline), data, width)
            ]
        except _SlowError:
            why = "a pattern matches nearly everywhere in this text, which takes too long; set max_length lower"
            return Score.not_scored(why)
        return self.joined(merge_spans(found))

    def _matches(self, compiled: Any, data: bytes, width: int, deadline: float) -> Iterator[tuple[int, int]]:
        """The match at every start, of those that overlap one for all; where there is none it leaps."""
        at, step = 0, _LARGE_STEP
        begun = reached = 0
        while at < len(data):
            match = compiled.search(data, at, at + step + width * self._longest)
            start, end = (len(data), 0) if match is None else match.span()
            if start >= at + step:
                at, step = at + step, min(2 * step, _LARGE_STEP)
                continue
            if end - start > self._longest and (most := _end(data, start, self._longest)) < end:
                match = compiled.match(data, start, most)
                end = start if match is None else match.end()
            if end > start:
                if start >= reached:
                    if reached > begun:
                        yield begun, reached
                    begun = start
                reached = max(reached, end)
            at, step = start + 1, _STEP
            if thread_time() > deadline:
                raise _SlowError
        if reached > begun:
            yield begun, reached


def _end(data: bytes, start: int, longest: int) -> int:
    """Where so many characters end that start here."""
    return start + len(data[start : start + 4 * longest].decode("utf-8", "ignore")[:longest].encode())


def _in_characters(spans: Iterator[tuple[int, int]], data: bytes, width: int) -> Iterator[tuple[int, int]]:
    if width == 1:
        yield from spans
        return
    place = counted = 0  # the same place, in bytes and in characters
    for start, end in spans:
        counted += len(data[place:start].decode())
        length = len(data[start:end].decode())
        yield counted, counted + length
        place, counted = end, counted + length


class _SlowError(Exception):
    """The text takes more time than any text should."""


def _again(options: str) -> Regex:
    patterns, ignore_case, max_length = json.loads(options)
    return Regex([(name, pattern) for name, pattern in patterns], ignore_case=ignore_case, max_length=max_length)


def _compiled(pattern: str, *, ignore_case: bool) -> Any:
    try:
        re2: Any = import_module("re2")
    except ModuleNotFoundError:
        msg = r'regex() needs google-re2: pip install "llmguard-middleware[regex]"'
        raise ConfigurationError(msg) from None
    options = re2.Options()
    options.never_capture, options.log_errors, options.case_sensitive = True, False, not ignore_case
    if "\\C" in pattern.replace("\\\\", ""):
        msg = f"regex() cannot take {json.dumps(pattern)}: \\C is a part of a character; write . or (?s:.)"
        raise ConfigurationError(msg)
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        msg = f"regex() cannot take {json.dumps(pattern)}: {_why(error)}"
        raise ConfigurationError(msg) from None
    if compiled.programsize > _LARGEST:
        msg = f"regex() cannot take {json.dumps(pattern)}: it is too large; repeat less, or write several patterns"
        raise ConfigurationError(msg)
    if compiled.search("") is not None:
        msg = f"regex() cannot take {json.dumps(pattern)}: it matches the empty text, and so every text"
        raise ConfigurationError(msg)
    return compiled


def _why(error: Exception) -> str:
    raw = error.args[0] if error.args else ""
    said = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else "it is no text in UTF-8"
    if re.search(r"\(\?(?:[=!>(]|<[=!]|P\Z)|invalid escape sequence: \\[1-9Z]|bad repetition operator: \S*\+\Z", said):
        return f"{said}; RE2 has no look-ahead, look-behind, back-reference or possessive repetition (\\z is its \\Z)"
    return said


def regex(
    patterns: str | Sequence[str] | Mapping[str, str | Sequence[str]],
    *,
    kind: str = "MATCH",
    ignore_case: bool = False,
    max_length: int = 1000,
) -> Regex:
    r"""Find what patterns of yours match, in RE2's syntax (https://github.com/google/re2/wiki/Syntax).

    No pattern can hang the application: the time is linear in the text. Needs the extra `[regex]`. Every place where a
    pattern matches counts; those that overlap are one span.

    Args:
        patterns: one, several, or several by the kinds that their spans are called:
            `{"ORDER": r"ORD-\d{6}", "TICKET": [r"T\d+", r"#\d+"]}`.
        kind: what the spans are called, for patterns without a name.
        ignore_case: whether upper and lower case are the same.
        max_length: characters of the longest match, at most 10,000: what matches in as many from its start. A stream
            holds so many back; so give what your patterns need.

    Raises:
        ConfigurationError: if google-re2 is not installed, RE2 cannot take a pattern, or a pattern matches everywhere.
    """
    longest: object = max_length  # a setting in a file may be anything
    if isinstance(longest, bool) or not isinstance(longest, int) or not 1 <= longest <= _LONGEST:
        msg = f"max_length is {longest!r}; it must be a whole number of characters from 1 to {_LONGEST}"
        raise ConfigurationError(msg)
    named: Mapping[Any, Any] = patterns if isinstance(patterns, Mapping) else {kind: patterns}
    pairs = [(name, one) for name, given in named.items() for one in _several(given)]
    if not pairs or not all(isinstance(name, str) and name and isinstance(one, str) and one for name, one in pairs):
        msg = r'regex() needs patterns, for example regex(r"ORD-\d{6}") or regex({"ORDER": r"ORD-\d{6}"})'
        raise ConfigurationError(msg)
    return Regex(pairs, ignore_case=ignore_case, max_length=longest)


def _several(given: Any) -> Sequence[Any]:
    return given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
