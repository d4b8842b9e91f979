"""LangChain's LLM cache does not let anything past a guard, and keeps what the model said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.language_models import LLM
from langchain_core.rate_limiters import InMemoryRateLimiter
from pydantic import Field

from llmguard_langchain import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.testing import Flags

SECRET = "QXZWKVJY"
BLOCKS_IN = Guardrail(Flags(when="bad", name="bad"), stage="input")
REDACTS_IN = Guardrail(Flags(when=SECRET, name="in"), stage="input", action="redact")
REDACTS_OUT = Guardrail(Flags(when=SECRET, name="out"), stage="output", action="redact")
BLOCKS_OUT = Guardrail(Flags(when=SECRET, name="blocks"), stage="output")


class FakeText(LLM):
    """Answers with a fixed text; keeps what it was asked."""

    answer: Any = "Hello."
    received: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        self.received.append(prompt)
        return str(self.answer(prompt) if callable(self.answer) else self.answer)


class Keeps(InMemoryCache):
    """Remembers which prompts it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """As its base."""
        self.asked.append(prompt)
        return super().lookup(prompt, llm_string)

    @property
    def kept(self) -> str:
        """All of it."""
        return repr(self._cache)


@pytest.fixture(params=["chat", "text"])
def kind(request, fake_chat):
    """Each kind of model."""
    return fake_chat if request.param == "chat" else FakeText


@pytest.fixture(params=["own", "global"])
def cache(request):
    """A cache of the model's own, or of the process: itself, and what the model is given."""
    keeps = Keeps()
    if request.param == "own":
        yield keeps, keeps
        return
    before = get_llm_cache()
    set_llm_cache(keeps)
    yield keeps, None
    set_llm_cache(before)


@pytest.fixture(params=[False, True])
def said(request):
    """What a model answers, sync or async."""

    def say(model, text, **options):
        answer = asyncio.run(model.ainvoke(text, **options)) if request.param else model.invoke(text, **options)
        return answer if isinstance(answer, str) else answer.text

    return say


def test_a_blocked_prompt_is_not_looked_up(kind, cache, said):
    """Though the answer is in the cache, a prompt that is blocked is stopped before the look-up."""
    keeps, given = cache
    said(kind(cache=given), "a bad thing")
    keeps.asked.clear()
    with pytest.raises(GuardrailViolation):
        said(protect(kind(cache=given), Guard(BLOCKS_IN)), "a bad thing")
    assert keeps.asked == []


def test_the_key_is_the_guarded_text(kind, cache, said):
    """A prompt is looked up as redacted, and two that are redacted to the same share the answer."""
    keeps, given = cache
    model = kind(cache=given)
    guarded = protect(model, Guard(REDACTS_IN))
    assert said(guarded, f"I am {SECRET}") == said(guarded, "I am <FAKE>") == "Hello."
    assert len(model.received) == 1
    assert SECRET not in repr(keeps.asked)
    assert SECRET not in keeps.kept


def test_the_key_holds_the_rules(kind, cache, said):
    """What was kept under other rules, or without a guard, is not found."""
    _, given = cache
    model = kind(cache=given)
    for rules in ((), (REDACTS_IN,), (REDACTS_IN, REDACTS_OUT)):
        said(protect(model, Guard(*rules)), "Hi")
        said(protect(model, Guard(*rules)), "Hi")
    said(model, "Hi")
    assert len(model.received) == 4


def test_a_hit_is_judged(kind, cache, said, captured):
    """What is found is redacted or blocked like an answer, each time, and what is kept is not rewritten."""
    keeps, given = cache
    model = kind(answer=f"say {SECRET}", cache=given)
    redacting = protect(model, Guard(REDACTS_OUT, **captured.providers))
    assert [said(redacting, "Hi") for _ in range(3)] == ["say <FAKE>"] * 3
    assert len(model.received) == 1
    assert SECRET in keeps.kept
    spans = [span for span in captured.spans if span.kind == "CLIENT"]
    assert [span.attributes["llmguard.verdict"] for span in spans] == ["redacted"] * 3
    blocking = protect(model, Guard(BLOCKS_OUT))
    for _ in range(2):
        with pytest.raises(GuardrailViolation):
            said(blocking, "Hi")
    assert len(model.received) == 2


