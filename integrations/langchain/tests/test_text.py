"""Protected text models: every prompt and every candidate is judged, in every call mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import LLM, BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from pydantic import Field

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor, Reask, scorer
from llmguard_middleware.testing import Flags

SECRET = "QXZWKVJY"
BLOCKS = Guardrail(Flags(when="bad", name="bad"), stage="input")
REDACTS_IN = Guardrail(Flags(when=SECRET, name="in"), stage="input", action="redact")
REDACTS_OUT = Guardrail(Flags(when=SECRET, name="out", cheap=True, reach=10), stage="output", action="redact")


class Whole(BaseLLM):
    """Answers all prompts at once, with two candidates each."""

    answer: Any = "Hello."
    size: int = 3
    received: list[list[str]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": "text-1", "ls_model_type": "llm"}

    def _said(self, prompt: str) -> str:
        return str(self.answer(prompt) if callable(self.answer) else self.answer)

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        self.received.append(prompts)
        texts = [[Generation(text=self._said(prompt), generation_info={"logprobs": prompt})] * 2 for prompt in prompts]
        return LLMResult(generations=texts, llm_output={"model_name": "text-1"})


class Streams(Whole):
    """The same, able to stream."""

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        self.received.append([prompt])
        said = self._said(prompt)
        for start in range(0, len(said), self.size):
            yield GenerationChunk(text=said[start : start + self.size], generation_info={"logprobs": said})
        yield GenerationChunk(text="", generation_info={"finish_reason": "stop"})


class Native(Streams):
    """The same, with async methods of its own."""

    async def _agenerate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        await asyncio.sleep(0)
        return self._generate(prompts)

    async def _astream(self, prompt: str, *args: Any, **kwargs: Any) -> AsyncIterator[GenerationChunk]:
        for chunk in self._stream(prompt):
            await asyncio.sleep(0)
            yield chunk


@pytest.fixture(params=[Whole, Streams, Native])
def text_model(request):
    """Each way in which a provider may implement a text model."""
    return request.param


async def modes(model, prompt, config=None):
    """The text of the answer in each call mode."""
    yield await asyncio.to_thread(model.invoke, prompt, config)
    yield await model.ainvoke(prompt, config)
    yield (await asyncio.to_thread(model.batch, [prompt], config))[0]
    yield (await model.abatch([prompt], config))[0]
    yield "".join(await asyncio.to_thread(lambda: list(model.stream(prompt, config))))
    yield "".join([piece async for piece in model.astream(prompt, config)])
    if config:  # LangChain tells no other handler of an async text model's start if one of them is run in line
        return
    events = [event async for event in model.astream_events(prompt, config, version="v2")]
    assert SECRET not in repr([event["data"].get("chunk", event["data"].get("output")) for event in events])
    ((end,),) = [event["data"]["output"]["generations"] for event in events if event["event"] == "on_llm_end"]
    yield end[0]["text"]


async def test_prompts_and_answers_are_redacted_in_every_mode(text_model):
    """The model gets the redacted prompt, the caller the redacted answer, and logprobs are left out."""
    model = text_model(answer=f"say {SECRET} now")
    guarded = protect(model, Guard(REDACTS_IN, REDACTS_OUT))
    assert [text async for text in modes(guarded, f"my {SECRET}")] == ["say <FAKE> now"] * 7
    assert {prompt for prompts in model.received for prompt in prompts} == {"my <FAKE>"}
    result = guarded.generate(["Hi"])
    assert [[one.text for one in candidates] for candidates in result.generations] == [["say <FAKE> now"] * 2]
    assert "logprobs" not in repr(result)
    assert result.llm_output == {"model_name": "text-1"}


async def test_every_mode_is_one_span_and_scored_once(text_model, captured):
    """Each call is one text_completion span, with and without the guard's own callback, and scored once."""
    seen = []

    @scorer
    def watch(output: str, question: str) -> float:
        seen.append((question, output))
        return 1.0

    guard = Guard(REDACTS_OUT, Monitor(watch), **captured.providers)
    guarded = protect(text_model(answer=SECRET), guard)
    for config in ({}, {"callbacks": [GuardCallback(guard)]}):
        count = 6 if config else 7
        assert [text async for text in modes(guarded, "Hi", config)] == ["<FAKE>"] * count
        assert guard.flush() == 0
        assert seen == [("Hi", "<FAKE>")] * count
        assert [span.name for span in captured.spans if span.kind == "CLIENT"] == ["text_completion text-1"] * count
        seen.clear()
        captured.clear()


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_several_prompts_are_several_calls_and_one_request(text_model, captured, use_async, own):
    """generate() with three prompts: a span and a verdict for each, and the model is asked once."""
    model = text_model(answer=lambda prompt: f"{prompt}!")
    guard = Guard(REDACTS_IN, **captured.providers)
    callback = GuardCallback(guard if own else Guard(name="other", **captured.providers))
    guarded, prompts = protect(model, guard), ["one", SECRET, "three"]
    if use_async:
        result = asyncio.run(guarded.agenerate(prompts, callbacks=[callback]))
    else:
        result = guarded.generate(prompts, callbacks=[callback])
    assert [candidates[0].text for candidates in result.generations] == ["one!", "<FAKE>!", "three!"]
    assert model.received == [["one", "<FAKE>", "three"]]
    spans = [span for span in captured.spans if span.kind == "CLIENT"]
    assert sorted(span.attributes["llmguard.verdict"] for span in spans) == ["passed", "passed", "redacted"]


