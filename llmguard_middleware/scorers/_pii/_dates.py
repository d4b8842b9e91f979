"""Dates, where a number could be something else."""

from __future__ import annotations

import re

__all__ = ["is_date"]

_MONTH, _DAY = r"(?:0?[1-9]|1[0-2])", r"(?:[12][0-9]|3[01]|0?[1-9])"
_DATE = re.compile(
    rf"(?:(?:19|20)[0-9]{{2}}(?:\. ?|([-/])){_MONTH}(?:\. ?|\1){_DAY}"
    rf"|(?:19|20)[0-9]{{2}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    rf"|{_DAY}([-./]){_DAY}\2(?:19|20)[0-9]{{2}})(?![0-9])"
)


def is_date(text: str, start: int) -> bool:
    """Whether a date starts here: 2026-10-04, 2026. 10. 4, 20261004, 10/4/2026 or 4.10.2026."""
    return _DATE.match(text, start) is not None
