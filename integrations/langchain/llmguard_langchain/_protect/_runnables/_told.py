"""The run by which callbacks are told of a guarded Runnable: of its answer once the output guardrails have seen it.

A Runnable tells its callbacks of its answer before it returns it, so listeners, and with them the histories that
LangChain keeps, would have what a guardrail removes. Its own run is one below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from llmguard_middleware import GuardrailViolation
from llmguard_middleware._flow import Flow
from llmguard_middleware._steps import Emit, Steps, arun, astream, run, stream

from ._refusals import piece_of

__all__ = ["Told"]


class Told(Runnable[Any, Any]):
    """One run around steps that ask and judge.

    Args:
        name: of the run, if its config gives none.
        steps: what is done with the input, below this run's config.
        flow: the call.
        refusal: the answer if a guardrail stops it; None if the violation is raised.

    Attributes:
        refused: whether that was the answer.
        said: what the steps returned.
    """

    def __init__(self, name: str, steps: Callable[[Any, RunnableConfig], Steps[Any]], flow: Flow, refusal: Any) -> None:
        self.name = name
        self._steps, self._flow, self._refusal = steps, flow, refusal
        self.refused = False
        self.said: Any = None

    def _whole(self, given: Any, config: RunnableConfig) -> Steps[Any]:
        try:
            return (yield from self._steps(given, config))
        except GuardrailViolation as violation:
            self._refuse(violation)
            return self._refusal

    def _streamed(self, given: Any, config: RunnableConfig) -> Steps[None]:
        try:
            self.said = yield from self._steps(given, config)
        except GuardrailViolation as violation:
            self._refuse(violation)
            yield Emit(piece_of(self._refusal))

    def _refuse(self, violation: GuardrailViolation) -> None:
        if self._refusal is None:
            raise violation
        self.refused = True
        self._flow.failed(violation)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002 - LangChain's
        def now(given: Any, config: RunnableConfig) -> Any:
            return run(self._whole(given, config))

        return self._call_with_config(now, input, config)  # type: ignore[arg-type]  # LangChain finds that it takes a config

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002 - as above
        async def later(given: Any, config: RunnableConfig) -> Any:
            return await arun(self._whole(given, config))

        return await self._acall_with_config(later, input, config)  # type: ignore[arg-type]  # LangChain finds that it takes a config

    def stream(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Iterator[Any]:  # noqa: A002 - as above
        def now(given: Iterator[Any], config: RunnableConfig) -> Iterator[Any]:
            return stream(self._streamed(next(given), config))

        yield from self._transform_stream_with_config(iter([input]), now, config)  # type: ignore[arg-type]  # as above

    async def astream(
        self,
        input: Any,  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> AsyncIterator[Any]:
        async def only() -> AsyncIterator[Any]:
            yield input

        async def later(given: AsyncIterator[Any], config: RunnableConfig) -> AsyncIterator[Any]:
            async for one in given:
                async with aclosing(astream(self._streamed(one, config))) as chunks:
                    async for chunk in chunks:
                        yield chunk

        source: Any = self._atransform_stream_with_config(only(), later, config)  # type: ignore[arg-type]  # as above
        async with aclosing(source) as chunks:
            async for chunk in chunks:
                yield chunk
