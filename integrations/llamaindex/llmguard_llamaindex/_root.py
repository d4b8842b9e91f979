"""Root: what the query of an attached engine shares with the guarded parts below it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from llmguard_middleware import Guard, GuardrailViolation
from llmguard_middleware._flow import Flow

__all__ = ["Root", "noting", "root_of"]

_roots: ContextVar[tuple[Root, ...]] = ContextVar("llmguard_llamaindex_roots", default=())


class Root:
    """One query under one guard.

    Attributes:
        context: the documents retrieved so far.
        documents: texts that the retrieval guardrails let pass, so that none is judged twice.
        released: answers that the guarded LLM let go, so that the same text is not judged again at the boundary.
        violation: what stopped a call below; an engine that swallows it does not get away with it.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.context: tuple[str, ...] = ()
        self.documents: set[str] = set()
        self.released: set[str] = set()
        self.violation: GuardrailViolation | None = None
        self._pieces: list[str] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this query the current one, as `Flow.active` does."""
        token = _roots.set((*_roots.get(), self))
        try:
            with self.flow.active():
                yield
        finally:
            with suppress(ValueError):  # as in Flow.active
                _roots.reset(token)

    def passed(self, piece: str) -> None:
        """A guarded LLM below lets this piece of a streamed answer go."""
        self._pieces.append(piece)

    def taken(self) -> str:
        """What guarded LLMs below let go since this was asked last."""
        pieces, self._pieces = self._pieces, []
        return "".join(pieces)

    def check(self) -> None:
        """Raise what stopped a call below, if anything did."""
        if self.violation is not None:
            raise self.violation


def root_of(guard: Guard) -> Root | None:
    """The innermost query under this guard that this code runs inside of."""
    return next((root for root in reversed(_roots.get()) if root.flow.guard is guard), None)


@contextmanager
def noting(root: Root | None) -> Iterator[None]:
    """Refuse to begin once a call below `root` was stopped, and note if this one is."""
    if root is not None:
        root.check()
    try:
        yield
    except GuardrailViolation as violation:
        if root is not None:
            root.violation = violation
        raise
