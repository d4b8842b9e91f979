"""LangChain's LLM cache behind a guard: input rules run before the look-up, output rules on what it finds.

The key is the guarded text and the digest of the rules; what is kept is what the model said, which nobody rewrites.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult, LLMResult

from llmguard_middleware import Guard
from llmguard_middleware._current import around
from llmguard_middleware._steps import arun, run

from ..._handoff import handed
from .._copies import bare, inner
from ._calls import Asked, Form, heard, passes, whole
from ._sessions import session_of

__all__ = ["Remembered", "cache_of", "chat_cache_members", "uncached"]


def cache_of(model: Any) -> BaseCache | None:
    """The cache that LangChain would look into for this model."""
    own = vars(model).get("cache")
    if own is False:
        return None
    return own if isinstance(own, BaseCache) else get_llm_cache()


def chat_cache_members(base: type[Any], guard: Guard, form: Form) -> dict[str, Callable[..., Any]]:
    """The members of a guarded chat model's class that put the guard around the look-up, where there is a cache."""

    def asked(self: Any, name: str, stop: Any, run_manager: Any, kwargs: dict[str, Any]) -> Asked:
        method, told = getattr(base, name), heard(guard, run_manager)
        params = base._get_ls_params(self, stop=stop, **kwargs)

        def ask(messages: list[BaseMessage]) -> Any:
            return method(self, messages, stop=stop, run_manager=told, **kwargs)

        return Asked(form, self, guard, params, handed(self, run_manager), ask, session_of(self), kwargs)

    def _generate_with_cache(
        self: Any, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        if passes(self, guard) or cache_of(self) is None:
            return base._generate_with_cache(self, messages, stop=stop, run_manager=run_manager, **kwargs)
        one = asked(self, "_generate_with_cache", stop, run_manager, kwargs)
        return _identified(run(whole(one, messages)), run_manager)

    async def _agenerate_with_cache(
        self: Any, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        if passes(self, guard) or cache_of(self) is None:
            return await base._agenerate_with_cache(self, messages, stop=stop, run_manager=run_manager, **kwargs)
        one = asked(self, "_agenerate_with_cache", stop, run_manager, kwargs)
        return _identified(await arun(whole(one, messages)), run_manager)

    def _get_llm_string(self: Any, stop: Any = None, **kwargs: Any) -> str:
        digest = next(
            (flow.policy.digest for flow in around() if flow.owner is self and flow.guard is guard), guard.digest
        )
        return f"{base._get_llm_string(self, stop=stop, **kwargs)}---llmguard:{digest}"

    return {
        "_generate_with_cache": _generate_with_cache,
        "_agenerate_with_cache": _agenerate_with_cache,
        "_get_llm_string": _get_llm_string,
    }


def _identified(result: ChatResult, run_manager: Any) -> ChatResult:
    """With the id of its run on each message that has none, as LangChain does for a run that it knows of."""
    if run_manager is None or all(one.message.id is not None for one in result.generations):
        return result
    told = [
        one
        if one.message.id is not None
        else one.model_copy(
            update={"message": one.message.model_copy(update={"id": f"lc_run--{run_manager.run_id}-{n}"})}
        )
        for n, one in enumerate(result.generations)
    ]
    return result.model_copy(update={"generations": told})


@lru_cache(maxsize=256)
def _without(kind: type) -> type:
    made = inner(kind, {"__llmguard_remembers__": True})
    type.__setattr__(made, "cache", property(lambda _: False))
    return made


def uncached(model: Any) -> Any:
    """A text model as one that LangChain looks up nothing for, if it has a cache: its guard does that."""
    kind: Any = type(model)
    return model if cache_of(model) is None or _remembers(model) else bare(model, _without(kind))


def _remembers(model: Any) -> bool:
    return getattr(type(model), "__llmguard_remembers__", False)


class Remembered:
    """What was said before to the same prompt, under the same options and rules.

    Args:
        cache: LangChain's.
        key: all but the prompt.
    """

    def __init__(self, cache: BaseCache, key: str) -> None:
        self._cache, self._key = cache, key

    @classmethod
    def by(cls, model: Any, guard: Guard, options: dict[str, Any]) -> Remembered | None:
        """By a text model, called with these options; None if it has no cache that its guard is to look into."""
        cache = cache_of(model) if _remembers(model) else None
        own = {**model._identifying_params, "_type": model._llm_type, **options}
        return None if cache is None else cls(cache, f"{sorted(own.items())}---llmguard:{guard.digest}")

    def ask(self, prompts: list[str], method: Callable[[list[str]], LLMResult]) -> LLMResult:
        """The answers to all prompts, of which the model is asked those that are not found."""
        found = [self._cache.lookup(prompt, self._key) for prompt in prompts]
        missing = [prompt for prompt, one in zip(prompts, found, strict=True) if not isinstance(one, list)]
        result = method(missing) if missing else LLMResult(generations=[])
        for prompt, new in zip(missing, result.generations, strict=True):
            self._cache.update(prompt, self._key, new)
        return _filled(found, result)

    async def aask(self, prompts: list[str], method: Callable[[list[str]], Awaitable[LLMResult]]) -> LLMResult:
        """`ask`, for async callers."""
        found = [await self._cache.alookup(prompt, self._key) for prompt in prompts]
        missing = [prompt for prompt, one in zip(prompts, found, strict=True) if not isinstance(one, list)]
        result = await method(missing) if missing else LLMResult(generations=[])
        for prompt, new in zip(missing, result.generations, strict=True):
            await self._cache.aupdate(prompt, self._key, new)
        return _filled(found, result)


def _filled(found: Sequence[Any], result: LLMResult) -> LLMResult:
    new = iter(result.generations)
    generations = [list(one) if isinstance(one, list) else next(new) for one in found]
    return LLMResult(generations=generations, llm_output=result.llm_output)
