"""A table of what an adapter keeps: one line for each claim, one column for each of its modes."""

from __future__ import annotations

from collections.abc import Iterable

from ._adapter import Adapter
from ._scenario import Result
from ._suite import scenarios

__all__ = ["report", "table"]


async def report(adapter: Adapter) -> list[Result]:
    """Run every scenario of an adapter, and go on where one fails."""
    results: list[Result] = []
    for scenario in scenarios(adapter):
        try:
            results.append(await scenario.run(adapter))
        except AssertionError as error:
            results.append(Result(scenario, "failed", "", str(error)))
    return results


def table(adapter: Adapter, results: Iterable[Result]) -> str:
    """A Markdown table: "enforced", "refused: why", "gap: why" or "failed"; nothing where a mode has no such claim."""
    modes = [mode.name for mode in adapter.modes]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        about = result.scenario.about
        cell = f"{result.status}: {result.why}" if result.why else result.status
        rows.setdefault((about.topic, about.what), {})[result.scenario.mode.name] = cell.replace("|", "\\|")
    lines = [["stage", "what", *modes], ["---"] * (2 + len(modes))]
    lines += [[topic, what, *(cells.get(mode, "") for mode in modes)] for (topic, what), cells in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
