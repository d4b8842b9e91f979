"""Answers in a fence of three backticks, as chat models like to write them."""

from __future__ import annotations

import re

__all__ = ["unfenced"]

_FENCED = re.compile(r"\s*```([A-Za-z0-9_+-]*)[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


def unfenced(text: str, *languages: str) -> str:
    """What stands in the fence, if the whole text is one of any of these languages or of none; else the text itself."""
    block = _FENCED.match(text)
    return block[2] if block and block[1].lower() in ("", *languages) else text
