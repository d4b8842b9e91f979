"""protect(llm): a provider's own ways to ask its model do not lead past the guard."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.llms import LLM
from llama_index.core.prompts import PromptTemplate

from llmguard_llamaindex import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, UnenforceableError
from llmguard_middleware.scorers import pii

from .conftest import Chatting, Script

PROMPT = PromptTemplate("I am {mail}")
OTHER = PromptTemplate("I am {name}")
LEAK = "o@example.com"


def ask_client(llm: Any, text: str) -> str:
    """What the provider says."""
    llm.script.asked.append(text)
    return LEAK


ask_elsewhere = ask_client


class Direct(Chatting):
    """A model that asks its provider's client, for some answers."""

    def predict(self, prompt: Any, **kwargs: Any) -> str:
        """Past `chat`."""
        return ask_client(self, prompt.format(**kwargs))

    async def apredict(self, prompt: Any, **kwargs: Any) -> str:
        """Past `achat`."""
        return ask_client(self, prompt.format(**kwargs))

    def stream(self, prompt: Any, **kwargs: Any) -> Any:
        """Past `stream_chat`."""
        return (piece for piece in ask_client(self, prompt.format(**kwargs)))

    async def astream(self, prompt: Any, **kwargs: Any) -> Any:
        """Past `astream_chat`."""

        async def gen() -> Any:
            for piece in ask_client(self, prompt.format(**kwargs)):
                yield piece

        return gen()


class Hidden(Chatting):
    """A model of which nobody can see that it does."""

    def predict(self, prompt: Any, **kwargs: Any) -> str:
        """Sometimes through `chat`."""
        return ask_elsewhere(self, prompt.format(**kwargs)) if "mail" in kwargs else super().predict(prompt, **kwargs)

    async def apredict(self, prompt: Any, **kwargs: Any) -> str:
        """Sometimes through `achat`."""
        return ask_elsewhere(self, "") if "mail" in kwargs else await super().apredict(prompt, **kwargs)

    def stream(self, prompt: Any, **kwargs: Any) -> Any:
        """Sometimes through `stream_chat`."""
        return iter_of(ask_elsewhere(self, "")) if "mail" in kwargs else super().stream(prompt, **kwargs)

    async def astream(self, prompt: Any, **kwargs: Any) -> Any:
        """Sometimes through `astream_chat`."""
        return aiter_of(ask_elsewhere(self, "")) if "mail" in kwargs else await super().astream(prompt, **kwargs)


def iter_of(text: str) -> Any:
    """Its characters."""
    yield from text


async def aiter_of(text: str) -> Any:
    """Its characters."""
    for piece in text:
        yield piece


async def _predicted(llm: LLM, way: str, **kwargs: Any) -> str:
    made: Any = getattr(llm, way)(OTHER if "name" in kwargs else PROMPT, **kwargs)
    if way.startswith("a"):
        made = await made
    if hasattr(made, "__aiter__"):
        return "".join([piece async for piece in made])
    return "".join(made)


WAYS = ["predict", "apredict", "stream", "astream"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_is_not_asked(way: str, script: Script) -> None:
    """A method that would ask the provider's client goes through the guard, as LlamaIndex's own does."""
    script.answer = f"it is {LEAK}"
    rules = [Guardrail(pii(), stage=stage, action="redact", name=stage) for stage in ("input", "output")]
    llm = protect(Direct(script=script), Guard(*rules))
    assert await _predicted(llm, way, mail="u@example.com") == "it is <EMAIL_ADDRESS>"
    assert script.asked == ["I am <EMAIL_ADDRESS>"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_is_blocked(way: str, script: Script) -> None:
    """What a guardrail stops is not asked by such a method."""
    llm = protect(Direct(script=script), Guard(Guardrail(pii(), stage="input")))
    with pytest.raises(GuardrailViolation):
        await _predicted(llm, way, mail="u@example.com")
    assert script.asked == []


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_past_the_guard(way: str, script: Script) -> None:
    """An answer for which nothing guarded was asked does not leave; one that went through the guard does."""
    llm = protect(Hidden(script=script), Guard(Guardrail(pii(), stage="output", action="redact")))
    with pytest.raises(UnenforceableError, match=rf"protect\(Hidden\).{way} cannot enforce"):
        await _predicted(llm, way, mail="Bob")
    assert await _predicted(llm, way, name="Bob") == "fine"


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_to_enforce(way: str, script: Script, telemetry: Any) -> None:
    """Where no guardrail acts, such an answer leaves as it is."""
    llm = protect(Hidden(script=script), telemetry.guard(Guardrail(pii(), stage="output", action="log")))
    assert await _predicted(llm, way, mail="Bob") == LEAK
