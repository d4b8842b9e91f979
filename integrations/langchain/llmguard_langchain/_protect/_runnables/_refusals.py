"""Refusal mode: what a stopped call answers with, in the shape of the answers that its caller expects."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, get_args, get_origin

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from llmguard_middleware import ConfigurationError, Guard

__all__ = ["piece_of", "refusal_of"]


def refusal_of(thing: Any, guard: Guard) -> Any:
    """A text or a message that says what the guard's `refusal` does; None if the guard raises.

    Raises:
        ConfigurationError: if this Runnable's answers are neither.
    """
    if guard.refusal is None:
        return None
    try:
        kinds = _flat(thing.OutputType)
    except (TypeError, AttributeError, NotImplementedError):  # it does not say
        return guard.refusal
    if any(issubclass(kind, BaseMessage) for kind in kinds):
        return AIMessage(guard.refusal)
    if not kinds or str in kinds:
        return guard.refusal
    msg = (
        f"protect({thing.get_name()}) cannot answer in refusal mode, since it gives {kinds[0].__name__}: build the "
        "guard without refusal and catch GuardrailViolation, or let it give a text or a message"
    )
    raise ConfigurationError(msg)


def piece_of(refusal: Any) -> Any:
    """What a stream says in place of a whole answer."""
    return AIMessageChunk(content=refusal.content) if isinstance(refusal, AIMessage) else refusal


def _flat(kind: Any) -> list[type]:
    if isinstance(kind, type):
        return [] if kind is object else [kind]
    origin = get_origin(kind)
    if isinstance(origin, type) and origin not in (Annotated, UnionType):
        return [origin]
    return [one for part in get_args(kind) for one in _flat(part)]
