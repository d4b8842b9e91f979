"""An LLM as a judge: asked for a form, counted, and neither judged nor scored itself, whatever guards it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fakes_llm import Speaking
from fakes_parts import answer_of
from llama_index.llms.openai_like import OpenAILike

from llmguard_llamaindex import attach, instrument, protect, uninstrument
from llmguard_middleware import Guardrail, Monitor
from llmguard_middleware.scorers import judge, judges
from llmguard_middleware.testing import Flags

GOOD = '{"reasoning": "It says so.", "score": 0.75}'
PROMPT = "Is {output} a good answer to {question}?"
JUDGE = "llmguard.judge.name"
EVERYTHING = (
    Guardrail(Flags(when=""), stage="input", name="all-in"),
    Guardrail(Flags(when=""), stage="output", name="all-out"),
)


class Seen:
    """A monitor's scorer that flags nothing and keeps what it was given."""

    name = "seen"

    def __init__(self) -> None:
        self.outputs: list[str] = []

    def score(self, output: Any) -> bool:
        """Keep it."""
        self.outputs.append(str(output))
        return False


def marked(telemetry) -> list[tuple[str, Any]]:
    """The names of the spans and of the judges that they are of."""
    return [(span.name, (span.attributes or {}).get(JUDGE, "")) for span in telemetry.spans]


def speaking(text: str = GOOD) -> Speaking:
    """An LLM that always says this."""
    return Speaking(answer=answer_of(text))


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_guarded_judge_is_neither_blocked_nor_scored(telemetry, how):
    """Its guard blocks and monitors all there is; its call has one span, which says whose it is."""
    seen = Seen()
    guard = telemetry.guard(*EVERYTHING, Monitor(seen))
    good = judge(PROMPT, model=protect(speaking(), guard), name="good")
    given = {"output": "yes", "question": "what?"}
    score = good.score(**given) if how == "sync" else asyncio.run(good.ascore(**given))
    assert guard.flush(timeout=10) == 0
    assert (score.value, score.explanation, seen.outputs) == (0.75, "It says so.", [])
    assert marked(telemetry) == [("chat speaking", "good")]
    assert telemetry.flagged == []


@pytest.mark.parametrize("protected", [False, True])
def test_a_judge_in_an_instrumented_process_is_marked_and_not_scored(telemetry, protected):
    """Also if it is guarded by another guard as well, which then has its span."""
    seen = Seen()
    llm: Any = speaking()
    if protected:
        llm = protect(llm, telemetry.guard(*EVERYTHING))
    guard = telemetry.guard(Guardrail(Flags(when=""), stage="input", action="log"), Monitor(seen), name="watch")
    instrument(guard)
    try:
        score = judge(PROMPT, model=llm).score(output="a", question="b")
    finally:
        uninstrument()
    assert guard.flush(timeout=10) == 0
    assert (score.value, seen.outputs, marked(telemetry)) == (0.75, [], [("chat speaking", "judge")])


def test_the_model_of_an_engine_may_judge_it(telemetry, engine, llm):
    """The engine's answers are judged by the LLM that gives them; its question has a span, and only it is a judge's."""
    seen = Seen()
    asked = judge("Is {output} right?", model=speaking(), name="own")
    guarded = attach(engine(llm), telemetry.guard(Guardrail(asked, stage="output"), Monitor(seen)))
    watch = telemetry.guard(Monitor(seen), name="watch")
    instrument(watch)
    try:
        guarded.query("hello")
    finally:
        uninstrument()
    assert [judged for _, judged in marked(telemetry) if judged] != []
    assert {judged for _, judged in marked(telemetry)} == {"", "own"}
    assert not [output for output in seen.outputs if "score" in output]


def test_two_guards_around_a_judge_share_its_span(telemetry):
    """As around any LLM."""
    llm = protect(protect(speaking(), telemetry.guard(*EVERYTHING)), telemetry.guard(*EVERYTHING, name="outer"))
    assert judge(PROMPT, model=llm).score(output="a", question="b").value == 0.75
    assert marked(telemetry) == [("chat speaking", "judge")]


def test_the_usage_is_counted_against_the_budget():
    """LlamaIndex passes on what the provider says: three tokens here."""
    budget = judges.Budget(tokens=7)
    asked = judge(PROMPT, model=speaking(), budget=budget)
    scores = [asked.score(output="a", question="b") for _ in range(4)]
    assert [score.unscored for score in scores] == [False, False, True, True]
    assert budget.spent.tokens == 6


def test_an_llm_of_openai_is_asked_by_a_schema():
    """Of the classes whose chat takes OpenAI's response_format; another is asked in words."""
    asked = []

    class OpenAI(Speaking):
        def chat(self, messages, **kwargs):
            asked.append(kwargs)
            return super().chat(messages)

    OpenAI.__module__ = "llama_index.llms.openai.base"
    assert judge(PROMPT, model=OpenAI(answer=answer_of(GOOD))).score(output="a", question="b").value == 0.75
    assert asked[0]["response_format"]["json_schema"]["schema"]["required"] == ["reasoning", "score"]
    assert judge(PROMPT, model=speaking("no")).score(output="a", question="b").metadata["reason"] == "no_answer"


def test_openais_own_client_is_asked_by_its_schema(telemetry):
    """OpenAILike, guarded, before a server in memory: a schema, then, as the server refuses that, any JSON."""
    asked: list[Any] = []

    def serve(request: httpx.Request) -> httpx.Response:
        form = json.loads(request.content).get("response_format")
        asked.append(form and form["type"])
        if asked[-1] == "json_schema":
            return httpx.Response(400, json={"error": {"message": "response_format is not supported"}})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": GOOD}}
        usage = {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}
        head = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini"}
        return httpx.Response(200, json={**head, "choices": [choice], "usage": usage})

    with httpx.Client(transport=httpx.MockTransport(serve)) as client:
        llm = OpenAILike(
            model="gpt-4o-mini",
            api_base="http://localhost:8000/v1",
            api_key="none",
            is_chat_model=True,
            max_retries=0,
            http_client=client,
        )
        good = judge(PROMPT, model=protect(llm, telemetry.guard(*EVERYTHING)), budget={"tokens": 20})
        scores = [good.score(output="a", question="b") for _ in range(3)]
    assert [score.value for score in scores] == [0.75, 0.75, None]
    assert asked == ["json_schema", "json_object", "json_object"]
    assert [judged for _, judged in marked(telemetry)] == ["judge"] * 3
