"""Root: what the query of an attached engine shares with the guarded parts below it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType

from llmguard_middleware import Guard
from llmguard_middleware._flow import Flow

__all__ = ["Root", "root_of"]

_roots: ContextVar[tuple[Root, ...]] = ContextVar("llmguard_llamaindex_roots", default=())


class Root:
    """One query under one guard.

    Attributes:
        documents: texts and metadata that the retrieval guardrails let pass, so that none is judged twice.
        admitted: questions that the input guardrails let pass, so that a retriever below does not judge them again.
        released: answers that the guarded LLM let go, so that the same text is not judged again at the boundary.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._above = root_of(flow.guard)  # that of an engine which asks this one
        self._context: tuple[str, ...] = ()
        self.admitted: set[str] = set()
        self.documents: set[tuple[str, str]] = set()
        self.released: set[str] = set()
        self._pieces: list[str] = []
        self._thoughts: list[str] = []

    @property
    def context(self) -> tuple[str, ...]:
        """The documents retrieved last."""
        return self._context

    @context.setter
    def context(self, texts: tuple[str, ...]) -> None:
        self._context = texts
        if self._above is not None:
            self._above.context = texts

    def active(self) -> _Active:
        """Make this query the current one, as `Flow.active` does."""
        return _Active(self)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Take note of what guarded parts let go inside, where the call itself is current already."""
        token = _roots.set((*_roots.get(), self))
        try:
            yield
        finally:
            with suppress(ValueError):  # as in Flow.active
                _roots.reset(token)

    def heard(self, text: str, thought: str = "") -> bool:
        """Whether a guarded LLM below let this text go, whole or as a part of what it streamed, and this thinking."""
        said = text in self.released or text in "".join(self._pieces)
        return said and (not thought or thought in "".join(self._thoughts))

    def passed(self, piece: str, thought: str = "") -> None:
        """A guarded LLM or engine below lets this piece of a streamed answer go, and this piece of its thinking."""
        self._pieces.append(piece)
        if thought:
            self._thoughts.append(thought)

    def left(self, piece: str) -> None:
        """This query lets this piece of its own answer go."""
        if self._above is not None:
            self._above.passed(piece)

    def answers(self, text: str) -> None:
        """This query lets its whole answer go."""
        if self._above is not None:
            self._above.released.add(text)

    def taken(self) -> str:
        """What guarded LLMs below let go since this was asked last."""
        pieces, self._pieces = self._pieces, []
        return "".join(pieces)

    def check(self) -> None:
        """Raise what stopped a call below, if anything did: an engine that swallows it does not get away with it."""
        if self.flow.violated:
            self.flow.root.check()


class _Active:
    """The context manager of `Root.active`; written out, as that of a Flow is."""

    __slots__ = ("_flow", "_root", "_token")

    def __init__(self, root: Root) -> None:
        self._root, self._flow = root, root.flow.active()

    def __enter__(self) -> None:
        self._token = _roots.set((*_roots.get(), self._root))
        self._flow.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flow.__exit__(kind, error, trace)
        with suppress(ValueError):  # as in Flow.active
            _roots.reset(self._token)


def root_of(guard: Guard) -> Root | None:
    """The innermost query under this guard that this code runs inside of."""
    roots = _roots.get()
    return next((root for root in reversed(roots) if root.flow.guard is guard), None) if roots else None
