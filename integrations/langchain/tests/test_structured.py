"""Structured output of a protected model: what the user gets, parsed or raw, holds nothing that was removed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from langchain_core.exceptions import OutputParserException
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from llmguard_langchain import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Mask, Replace
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

MAIL = "hong@example.com"
ESCAPED = "\\u0068ong@example.com"
GONE = "<EMAIL_ADDRESS>"


class Person(BaseModel):
    """What is asked for."""

    name: str
    mail: str
    notes: list[str] = []


PERSON = f'{{"name": "홍", "mail": "{MAIL}", "notes": ["ask {ESCAPED}", "none"]}}'


def provider(text: str, *, size: int = 3) -> ChatOpenAI:
    """OpenAI's own client, whose server says this: as content, or as a tool's arguments if it was given tools."""

    def serve(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        usage = {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }
        head = {"id": "chatcmpl-1", "created": 1, "model": "gpt-x-1"}
        name = asked["tools"][0]["function"]["name"] if asked.get("tools") else ""

        def called(arguments: str, *, first: bool) -> dict[str, Any]:
            start = {"id": "call_1", "type": "function"} if first else {}
            function = {"arguments": arguments, **({"name": name} if first else {})}
            return {"content": None, "tool_calls": [{"index": 0, **start, "function": function}]}

        if not asked.get("stream"):
            said = called(text, first=True) if name else {"content": text}
            choices = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **said}}]
            return httpx.Response(200, json={**head, "object": "chat.completion", "choices": choices, "usage": usage})
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        deltas = [called(p, first=n == 0) if name else {"content": p} for n, p in enumerate(pieces)]
        choices_of = [[{"index": 0, "delta": {"role": "assistant", **delta}}] for delta in deltas]
        choices_of.append([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        chunks = [{**head, "object": "chat.completion.chunk", "choices": choices} for choices in choices_of]
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return httpx.Response(200, content="".join([*lines, "data: [DONE]\n\n"]))

    client = httpx.Client(transport=httpx.MockTransport(serve))
    return ChatOpenAI(model="gpt-x", api_key="sk-none", http_client=client, stream_usage=True, max_retries=0, seed=7)


METHODS = ["function_calling", "json_mode", "json_schema"]
REDACTS = Guardrail(pii(), stage="output", action="redact")


def asked(rule: Guardrail, text: str = PERSON, method: str = "json_mode", **options: Any) -> Any:
    """The protected model that gives a Person."""
    return protect(provider(text), Guard(rule)).with_structured_output(Person, method=method, **options)


@pytest.mark.parametrize("method", METHODS)
def test_the_parsed_object_holds_nothing_that_was_removed(method):
    """By each method the object that the user gets is redacted, also where JSON escapes hid a match."""
    person = asked(REDACTS, method=method).invoke("Who?")
    assert person == Person(name="홍", mail=GONE, notes=[f"ask {GONE}", "none"])


@pytest.mark.parametrize("method", METHODS)
def test_neither_does_the_raw_message(method):
    """With include_raw=True the message holds it nowhere either."""
    answer = asked(REDACTS, method=method, include_raw=True).invoke("Who?")
    assert answer["parsed"].mail == GONE
    assert answer["parsing_error"] is None
    assert "example.com" not in repr(answer["raw"].model_dump())


@pytest.mark.parametrize("method", ["function_calling", "json_mode"])
def test_a_streamed_object_holds_nothing_of_it_at_any_time(method):
    """Every partial object is free of it, and the last is the whole one."""
    parts = list(asked(REDACTS, method=method).stream("Who?"))
    assert "hong" not in repr(parts)
    assert parts[-1] == Person(name="홍", mail=GONE, notes=[f"ask {GONE}", "none"])


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_keeps_the_json_valid(method):
    """What is masked is masked inside its string."""
    rule = Guardrail(pii(), stage="output", action=Mask(keep_last=2))
    assert asked(rule, method=method).invoke("Who?").mail == "**************om"


def test_a_match_across_quotes_leaves_valid_json():
    """An edit that would take quotes and braces with it is made inside the strings that it touches."""
    rule = Guardrail(Flags(when='a", "mail": "b'), stage="output", action="redact")
    person = asked(rule, '{"name": "a", "mail": "b"}').invoke("Who?")
    assert person == Person(name="<FAKE>", mail="")


def test_a_text_in_place_of_all_is_no_object():
    """Where a rule replaces the whole answer, LangChain's parser says that there is nothing to parse."""
    rule = Guardrail(pii(), stage="output", action=Replace("I cannot say."))
    with pytest.raises(OutputParserException, match="I cannot say"):
        asked(rule).invoke("Who?")


@pytest.mark.parametrize("stage", ["output", "tool_call"])
@pytest.mark.parametrize("streamed", [False, True])
def test_arguments_of_tools_are_judged_as_output_and_as_tool_call(stage, streamed):
    """A blocking rule of either stage stops an answer for what is in its arguments."""
    structured = asked(Guardrail(Flags(when=MAIL), stage=stage), method="function_calling")
    with pytest.raises(GuardrailViolation) as raised:
        list(structured.stream("Who?")) if streamed else structured.invoke("Who?")
    assert raised.value.to_dict()["stage"] == stage


@pytest.mark.parametrize("streamed", [False, True])
def test_cached_and_reasoning_tokens_are_on_the_span(captured, streamed):
    """The span of a call has what the provider counted, whole and streamed, and the seed that was asked for."""
    model = protect(provider("Hello."), Guard(REDACTS, **captured.providers))
    list(model.stream("Hi")) if streamed else model.invoke("Hi")
    told = captured.span("chat gpt-x").attributes
    assert {name: value for name, value in told.items() if "usage" in name or "seed" in name} == {
        "gen_ai.request.seed": 7,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }
