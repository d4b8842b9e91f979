"""What a Runnable stores for its next call: no placeholders, whose originals nobody would know by then."""

from __future__ import annotations

from functools import partial
from typing import Any

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware._policy import Policy

from .._kinds import is_a
from .._outer import pseudonymizing

__all__ = ["check_stored"]


def check_stored(thing: Any, guard: Guard) -> None:
    """Refuse pseudonyms inside of what keeps a history, unless a vault keeps the originals.

    Raises:
        ConfigurationError: saying what to do.
    """
    if is_a(thing, "langchain_core.runnables.history", "RunnableWithMessageHistory"):
        what, instead = "the history of", "write RunnableWithMessageHistory(protect(chain, guard), ...)"
    elif getattr(thing, "checkpointer", None):
        what, instead = "the checkpoints of", "put GuardMiddleware(guard) into the agent, or protect the models inside"
    else:
        return
    where = f"protect({thing.get_name()})"
    guard.require(f"{where}, which stores", partial(_check, where, what, instead))


def _check(where: str, what: str, instead: str, policy: Policy) -> None:
    for rule in pseudonymizing(policy):
        if getattr(rule.remedy, "vault", None) is None:
            msg = (
                f'rule "{rule.name}" gives placeholders that only one call can put back, and {what} {where} would '
                f'store them: {instead}, or use action="redact"'
            )
            raise ConfigurationError(msg)
