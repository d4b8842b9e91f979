"""One call of LlamaIndex's that has a span, from its method to the end of its answer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel

from llmguard_middleware._asking import Asking
from llmguard_middleware._flow import Flow
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.telemetry._beside import Hush, beneath

if TYPE_CHECKING:
    from ._kinds import Kind

__all__ = ["Run", "current"]

current: ContextVar[Run | None] = ContextVar("llmguard_llamaindex_run", default=None)
_lock = threading.Lock()


class Run:
    """A call under way.

    Attributes:
        id: of LlamaIndex's span; other ids that lead here are those of nested duplicates.
        owner: the object whose method was called.
        outer: the call around it, of the same guard.
        around: the call around it, of any guard.
        ended: what its end is told to; None for what has no span and only stands between two calls.
        flow: the same, if anything is to be judged.
        streams: whether the answer comes in pieces.
    """

    # What few runs have stays with the class.
    streams = False
    over = False
    failure: BaseException | None = None  # of a step: what the run failed with, if it gives nothing
    around: Run | None = None
    heard = True  # since the last sweep
    quiet = 0  # sweeps since it was heard of
    question: Asking | None = None  # of a judge, which it is part of
    begun = False  # its first piece is out
    ends_with: str | None = None  # the span of LlamaIndex's whose end event ends the stream
    first: Any = None  # the first piece and the last ones: they tell whose answer it is and what it took
    last: deque[Any] | None = None
    arrivals: list[float] | None = None  # when it was asked for, and its pieces came
    aliases: tuple[str, ...] = ()
    waits: tuple[int, int, str] | None = None  # of an async stream: who, asked what and how, would be a part of it
    reader: str | None = None  # the span of that part
    unread: Any = None  # a reference to the generator, which is told when it is gone
    options: Mapping[str, Any] = {}
    many = False  # texts to embed, in place of one
    hush: Hush | None = (
        None  # what tells other instrumentations of a stream whose request is sent when it is first read
    )
    sources: Any = None  # documents that a streamed answer is drawn from
    _halves = 0
    _active: Any = None
    _attached: Any = None
    _below: otel.Context | None = None
    _token: Token[Run | None] | None = None

    def __init__(self, calls: Any, id_: str, kind: Kind, owner: Any, outer: Run | None) -> None:
        self.calls, self.id, self.kind, self.owner, self.outer = calls, id_, kind, owner, outer
        self.ended: Flow | Unjudged | None = None
        self.flow: Flow | None = None
        self.request: Any = None

    def enter(self) -> None:
        """Make it the current call, so that spans nest under it; undone by `leave`, in the same context."""
        self._token = current.set(self)
        if self.flow is not None:
            self._active = self.flow.active()
            self._active.__enter__()
        elif self.ended is not None:
            self._below = self.ended.context  # type: ignore[union-attr]  # no flow: an Unjudged
            self._attached = otel.attach(self._below)

    def leave(self) -> None:
        """Make the call around it the current one again."""
        token, self._token = self._token, None
        if token is None:
            return
        try:
            current.reset(token)
            if self._active is not None:
                self._active.__exit__(None, None, None)
            elif self._attached is not None and beneath(otel.get_current()) is self._below:  # or others left theirs
                otel.detach(self._attached)
        except ValueError:  # a coroutine that is thrown away unwinds in another context, with nothing to put back
            pass

    def begins(self, piece: Any) -> None:
        """Its first piece is out: the provider was asked, and the reader's own code runs between the pieces."""
        self.first, self.begun = piece, True
        if self.hush is not None:
            self.hush.over()

    def half(self) -> bool:
        """Whether both the method that began a stream and the thread that writes it down are done."""
        with _lock:
            self._halves += 1
            return self._halves == 2  # noqa: PLR2004 - two halves
