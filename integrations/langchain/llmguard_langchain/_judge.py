"""Chat models and text models as the models of judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler

from llmguard_middleware import Usage
from llmguard_middleware.scorers.judges import JudgeModel, Question, Reply

from . import _convert as convert

__all__ = ["judge_model"]

_REFUSED = ("content_filter", "refusal", "guardrail_intervened", "SAFETY", "PROHIBITED_CONTENT")


def judge_model(given: Any) -> JudgeModel | None:
    """What a judge asks; None for what is neither a model nor a Runnable that ends in one."""
    return LangChainModel(given) if isinstance(given, (BaseLanguageModel, Runnable)) else None


class LangChainModel:
    """A chat model, asked by its own `with_structured_output` where it has it; a text model or chain, by a text."""

    is_async = False

    def __init__(self, model: Runnable[Any, Any]) -> None:
        self._model = model
        inner: Any = model
        while isinstance(inner, RunnableBinding):
            inner = inner.bound
        self._chats = isinstance(inner, BaseChatModel)
        # A model that was bound has no structured output any more.
        structured = isinstance(model, BaseChatModel) and overrides(model, "with_structured_output", BaseChatModel)
        self.forms: Any = ("schema", "text") if structured or _binds_tools(model) else ("text",)
        call = convert.model_call("chat", _params(inner), inner.__dict__) if self._chats else None
        self.provider = "" if call is None else call.provider
        self.name = type(inner).__name__ if call is None or not call.model else call.model

    def ask(self, question: Question) -> Reply:
        """Ask, and wait for the reply."""
        with _apart():
            return self._reply(self._asked(question).invoke(self._given(question)))

    async def aask(self, question: Question) -> Reply:
        """The same on the event loop."""
        with _apart():
            return self._reply(await self._asked(question).ainvoke(self._given(question)))

    def _asked(self, question: Question) -> Runnable[Any, Any]:
        if question.form == "schema":
            model: Any = self._model
            return model.with_structured_output(dict(question.schema), include_raw=True)  # type: ignore[no-any-return]  # LangChain's
        return self._model

    def _given(self, question: Question) -> Any:
        if self._chats:
            return [SystemMessage(question.system), HumanMessage(question.prompt)]
        return f"{question.system}\n\n{question.prompt}"

    def _reply(self, said: Any) -> Reply:
        raw = said.get("raw") if isinstance(said, Mapping) and "raw" in said else said
        if not isinstance(raw, BaseMessage):
            return Reply(raw)
        facts = convert.answer([ChatGeneration(message=raw)])
        usage: Usage | None = facts["usage"]
        reason = raw.response_metadata.get("finish_reason") or raw.response_metadata.get("stop_reason")
        refused = reason in _REFUSED or bool(raw.additional_kwargs.get("refusal"))
        return Reply(_said(raw), usage, facts["response_model"], refused=refused)


@contextmanager
def _apart() -> Iterator[None]:
    """Ask outside of the application's run: a judge's words are not in its stream, nor its state in its checkpoints.

    What only traces stays, so that the question lies in its trace.
    """
    callbacks: Any = (var_child_runnable_config.get() or {}).get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        for handler in [*callbacks.handlers, *callbacks.inheritable_handlers]:
            if isinstance(handler, _StreamingCallbackHandler):
                callbacks.remove_handler(handler)
    elif callbacks:
        callbacks = [handler for handler in callbacks if not isinstance(handler, _StreamingCallbackHandler)]
    token = var_child_runnable_config.set({"callbacks": callbacks} if callbacks else None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _said(message: BaseMessage) -> Any:
    """The text, or the arguments of the one tool call that stands for it."""
    text = str(message.text)
    if not text.strip() and isinstance(message, AIMessage) and len(message.tool_calls) == 1:
        return message.tool_calls[0]["args"]
    return text


def overrides(model: Any, method: str, base: type[Any]) -> bool:
    """Whether the model's class has a method of its own."""
    return getattr(type(model), method) is not getattr(base, method)


def _binds_tools(model: Any) -> bool:
    return isinstance(model, BaseChatModel) and overrides(model, "bind_tools", BaseChatModel)


def _params(model: Any) -> Any:
    try:
        return model._get_ls_params()
    except Exception:  # noqa: BLE001 - a provider's own; a price can do without
        return {}