def test_two_guards_both_judge_a_hit(kind, cache, said):
    """Of two guards around a model with a cache, both judge what is found."""
    _, given = cache
    model = kind(answer=f"say {SECRET} or bad", cache=given)
    bad = Guardrail(Flags(when="bad", kind="BAD", name="bad"), stage="output", action="redact")
    guarded = protect(protect(model, Guard(REDACTS_OUT)), Guard(bad))
    assert [said(guarded, "Hi") for _ in range(2)] == ["say <FAKE> or <BAD>"] * 2
    assert len(model.received) == 1


def test_callbacks_see_no_raw_answer(kind, cache, said):
    """Neither tokens nor the end of a run, of a hit or a miss, show what is redacted."""
    _, given = cache
    told = []

    class Listens(BaseCallbackHandler):
        def on_llm_new_token(self, token, **kwargs):
            told.append(token)

        def on_llm_end(self, response, **kwargs):
            told.append(repr(response))

    guarded = protect(kind(answer=f"say {SECRET}", cache=given), Guard(REDACTS_OUT))
    for _ in range(2):
        said(guarded, "Hi", config={"callbacks": [Listens()]})
    assert told
    assert SECRET not in repr(told)


async def test_events_see_no_raw_answer(kind, cache):
    """An event stream over a cache shows the guarded answer, of a miss and of a hit."""
    _, given = cache
    guarded = protect(kind(answer=f"say {SECRET}", cache=given), Guard(REDACTS_OUT))
    for _ in range(2):
        events = [event async for event in guarded.astream_events("Hi", version="v2")]
        assert SECRET not in repr(events)
        assert "say <FAKE>" in repr(events)


@pytest.mark.parametrize("use_async", [False, True])
def test_several_prompts_are_looked_up_one_by_one(use_async):
    """Of several prompts for a text model, the blocked ones are not looked up and the known ones are not asked."""
    keeps = Keeps()
    model = FakeText(answer=lambda prompt: f"{prompt}!", cache=keeps)
    guarded = protect(model, Guard(BLOCKS_IN, refusal="No."))

    def generated(prompts):
        result = asyncio.run(guarded.agenerate(prompts)) if use_async else guarded.generate(prompts)
        return [candidates[0].text for candidates in result.generations]

    assert generated(["one"]) == ["one!"]
    assert generated(["one", "bad", "two"]) == ["one!", "No.", "two!"]
    assert (model.received, keeps.asked) == (["one", "two"], ["one", "one", "two"])


def test_a_copy_shows_the_cache_that_it_has(kind):
    """The field is as it was given, and a cache that is switched off stays off."""
    keeps = Keeps()
    guarded = protect(kind(cache=keeps), Guard(REDACTS_OUT))
    assert guarded.cache is keeps
    guarded.cache = False
    guarded.invoke("Hi")
    assert keeps.asked == []


def test_a_cache_that_is_asked_for_must_be_there(kind):
    """cache=True without a cache of the process is LangChain's own error."""
    with pytest.raises(ValueError, match="cache"):
        protect(kind(cache=True), Guard(REDACTS_OUT)).invoke("Hi")


def test_a_hit_does_not_use_up_the_rate(fake_chat):
    """A rate limiter limits the calls of the model, not the hits, as without a guard."""

    class Counts(InMemoryRateLimiter):
        acquired = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            Counts.acquired += 1
            return True

    guarded = protect(fake_chat(cache=Keeps(), rate_limiter=Counts()), Guard(REDACTS_OUT))
    for _ in range(3):
        guarded.invoke("Hi")
    assert Counts.acquired == 1
