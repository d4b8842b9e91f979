"""A matrix for readers: which call mode enforces which action at which stage, and why not where it does not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..._call import STAGES
from ._adapter import Adapter
from ._scenario import Result, Scenario
from ._suite import scenarios

__all__ = ["check_matrix", "matrix"]

_ACTIONS = ("block", "redact", "replace")
# In streams, what a cell promises is more than that one text is judged.
_ALSO = {"output-block": ("stream-block",), "output-redact": ("stream-redact-in-window", "stream-redact-held")}
_YES, _NO, _RAISED = "✓", "✗", str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_WRITE = "LLMGUARD_WRITE_TABLES"


async def matrix(adapter: Adapter, actions: Sequence[str] = _ACTIONS) -> str:
    """Run what the adapter's modes do at each stage that it reaches; a Markdown table with a footnote for each reason.

    Modes that do the same share a line. Stages that the adapter does not reach are tried too, and named below.

    Raises:
        AssertionError: if a scenario fails, or does not hold what the adapter declares.
    """
    by_id = {scenario.id: scenario for scenario in scenarios(adapter)}
    stages = [stage for stage in STAGES if stage in adapter.stages]
    claims = [f"{stage}-{action}" for stage in stages for action in actions]
    reasons: list[str] = []
    lines: dict[tuple[str, ...], list[str]] = {}
    for mode in map(str, adapter.modes):
        cells = [await _cell(adapter, by_id, claim, mode, reasons) for claim in claims]
        lines.setdefault(tuple(cells), []).append(f"`{mode}`")
    unreached = [
        (stage, by_id.get(f"{stage}-unreached/{adapter.modes[0]}")) for stage in STAGES
    ]  # attaching has no mode
    beyond = [stage for stage, one in unreached if one is not None and (await one.run(adapter)).status == "enforced"]
    head = [f"{stage}: {action}" if action == actions[0] else action for stage in stages for action in actions]
    table = [["", *head], ["---", *[":-:"] * len(head)], *[[" ".join(modes), *cells] for cells, modes in lines.items()]]
    told = "".join(f"| {' | '.join(line)} |\n" for line in table)
    told += "".join(f"\n{_raised(number)} {reason}.\n" for number, reason in enumerate(reasons, 1))
    if beyond:
        told += f"\nRefused when attached: {', '.join(f'`{stage}`' for stage in beyond)}.\n"
    return told


async def _cell(adapter: Adapter, by_id: dict[str, Scenario], claim: str, mode: str, reasons: list[str]) -> str:
    wanted = [f"{name}/{mode}" for name in (claim, *_ALSO.get(claim, ()))]
    results = [await by_id[scenario].run(adapter) for scenario in wanted if scenario in by_id]
    note = next(filter(None, map(_note, results)), "")
    if not note:
        return _YES
    if note not in reasons:
        reasons.append(note)
    return _NO + _raised(reasons.index(note) + 1)


def _note(result: Result) -> str:
    return "" if result.status == "enforced" else f"{result.status}: {result.why}"


def _raised(number: int) -> str:
    return str(number).translate(_RAISED)


def check_matrix(readme: Path, name: str, told: str, command: str) -> None:
    """Check that a README holds this text between `<!-- table: name -->` and `<!-- end -->`.

    With LLMGUARD_WRITE_TABLES=1 in the environment it is written there.

    Args:
        readme: the file.
        name: of the table.
        told: what `matrix` gives.
        command: what the reader of a failure is told to run.

    Raises:
        AssertionError: if it holds something else, or has no such place.
    """
    text = readme.read_text(encoding="utf-8")
    begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
    before, found, rest = text.partition(begin)
    assert found, f"{readme.name} has no line {begin.strip()!r}: put one where the table belongs, and {end!r} below it"
    is_there, _, after = rest.partition(end)
    if os.environ.get(_WRITE) == "1":
        readme.write_text(f"{before}{begin}\n{told}\n{end}{after}", encoding="utf-8")
        return
    assert is_there.strip() == told.strip(), f"{readme.name} is out of date; write it: {_WRITE}=1 {command}"
