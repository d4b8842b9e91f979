"""Guarded text models: several prompts per call, each a call of its own, for which the model is asked once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any

from langchain_core.language_models import BaseLLM
from langchain_core.outputs import GenerationChunk, LLMResult
from langchain_core.runnables import Runnable

from llmguard_middleware import Guard
from llmguard_middleware._steps import arun, astream, run, stream

from ..._handoff import handed_each, mark
from .._copies import guarded
from .._sticky import sticky_methods
from ._calls import Asked, aiterated, heard, iterated, passes, streamed, telling, together
from ._llm_cache import Remembered, uncached
from ._sessions import session_members, sessions_of
from ._text_form import TEXT

__all__ = ["text_members"]


def text_members(base: type[Any], guard: Guard) -> dict[str, Any]:  # noqa: C901 - LangChain's methods, side by side
    """The members of the class of a guarded text model of the class `base`."""

    def asked(self: Any, prompts: Sequence[str], run_manager: Any, kwargs: dict[str, Any], ask: Any) -> list[Asked]:
        params = base._get_ls_params(self, **kwargs)
        told = handed_each(self, run_manager, len(prompts))
        said = sessions_of(self, len(prompts))
        return [Asked(TEXT, self, guard, params, *each) for each in zip(told, [ask] * len(prompts), said, strict=True)]

    def remembered(self: Any, options: dict[str, Any]) -> Remembered | None:
        """The cache, for the innermost of several guards: what all of them have judged is looked up."""
        return None if guarded(base) else Remembered.by(self, guard, options)

    def _get_ls_params(self: Any, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = base._get_ls_params(self, stop=stop, **kwargs)
        return {**params, **mark(guard, params)}

    def _generate(
        self: Any, prompts: list[str], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        if passes(self, guard):
            return telling(base._generate, run_manager)(self, prompts, stop=stop, **kwargs)  # type: ignore[no-any-return]  # its own
        method = partial(telling(base._generate, heard(guard, run_manager)), self, stop=stop, **kwargs)
        cache = remembered(self, {"stop": stop, **kwargs})

        def ask(prompts: list[str]) -> Any:
            return _split(method(prompts) if cache is None else cache.ask(prompts, method))

        askeds = asked(self, prompts, run_manager, {"stop": stop, **kwargs}, lambda prompt: ask([prompt])[0])
        return _joined(run(together(askeds, prompts, ask)))

    async def _agenerate(
        self: Any, prompts: list[str], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        if passes(self, guard):
            return await telling(base._agenerate, run_manager)(self, prompts, stop=stop, **kwargs)  # type: ignore[no-any-return]  # its own
        method = partial(telling(base._agenerate, heard(guard, run_manager)), self, stop=stop, **kwargs)
        cache = remembered(self, {"stop": stop, **kwargs})

        async def ask(prompts: list[str]) -> Any:
            return _split(await (method(prompts) if cache is None else cache.aask(prompts, method)))

        async def ask_one(prompt: str) -> Any:
            return (await ask([prompt]))[0]

        askeds = asked(self, prompts, run_manager, {"stop": stop, **kwargs}, ask_one)
        return _joined(await arun(together(askeds, prompts, ask)))

    def _stream(
        self: Any, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[GenerationChunk]:
        if passes(self, guard):
            yield from telling(base._stream, run_manager)(self, prompt, stop=stop, **kwargs)
            return
        method = partial(iterated(base._stream), self, stop=stop, **kwargs)
        (one,) = asked(self, [prompt], run_manager, {"stop": stop, **kwargs}, method)
        with closing(stream(streamed(one, prompt))) as chunks:
            for chunk in chunks:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self: Any, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[GenerationChunk]:
        if passes(self, guard):
            async for chunk in telling(base._astream, run_manager)(self, prompt, stop=stop, **kwargs):
                yield chunk
            return
        method = partial(aiterated(base._astream), self, stop=stop, **kwargs)
        (one,) = asked(self, [prompt], run_manager, {"stop": stop, **kwargs}, method)
        async with aclosing(astream(streamed(one, prompt))) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    own = session_members(base)
    # Without metadata LangChain would not ask for the parameters, by which callbacks are told of the guard.

    def generate(self: Any, prompts: list[str], *args: Any, metadata: Any = None, **kwargs: Any) -> Any:
        method = own.get("generate", base.generate)
        return method(uncached(self), prompts, *args, metadata=_known(metadata), **kwargs)

    async def agenerate(self: Any, prompts: list[str], *args: Any, metadata: Any = None, **kwargs: Any) -> Any:
        method = own.get("agenerate", base.agenerate)
        return await method(uncached(self), prompts, *args, metadata=_known(metadata), **kwargs)

    def batch(
        self: Any, inputs: list[Any], config: Any = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> Any:
        # A provider answers all prompts or none, but a block fails its item alone.
        by_item = Runnable.batch if return_exceptions else base.batch
        return by_item(self, inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self: Any, inputs: list[Any], config: Any = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> Any:
        by_item = Runnable.abatch if return_exceptions else base.abatch
        return await by_item(self, inputs, config, return_exceptions=return_exceptions, **kwargs)

    ours: dict[str, Callable[..., Any]] = {"_agenerate": _agenerate, "_stream": _stream, "_astream": _astream}
    return {
        "_get_ls_params": _get_ls_params,
        "_generate": _generate,
        **{name: method for name, method in ours.items() if getattr(base, name) is not getattr(BaseLLM, name)},
        **own,
        "generate": generate,
        "agenerate": agenerate,
        "batch": batch,
        "abatch": abatch,
        **sticky_methods(base),
    }


def _known(metadata: Any) -> Any:
    return {} if metadata is None else metadata


def _split(result: LLMResult) -> list[LLMResult]:
    """The result for each prompt; what the provider counted for all of them is told of the only one."""
    return [LLMResult(generations=[one], llm_output=result.llm_output) for one in result.generations]


def _joined(results: Sequence[LLMResult]) -> LLMResult:
    outputs = (one.llm_output for one in results if one.llm_output is not None)
    return LLMResult(generations=[one.generations[0] for one in results], llm_output=next(outputs, None))
