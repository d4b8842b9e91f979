"""Fuzz every inline scorer: no exception, no score that cannot be, no more CPU than `_limits.py` says for its size.

Each text goes to each scorer: random bytes as text, lone surrogates, all scripts, combining marks, what the detectors
look for cut, doubled and mixed, deep JSON, repeats; 10 MB of one unit for each 20,000 texts. One text in fifty is
also redacted as a stream and compared with the whole. Then 256 KB each of every unit, of tables and of logs. A finding
names its seed and its text.

Run: python -m benchmarks.fuzz [--runs 1000000] [--seed 1] [--scorers pii secrets] [--only 123] [--minutes 60]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from time import monotonic

from ._making import inline_scorers
from ._run import Report, fuzz, fuzz_dense, fuzz_giants
from ._texts import giants

_TELL_EVERY = 10_000
_GIANT_EVERY = 20_000


def main() -> int:
    """The command: 1 if there was anything to mend."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many texts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scorers", nargs="*", default=[], help="their names; all inline ones if none is given")
    parser.add_argument("--only", type=int, help="one text again, by its number")
    parser.add_argument("--giants", type=int, help="how many texts of 10 MB; one for each 20,000 unless said")
    parser.add_argument("--minutes", type=float, help="stop after so many")
    asked = parser.parse_args()
    scorers = inline_scorers(asked.scorers)
    begun = monotonic()

    shown = 0

    def seen(report: Report) -> None:
        nonlocal shown
        for finding in report.findings[shown:]:
            print(finding, flush=True)
        shown = len(report.findings)
        if report.texts % _TELL_EVERY == 0:
            print(f"{report.texts:,} texts, {len(report.findings)} findings, {monotonic() - begun:.0f} s", flush=True)

    def numbers() -> itertools.takewhile[int]:
        end = None if asked.minutes is None else begun + 60 * asked.minutes
        return itertools.takewhile(lambda _: end is None or monotonic() < end, range(asked.runs))

    if asked.only is not None:
        report = fuzz(scorers, asked.seed, [asked.only])
    else:
        report = fuzz(scorers, asked.seed, numbers(), seen)
        fuzz_dense(scorers, report)
        count = asked.giants if asked.giants is not None else max(1, asked.runs // _GIANT_EVERY)
        fuzz_giants(scorers, asked.seed, giants(asked.seed, count), report)
    print(
        f"seed {asked.seed}: {report.texts:,} texts over {len(scorers)} scorers "
        f"({', '.join(one.label for one in scorers)}), {report.scores:,} scores, {report.streams:,} streams, "
        f"and {report.dense} dense texts; "
        f"{len(report.findings)} findings, {monotonic() - begun:.0f} s"
    )
    for name, (rate, where) in sorted(report.slowest.items()):
        print(f"slowest {name}: {rate:.0f} ms/MB ({where})")
    for finding in report.findings[shown:]:
        print(finding)
    return 1 if report.findings else 0


sys.exit(main())
