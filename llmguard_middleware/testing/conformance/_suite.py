"""Every scenario of an adapter."""

from __future__ import annotations

from ..._call import STAGES
from ._acting import acting, unreached
from ._adapter import Adapter
from ._calling import CALLING
from ._failing import FAILING
from ._scenario import Claim, Scenario
from ._streaming import STREAMING
from ._telling import TELLING
from ._watching import WATCHING

__all__ = ["scenarios"]


def scenarios(adapter: Adapter) -> list[Scenario]:
    """Every claim about every mode of an adapter, those that it declares it `cannot` keep included."""
    claims: list[Claim] = acting(tuple(stage for stage in STAGES if stage in adapter.stages))
    claims += CALLING
    claims += [unreached(stage) for stage in STAGES if stage not in adapter.stages]
    claims += [*STREAMING, *FAILING, *WATCHING, *TELLING]
    return [
        Scenario(f"{claim.name}/{mode}", claim.says, mode, claim)
        for claim in claims
        for mode in adapter.modes
        if claim.fits(adapter, mode)
    ]
