"""LiteLLM (extra `litellm`): a model by its name, such as "openai/gpt-5-mini", with the keys of the environment."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

from ..._call import Usage
from ...errors import ConfigurationError
from ._model import Form, Question, Reply

__all__ = ["LiteLLM"]


class LiteLLM:
    """Asks by `litellm.completion`; `options` are further arguments of it, `api_base` and `temperature` for example."""

    is_async = False

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.provider = name.partition("/")[0] if "/" in name else ""
        self._options = options

    @cached_property
    def _library(self) -> Any:
        try:
            return import_module("litellm")  # two seconds, so not before it is needed
        except ImportError as error:
            msg = f'model "{self.name}" of a judge needs LiteLLM: pip install "llmguard-middleware[litellm]"'
            raise ConfigurationError(msg) from error

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """By schema where LiteLLM knows that the model takes one."""
        try:
            takes = bool(self._library.supports_response_schema(model=self.name))
        except ConfigurationError:
            raise
        except Exception:  # noqa: BLE001 - it does not know the model, which is then asked all the same
            takes = False
        return ("schema", "json", "text") if takes else ("json", "text")

    def ask(self, question: Question) -> Reply:
        """Ask, and wait for the reply."""
        return self._reply(self._library.completion(**self._given(question)))

    async def aask(self, question: Question) -> Reply:
        """The same on the event loop."""
        return self._reply(await self._library.acompletion(**self._given(question)))

    def _given(self, question: Question) -> dict[str, Any]:
        given: dict[str, Any] = {
            "temperature": 0,
            "drop_params": True,  # of what a model does not take
            "num_retries": 0,  # the judge retries
            **self._options,
            "model": self.name,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": question.prompt},
            ],
        }
        if question.form == "schema":
            schema = {"name": "judgement", "schema": dict(question.schema), "strict": True}
            given["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif question.form == "json":
            given["response_format"] = {"type": "json_object"}
        return given

    def _reply(self, response: Any) -> Reply:
        choice = response.choices[0]
        counted = getattr(response, "usage", None)
        usage = None
        if counted is not None:
            usage = Usage(getattr(counted, "prompt_tokens", None), getattr(counted, "completion_tokens", None))
        return Reply(
            choice.message.content or "",
            usage,
            str(getattr(response, "model", None) or self.name),
            refused=choice.finish_reason == "content_filter" or bool(getattr(choice.message, "refusal", None)),
            usd=(getattr(response, "_hidden_params", None) or {}).get("response_cost"),
        )
