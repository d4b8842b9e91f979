"""One model call of an agent: no model but a guarded one, and a structured answer as the output rules leave it."""

from __future__ import annotations

from contextlib import suppress
from contextvars import Token
from dataclasses import replace
from types import TracebackType
from typing import Any

from langchain.agents.middleware import ModelResponse
from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.messages import AIMessage
from langchain_core.runnables.config import var_child_runnable_config
from pydantic import BaseModel

from llmguard_middleware import Guard, UnenforceableError
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import leaves, with_leaves

from .. import _convert as convert
from .._handoff import marked

__all__ = ["Watched", "structured"]

_INNERMOST = ("_execute_model_sync", "_execute_model_async")


class _Watch(BaseCallbackHandler):
    """Stops a model that is not guarded before it is called: another middleware asks one of its own."""

    raise_error = True
    run_inline = True

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def _started(self, *_: Any, metadata: dict[str, Any] | None = None, **__: Any) -> None:
        if inside_scorer.get() or marked(self.guard, metadata or {}):
            return
        msg = (
            "a middleware that comes after GuardMiddleware calls a model that its guard does not know: "
            "put GuardMiddleware last in middleware=[...], or give the other one protect(model, guard)"
        )
        raise UnenforceableError(msg)

    on_chat_model_start = on_llm_start = _started


class Watched:
    """Around the rest of a model call: the agent's run is the current call, and only guarded models are called."""

    def __init__(self, flow: Flow, guard: Guard, handler: Any) -> None:
        self._active = flow.active()
        # LangChain's own last step calls the model that it is given and no other, so there is nothing to watch.
        self._watch = None if getattr(handler, "__name__", "") in _INNERMOST else _Watch(guard)
        self._token: Token[Any] | None = None

    def __enter__(self) -> None:
        self._active.__enter__()
        if self._watch is not None:
            config = var_child_runnable_config.get() or {}
            told = config.get("callbacks")
            if isinstance(told, BaseCallbackManager):
                told = told.copy()
                told.add_handler(self._watch)
            else:
                told = [*(told or []), self._watch]
            self._token = var_child_runnable_config.set({**config, "callbacks": told})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            with suppress(ValueError):  # thrown away, it unwinds in another context, where there is nothing to put back
                var_child_runnable_config.reset(self._token)
        self._active.__exit__(kind, error, trace)


def structured(flow: Flow, response: ModelResponse[Any]) -> Plan[ModelResponse[Any]]:
    """The response, its structured answer and what repeats it as the output rules leave them.

    Raises:
        GuardrailViolation: if a guardrail stops it.
        ValidationError: pydantic's, if what is left is no such answer any more.
    """
    answer = getattr(response, "structured_response", None)
    if answer is None:
        return response
    told = with_leaves(answer, (yield from flow.release(leaves(answer))))
    if told is not answer and isinstance(told, BaseModel):
        told = type(told).model_validate(told.model_dump())
    result: list[Any] = []
    for message in response.result:
        if isinstance(message, AIMessage):
            result.append(message)  # the model's own, which was judged when it came
            continue
        (text,) = yield from flow.release([convert.text_of(message)])
        result.append(convert.with_text(message, text))
    return replace(response, result=result, structured_response=told)
