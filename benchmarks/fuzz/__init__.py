"""Fuzzed inputs over every inline scorer: `python -m benchmarks.fuzz`."""

from ._limits import limit
from ._making import MAKES, Inline, inline_scorers
from ._run import Finding, Report, fuzz, fuzz_dense, fuzz_giants
from ._texts import Giant, giants, text

__all__ = [
    "MAKES",
    "Finding",
    "Giant",
    "Inline",
    "Report",
    "fuzz",
    "fuzz_dense",
    "fuzz_giants",
    "giants",
    "inline_scorers",
    "limit",
    "text",
]
