"""Guardrails that race with the model: begun before it is asked, waited for before anything of its answer leaves."""

from __future__ import annotations

from ._judge import Case, Plan, Running, begun, raced
from ._verdict import Verdict

__all__ = ["Races"]


class Races:
    """The races of one call; falsy if there are none under way."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: list[tuple[Case, Running | None]] = []

    def __bool__(self) -> bool:
        return bool(self._begun)

    def start(self, case: Case, deadline: float | None) -> Plan[None]:
        """Have the rules of `case` run from now on."""
        self._begun.append((case, (yield from begun(case, deadline))))

    def next(self) -> Plan[Verdict]:
        """The verdict of the one that was begun first, which then is over."""
        case, running = self._begun.pop(0)
        return (yield from raced(case, running))

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        for case, running in self._begun:
            case.close()
            if running is not None:
                running.cancel()
        self._begun.clear()
