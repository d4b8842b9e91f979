"""The Runnables that `with_fallbacks` and `with_retry` of guarded copies make.

Apart from these two, since few ask for them: LangChain's own, and these subclasses of them, are slow to make.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableWithFallbacks, ensure_config
from langchain_core.runnables.retry import RunnableRetry

from llmguard_middleware import GuardrailViolation
from llmguard_middleware._current import around
from llmguard_middleware._root import Root

from .._handoff import above
from ._late import begin_as_made
from ._sentinel import watched
from ._sticky import with_fallbacks, with_retry

__all__ = ["Forgiven", "GuardedFallbacks", "GuardedRetry", "MeantFallbacks"]


@contextmanager
def _forgiving(config: RunnableConfig | None) -> Iterator[None]:
    """A violation that the caller has asked to handle does not stick to the calls above, nor to those of callbacks."""
    told = above(ensure_config(config).get("callbacks"))
    known = [*(flow.root for flow in around()), *(one.root for one in told if one.root is not None)]
    roots = [root for root in known if root.violation is None]
    try:
        yield
    except GuardrailViolation:
        for root in roots:
            root.violation = None
        raise


class Forgiven(RunnableBinding[Any, Any]):
    """A guarded copy whose violations are errors like others."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's
        with _forgiving(config):
            return super().invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - as above
        with _forgiving(config):
            return await super().ainvoke(input, config, **kwargs)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - as above
        with _forgiving(config):
            yield from super().stream(input, config, **kwargs)

    async def astream(
        self,
        input: Any,  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        with _forgiving(config):
            async for chunk in super().astream(input, config, **kwargs):
                yield chunk

    batch, abatch = Runnable.batch, Runnable.abatch


class MeantFallbacks(RunnableWithFallbacks[Any, Any]):
    """`RunnableWithFallbacks` that handles violations, too, since they are listed."""


class GuardedFallbacks(RunnableWithFallbacks[Any, Any]):
    """`RunnableWithFallbacks` that raises a violation, and asks no fallback what was blocked."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's
        root = Root()
        answer = super().invoke(input, watched(ensure_config(config), root), **kwargs)
        root.check()
        return answer

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - as above
        root = Root()
        answer = await super().ainvoke(input, watched(ensure_config(config), root), **kwargs)
        root.check()
        return answer

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - as above
        root = Root()
        for chunk in super().stream(input, watched(ensure_config(config), root), **kwargs):
            root.check()
            yield chunk

    async def astream(
        self,
        input: Any,  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        root = Root()
        source: Any = super().astream(input, watched(ensure_config(config), root), **kwargs)
        async with aclosing(source) as chunks:
            async for chunk in chunks:
                root.check()
                yield chunk

    # Item by item, so that a block fails its item alone.
    batch, abatch = Runnable.batch, Runnable.abatch
    with_fallbacks, with_retry = with_fallbacks, with_retry


class GuardedRetry(RunnableRetry[Any, Any]):
    """`RunnableRetry` whose batch goes item by item, so that a block fails its item alone."""

    batch, abatch = Runnable.batch, Runnable.abatch
    with_fallbacks, with_retry = with_fallbacks, with_retry


for _kind in (Forgiven, MeantFallbacks, GuardedFallbacks, GuardedRetry):
    begin_as_made(_kind)
