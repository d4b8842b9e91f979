"""secrets: credentials by their providers' documented formats."""

from __future__ import annotations

from ._patterns import Kind, PatternScorer, matches, select

__all__ = ["secrets"]

_LONGEST = 512


def _kind(name: str, prefix: str, pattern: str, longest: int) -> Kind:
    # The prefix is a literal of the format, so looking for it first costs next to nothing.
    return Kind(name, matches(rf"(?<![A-Za-z0-9_])(?:{pattern})", trigger=prefix), longest + 2)


_KINDS = (
    _kind("AWS_ACCESS_KEY", "A", r"A(?:KIA|SIA)[0-9A-Z]{16}(?![0-9A-Za-z])", 20),
    _kind("GITHUB_TOKEN", "gh", r"gh[pousr]_[A-Za-z0-9]{36,255}", 260),
    _kind("OPENAI_API_KEY", "sk-", rf"sk-[A-Za-z0-9_\-]{{20,{_LONGEST - 3}}}", _LONGEST),
    _kind("SLACK_TOKEN", "xox", r"xox[abeoprs]-[A-Za-z0-9\-]{10,250}", 256),
    _kind("GOOGLE_API_KEY", "AIza", r"AIza[0-9A-Za-z_\-]{35}", 39),
)

_OPEN_TAIL = r"[A-Za-z0-9_\-]+"


def secrets(*kinds: str) -> PatternScorer[Kind]:
    """Find credentials: AWS_ACCESS_KEY, GITHUB_TOKEN, OPENAI_API_KEY, SLACK_TOKEN, GOOGLE_API_KEY.

    Args:
        kinds: look for these only; all if none is named.

    Raises:
        ConfigurationError: if a kind is unknown.
    """
    return PatternScorer("secrets", select(_KINDS, kinds, "secrets"), _OPEN_TAIL)
