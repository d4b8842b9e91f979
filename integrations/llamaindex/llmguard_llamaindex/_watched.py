"""Violations that LlamaIndex makes something else of: an agent's answer, the text of a tool that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from llmguard_middleware._root import Root

__all__ = ["note", "watched"]

_roots: ContextVar[tuple[Root, ...]] = ContextVar("llmguard_llamaindex_watched", default=())


@contextmanager
def watched() -> Iterator[None]:
    """Raise at the end what stopped a guarded call inside, whatever became of it in between."""
    root = Root()
    token = _roots.set((*_roots.get(), root))
    try:
        yield
    except Exception:
        root.check()
        raise
    finally:
        with suppress(ValueError):  # thrown away, a coroutine unwinds in another context
            _roots.reset(token)
    root.check()


def note(error: BaseException) -> None:
    """A guarded call is stopped by this error: whoever watches will raise it."""
    for root in _roots.get():
        root.note(error)
