"""Scenario: one claim about one mode of an adapter, and what came of trying it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from ._adapter import Adapter, Mode
from ._trial import Refused, Trial

__all__ = ["Claim", "Result", "Scenario", "claim"]

Status = Literal["enforced", "refused", "gap", "failed"]
_SECONDS = 20.0  # a scenario that takes longer hangs
_PATIENCE, _SHORT_PATIENCE = 3.0, 0.2  # seconds; short where it is known that what is waited for will not come


@dataclass(frozen=True)
class Claim:
    """What an adapter must keep, whatever the mode.

    Attributes:
        topic: a stage, or another heading.
        what: the rest of the name.
        says: the claim, one sentence.
        body: tries it; raises AssertionError if it does not hold.
        needs: the stages that an adapter must reach for this to make sense.
        streamed, is_async: for modes of this kind only, if not None.
    """

    topic: str
    what: str
    says: str
    body: Callable[[Trial], Awaitable[None]]
    needs: tuple[str, ...] = ()
    streamed: bool | None = None
    is_async: bool | None = None

    @property
    def name(self) -> str:
        return f"{self.topic}-{self.what}"

    def fits(self, adapter: Adapter, mode: Mode) -> bool:
        return (
            all(stage in adapter.stages for stage in self.needs)
            and self.streamed in (None, mode.streamed)
            and self.is_async in (None, mode.is_async)
        )


def claim(
    topic: str, what: str, *, needs: Sequence[str] = ("input", "output"), **kinds: Any
) -> Callable[[Callable[[Trial], Awaitable[None]]], Claim]:
    """Make a claim of a function: its docstring says it, its body tries it."""

    def made(body: Callable[[Trial], Awaitable[None]]) -> Claim:
        return Claim(topic, what, (body.__doc__ or "").strip(), body, tuple(needs), **kinds)

    return made


@dataclass(frozen=True)
class Result:
    """What came of a scenario.

    Attributes:
        scenario: which one.
        status: `enforced`; `refused`, when the guard was attached; a declared `gap`; or `failed`.
        why: the reason that the adapter declares.
        seen: what the adapter said as it refused, or what happened in place of what is claimed.
    """

    scenario: Scenario
    status: Status
    why: str = ""
    seen: str = ""


@dataclass(frozen=True)
class Scenario:
    """One claim about one mode of an adapter.

    Attributes:
        id: `topic-what/mode`, the same in every version.
        claim: one sentence.
    """

    id: str
    claim: str
    mode: Mode
    about: Claim

    def __str__(self) -> str:
        return self.id

    async def run(self, adapter: Adapter) -> Result:
        """Try it.

        Raises:
            AssertionError: if the adapter does not do what it should, or what it declares that it cannot do.
        """
        cannot, gap = _declared(adapter.cannot, self.id), _declared(adapter.gaps, self.id)
        try:
            await asyncio.wait_for(self._tried(adapter, _PATIENCE if gap is None else _SHORT_PATIENCE), _SECONDS)
        except Refused as refused:
            if cannot is None:
                msg = f"{self}: {adapter.name} refuses this guard, which `cannot` does not declare: {refused}"
                raise AssertionError(msg) from refused
            return Result(self, "refused", cannot, str(refused))
        except Exception as error:
            seen = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            if gap is not None and cannot is None:
                return Result(self, "gap", gap, seen)
            msg = f"{self}: {self.claim}\nBut: {seen}"
            raise AssertionError(msg) from error
        if cannot is not None:
            msg = f"{self}: {adapter.name} declares that it cannot do this ({cannot}) and did not refuse the guard"
            raise AssertionError(msg)
        if gap is not None:
            msg = f"{self}: this gap ({gap}) is closed; take it out of `gaps`"
            raise AssertionError(msg)
        return Result(self, "enforced")

    async def _tried(self, adapter: Adapter, patience: float) -> None:
        async with Trial(adapter, self.mode, patience) as trial:
            await self.about.body(trial)


def _declared(reasons: Mapping[str, str], scenario: str) -> str | None:
    return next((reason for pattern, reason in reasons.items() if fnmatchcase(scenario, pattern)), None)
