"""What judges may cost: so many calls, tokens or dollars, counted together by all that share a budget."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..._checks import expect_count, is_number
from ..._forks import renewed_in_children
from ...errors import ConfigurationError, nearest

__all__ = ["Budget", "Spent", "budget_of"]

_NAMES = ("calls", "tokens", "usd")
_PARTS = 10**12  # of a dollar: a token costs some millions of these
_EXAMPLE = 'for example budget={"calls": 1000, "usd": 5.0}'


def _whole(usd: float) -> int:
    """Dollars as whole parts, which add up without an error."""
    return round(usd * _PARTS)


class Budget:
    """A cap on what judges cost from now on, in this process; give the same one to several to have them share it.

    Calls are counted before they are made, tries that fail included: there are never more. What a call costs in tokens
    and dollars is known only afterwards, so each one under way is reckoned at the dearest so far, and the first is made
    alone. So what is spent never exceeds the cap by more than one call costs beyond the dearest before it.

    Args:
        calls: how often models may be asked.
        tokens: how many they may take, those of questions and of replies together.
        usd: how many dollars, by the price list of the extra `cost` or what LiteLLM says.

    Raises:
        ConfigurationError: if there is no cap, or it is no number from 0 up.
    """

    def __init__(self, *, calls: int | None = None, tokens: int | None = None, usd: float | None = None) -> None:
        if calls is tokens is usd is None:
            msg = f"a budget caps calls, tokens or usd, {_EXAMPLE}"
            raise ConfigurationError(msg)
        for name, count in (("calls", calls), ("tokens", tokens)):
            if count is not None:
                expect_count(count, f"{name} of a budget", 0)
        if usd is not None and not (is_number(usd) and 0 <= usd < float("inf")):
            msg = f"usd of a budget is {usd!r}; give dollars, 0 or more"
            raise ConfigurationError(msg)
        self.calls, self.tokens, self.usd = calls, tokens, usd
        self._caps: dict[str, int | None] = {"tokens": tokens, "usd": None if usd is None else _whole(usd)}
        self._made = 0
        self._spent = {"tokens": 0, "usd": 0}
        self._dearest: dict[str, int] = {}
        self._blind = ""
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: calls under way are the parent's."""
        self._lock = threading.Lock()
        self._under_way = 0

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.begin_anew()
        renewed_in_children(self)

    @property
    def spent(self) -> Spent:
        """What was spent so far."""
        with self._lock:
            return Spent(self._made, self._spent["tokens"], self._spent["usd"] / _PARTS)

    def take(self) -> str:
        """Begin a call: "taken", "wait" if that depends on what is under way, or a sentence if nothing is left."""
        with self._lock:
            if self.calls is not None and self._made >= self.calls:
                return f"the budget of {self.calls} calls is spent"
            if self._blind:
                return self._blind
            for name in ("tokens", "usd"):
                if (said := self._short(name)) is not None:
                    return said
            self._made += 1
            self._under_way += 1
            return "taken"

    def _short(self, name: str) -> str | None:
        if (cap := self._caps[name]) is None:
            return None
        dearest, spent = self._dearest.get(name), self._spent[name]
        if dearest is None:
            if self._under_way:
                return "wait"
            return None if spent < cap else self._over(name)
        if spent < cap and spent + (self._under_way + 1) * dearest <= cap:
            return None
        return "wait" if self._under_way and spent < cap else self._over(name)

    def _over(self, name: str) -> str:
        return f"the budget of {getattr(self, name):g} {name} is spent, or would be by another call"

    def settle(self, tokens: int | None, usd: float | None) -> None:
        """End a call that was taken and answered, with what it cost; None where nobody knows."""
        with self._lock:
            self._under_way = max(0, self._under_way - 1)
            costs: dict[str, int | None] = {"tokens": tokens, "usd": None if usd is None else _whole(usd)}
            for name, cost in costs.items():
                if cost is not None:
                    self._spent[name] += cost
                    self._dearest[name] = max(cost, self._dearest.get(name, 0))
                elif self._caps[name] is not None:
                    self._blind = (
                        f"the budget in {name} cannot be kept: what this model takes is not known; cap calls instead"
                    )

    def give_up(self, *, failed: bool) -> None:
        """End a call that was taken and not answered: one that `failed` cost nothing, another what the dearest did."""
        with self._lock:
            self._under_way = max(0, self._under_way - 1)
            if not failed:
                for name, cost in self._dearest.items():
                    self._spent[name] += cost


class Spent:
    """So many calls, tokens and dollars."""

    __slots__ = ("calls", "tokens", "usd")

    def __init__(self, calls: int, tokens: int, usd: float) -> None:
        self.calls, self.tokens, self.usd = calls, tokens, usd

    def __repr__(self) -> str:
        return f"Spent(calls={self.calls}, tokens={self.tokens}, usd={self.usd:g})"


def budget_of(given: Any) -> Budget | None:
    """The budget that a setting says: a Budget, its caps by name, or None.

    Raises:
        ConfigurationError: saying what to write.
    """
    if given is None or isinstance(given, Budget):
        return given
    if not isinstance(given, Mapping):
        msg = f"budget is {type(given).__name__}; give its caps by name, {_EXAMPLE}"
        raise ConfigurationError(msg)
    if stranger := next((name for name in given if name not in _NAMES), None):
        msg = f'unknown cap "{stranger}" in budget: {nearest(str(stranger), _NAMES)}'
        raise ConfigurationError(msg)
    return Budget(**given)
