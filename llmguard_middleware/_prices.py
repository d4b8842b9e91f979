"""What tokens cost, for scorers that ask models: the price list that spans are priced with."""

from __future__ import annotations

from functools import lru_cache

from ._call import Usage
from .telemetry._cost import Prices

__all__ = ["usd_of"]


@lru_cache(maxsize=1)
def _list() -> Prices:
    return Prices()


def usd_of(provider: str, models: tuple[str, str], usage: Usage | None) -> float | None:
    """What a call cost in USD; None if nobody knows. `models` are the one that answered and the one that was asked."""
    return _list().usd(provider, models, usage)
