"""What GuardCallbacks tell the protected model whose start they have just seen: what lies above, whose span it is.

LangChain gives a model's `_generate` its run, and so its callbacks. It gives `_stream` neither, so there the start and
the model meet on a ticket: made when LangChain asks the model for its parameters, told to the callbacks in the run's
metadata, and kept in a ContextVar. Every call makes a ticket of its own, so that none can pick up another's.

Whatever else is protected (a retriever, a tool, a chain) has its span before LangChain tells callbacks of the run: it
asks them what lies above, chooses the run's id and claims it, and they leave that run's span to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary, ref

from opentelemetry.context import Context

from llmguard_middleware import Guard
from llmguard_middleware._flow import Flow, surrounded
from llmguard_middleware._root import Root
from llmguard_middleware._scope import Captured, captured
from llmguard_middleware.telemetry._call_span import CallSpan

__all__ = [
    "MARK",
    "Handoff",
    "above",
    "claim",
    "claimed",
    "conceal",
    "concealed",
    "handed",
    "handed_each",
    "mark",
    "marked",
    "remembered",
    "report",
    "said_with",
    "spoken_for",
]

T = TypeVar("T")

MARK = "llmguard"  # in the metadata of a run: its model is protected, by these guards


@dataclass(frozen=True)
class Handoff:
    """From one callback: its guard; False if something of it lies above; the context above, or the span to join.

    `root` is what the outermost call of that guard shares.
    """

    guard: Guard
    outermost: bool | None = None
    parent: Context | None = None
    span: CallSpan | None = None
    root: Root | None = None


class _Ticket:
    def __init__(self, params: Mapping[str, Any], owner: int) -> None:
        self.params: Mapping[str, Any] | None = params  # which LangChain asked for, and the call need not ask for again
        self.owner = owner
        self.starts: dict[UUID, list[Handoff]] = {}  # of one call: several, if it has several prompts


_numbers = count(1)
_tickets: WeakValueDictionary[str, _Ticket] = WeakValueDictionary()
_ticket: ContextVar[_Ticket | None] = ContextVar("llmguard_langchain_ticket", default=None)
# Plain dicts of weak references: every run of every chain is looked for in them, and mostly they are empty.
_claimed: dict[UUID, ref[Flow]] = {}
_concealed: dict[UUID, ref[Any]] = {}
# What the outer of two guards on one model was told, for the inner one.
_served: ContextVar[Sequence[Handoff]] = ContextVar("llmguard_langchain_served", default=())


def mark(guard: Guard, ls_params: Mapping[str, Any], owner: object = None) -> dict[str, str]:
    """What a protected model adds to its parameters: its guards, outermost first, and the number of a new ticket."""
    words = ls_params.get(MARK)
    if not words:
        ticket, words = _Ticket(ls_params, id(owner)), f"#{next(_numbers)}"
        _tickets[words] = ticket
        _ticket.set(ticket)
        said = captured()
    else:
        said = getattr(words, "said", None)
    told: Any = f"{_key(guard)} {words}"
    if said is not None:
        told = _Mark(told)
        told.said = said
    return {MARK: told}


class _Mark(str):
    """With what was said where LangChain asked: event streams of version 3 begin when read, and are no generators."""

    __slots__ = ("said",)
    said: Captured


def said_with(run_manager: Any) -> Captured | None:
    """What was said where the protected model was called whose run this is; None if nothing was, or nobody knows."""
    return None if run_manager is None else getattr((run_manager.metadata or {}).get(MARK), "said", None)


def remembered(model: object) -> Mapping[str, Any] | None:
    """The parameters that LangChain has just asked this model for; each time once."""
    ticket = _ticket.get()
    if ticket is None or ticket.owner != id(model):
        return None
    params, ticket.params = ticket.params, None
    return params


def marked(guard: Guard, metadata: Mapping[str, Any]) -> bool:
    """Whether the model with these parameters (or this run's metadata) is protected by the guard."""
    words = metadata.get(MARK)
    return bool(words) and _key(guard) in str(words).split()


def report(metadata: Mapping[str, Any], run_id: UUID, handoff: Handoff) -> None:
    """A callback tells the protected model of a start."""
    words = str(metadata.get(MARK) or "").split()
    if words and (ticket := _tickets.get(words[-1])) is not None:
        ticket.starts.setdefault(run_id, []).append(handoff)


def handed(model: object, run_manager: Any) -> Sequence[Handoff]:
    """What the callbacks told of this call of `model`; its `run_manager`, where LangChain gives one."""
    if surrounded(model):
        return _served.get()
    found: Sequence[Handoff] = ()
    if run_manager is not None:
        runs = (getattr(handler, "handed_over", None) for handler in run_manager.handlers)
        found = [handoff for told in runs if told is not None and (handoff := told(run_manager.run_id)) is not None]
    elif (ticket := _ticket.get()) is not None and ticket.starts:
        found = ticket.starts.pop(next(iter(ticket.starts)))
    _served.set(found)
    return found


def handed_each(model: object, run_manager: Any, prompts: int) -> Sequence[Sequence[Handoff]]:
    """`handed`, for a call with several prompts, whose runs start one after another. LangChain gives one run only."""
    if prompts == 1:
        return [handed(model, run_manager)]
    ticket = _ticket.get()
    starts = [] if ticket is None or surrounded(model) else list(ticket.starts.values())
    return [*starts[:prompts], *([()] * (prompts - len(starts)))]


def above(callbacks: Any) -> Sequence[Handoff]:
    """What the GuardCallbacks among a call's callbacks tell of what lies above it."""
    parent = getattr(callbacks, "parent_run_id", None)
    handlers = getattr(callbacks, "handlers", callbacks) or ()
    return [told(parent) for handler in handlers if (told := getattr(handler, "lies_above", None)) is not None]


def claim(run_id: UUID, flow: Flow) -> None:
    """Say that the run of this id, which has not started yet, is the call of this flow."""
    _remember(_claimed, run_id, flow)


def claimed(run_id: UUID) -> Flow | None:
    """The flow whose call this run is, if it is a protected retriever's, tool's or chain's."""
    if not _claimed or (found := _claimed.get(run_id)) is None:
        return None
    return found()


def spoken_for(run_id: UUID) -> bool:
    """Whether somebody has said anything of this run: mostly nobody has said anything of any."""
    return bool(_claimed or _concealed) and (claimed(run_id) is not None or concealed(run_id))


def conceal(run_id: UUID, keeper: object) -> None:
    """Say that the run of this id, which has not started yet, is no call: it only shows another run to its reader.

    It holds for as long as `keeper` lives.
    """
    _remember(_concealed, run_id, keeper)


def concealed(run_id: UUID) -> bool:
    """Whether this run is no call, so that what lies right below it lies below what is above it."""
    return bool(_concealed) and run_id in _concealed


def _remember(where: dict[UUID, ref[T]], run_id: UUID, thing: T) -> None:
    """For as long as the thing lives."""

    def forget(gone: ref[T]) -> None:
        if where.get(run_id) is gone:
            del where[run_id]

    where[run_id] = ref(thing, forget)


def _key(guard: Guard) -> str:
    # By identity, since two guards may share a name.
    return f"{guard.name}:{id(guard):x}"