@pytest.mark.parametrize("use_async", [False, True])
def test_a_block_stops_all_prompts_or_its_item_alone(text_model, use_async):
    """generate() raises; a batch under return_exceptions=True answers the others; refusal mode refuses one."""
    model = text_model()
    guarded = protect(model, Guard(BLOCKS))

    def asked(sync, later, *args, **kwargs):
        return asyncio.run(later(*args, **kwargs)) if use_async else sync(*args, **kwargs)

    with pytest.raises(GuardrailViolation):
        asked(guarded.generate, guarded.agenerate, ["one", "bad"])
    assert model.received == []
    one, violation = asked(guarded.batch, guarded.abatch, ["one", "bad"], return_exceptions=True)
    assert (one, type(violation)) == ("Hello.", GuardrailViolation)
    refusing = protect(model, Guard(BLOCKS, refusal="No."))
    result = asked(refusing.generate, refusing.agenerate, ["one", "bad"])
    assert [candidates[0].text for candidates in result.generations] == ["Hello.", "No."]


@pytest.mark.parametrize("use_async", [False, True])
def test_only_the_prompt_whose_answer_is_turned_down_is_asked_again(text_model, use_async):
    """Of several prompts, the model is asked again for the one whose answer was flagged."""
    rule = Guardrail(Flags(when="ugly"), stage="output", action=Reask(feedback="Be nice.", attempts=1))
    model = text_model(answer=lambda prompt: "ugly" if prompt == "two" else "fine")
    guarded = protect(model, Guard(rule))
    result = asyncio.run(guarded.agenerate(["one", "two"])) if use_async else guarded.generate(["one", "two"])
    assert [candidates[0].text for candidates in result.generations] == ["fine", "fine"]
    assert model.received == [["one", "two"], ["two\n\nugly\n\nBe nice.\n"]]


@pytest.mark.parametrize("size", range(1, 12))
def test_no_character_of_a_secret_leaves_wherever_it_is_cut(size):
    """At every chunk size the stream is the redacted answer, and callbacks hear no other tokens."""
    tokens = []

    class Listens(BaseCallbackHandler):
        def on_llm_new_token(self, token, **kwargs):
            tokens.append(token)

    guarded = protect(Streams(answer=f"say {SECRET} and more", size=size), Guard(REDACTS_OUT))
    assert "".join(guarded.stream("Hi", {"callbacks": [Listens()]})) == "say <FAKE> and more"
    assert "".join(tokens) == "say <FAKE> and more"


def test_a_provider_that_takes_no_run_manager_is_called_as_it_likes():
    """LangChain looks whether a method takes a run manager, and so does its copy."""

    class Old(Whole):
        def _generate(self, prompts: list[str], stop: Any = None) -> LLMResult:
            return LLMResult(generations=[[Generation(text="old")] for _ in prompts])

    class Simple(LLM):
        @property
        def _llm_type(self) -> str:
            return "simple"

        def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
            return "simple"

    assert protect(Old(), Guard(REDACTS_IN)).invoke("Hi") == "old"
    assert protect(Simple(), Guard(REDACTS_IN)).invoke("Hi") == "simple"
    assert asyncio.run(protect(Simple(), Guard(REDACTS_IN)).ainvoke("Hi")) == "simple"


def test_streaming_is_where_the_provider_has_it(text_model):
    """A protected text model can stream exactly if the original can."""
    guarded = protect(text_model(), Guard())
    assert (type(guarded)._stream is BaseLLM._stream) is (text_model._stream is BaseLLM._stream)
