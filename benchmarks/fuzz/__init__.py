"""Fuzzed inputs over every inline scorer: `python -m benchmarks.fuzz`."""

from ._making import MAKES, Inline, inline_scorers
from ._run import Finding, Report, fuzz
from ._texts import giants, text

__all__ = ["MAKES", "Finding", "Inline", "Report", "fuzz", "giants", "inline_scorers", "text"]
