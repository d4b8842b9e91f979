"""The trace searches of the READMEs, and what they find among captured spans.

As much of TraceQL and of Jaeger's tag search as the READMEs use: conditions on attributes of one span, all to be true.
"""

from __future__ import annotations

import operator
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from llmguard_middleware.testing import CapturedSpan

_ROW = re.compile(r"^\| (?P<question>[^|]+) \| `(?P<traceql>\{(?:\\\||[^|])+)` \| `(?P<tags>[^|]+)` \|$", re.MULTILINE)
_CONDITION = re.compile(r"(?P<field>span\.[\w.]+|name) (?P<op>=~|!=|=|<|>) (?P<value>\"[^\"]*\"|[\d.]+|nil)")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Search:
    """One row of the table: a question, its TraceQL and its Jaeger tags."""

    question: str
    traceql: str
    tags: str

    @property
    def attributes(self) -> set[str]:
        """Every attribute that it names, in its conditions and in what it selects."""
        return set(re.findall(r"span\.([\w.]+)", self.traceql)) | set(_pairs(self.tags))

    def found(self, spans: Iterable[CapturedSpan]) -> list[CapturedSpan]:
        """What Tempo would show."""
        return [span for span in spans if matches(self.traceql, span)]

    def found_by_jaeger(self, spans: Iterable[CapturedSpan]) -> list[CapturedSpan]:
        """The spans for which Jaeger would show their traces."""
        wanted = _pairs(self.tags)
        return [s for s in spans if all(str(s.attributes.get(key)) == value for key, value in wanted.items())]


def searches(readme: Path) -> list[Search]:
    """The rows of a README's table of questions."""
    rows = _ROW.finditer(readme.read_text(encoding="utf-8"))
    return [Search(row["question"], row["traceql"].replace("\\|", "|"), row["tags"]) for row in rows]


def matches(traceql: str, span: CapturedSpan) -> bool:
    """Whether a span is in the braces of a query.

    Raises:
        ValueError: for what is not understood here.
    """
    inside = re.match(r"\{ (.+?) \}", traceql)
    if inside is None:
        raise ValueError(traceql)
    return all(_true(condition, span) for condition in inside[1].split(" && "))


def _true(condition: str, span: CapturedSpan) -> bool:
    parsed = _CONDITION.fullmatch(condition)
    if parsed is None:
        raise ValueError(condition)
    is_name = parsed["field"] == "name"
    there: Any = span.name if is_name else span.attributes.get(parsed["field"].removeprefix("span."))
    value = parsed["value"]
    if value == "nil":
        return _OPERATORS[parsed["op"]](there is None, True)
    if there is None:
        return False
    if parsed["op"] == "=~":
        return re.fullmatch(value.strip('"'), there) is not None
    if isinstance(there, str) != value.startswith('"'):
        return False  # TraceQL compares only what is of one type
    return _OPERATORS[parsed["op"]](there, value.strip('"') if isinstance(there, str) else float(value))


def _pairs(tags: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(tags))
