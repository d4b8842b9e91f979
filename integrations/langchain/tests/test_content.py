"""Everything textual in a message is judged and edited, in what goes to a model and in what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Pseudonymize, Reask
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

S = "ЖЦЩЮЯ"  # the secret, of letters that are nowhere else
G = "<FAKE>"
ESCAPED = json.dumps(S)[1:-1]


class Person(BaseModel):
    """A parsed answer."""

    name: str
    age: int = 3


# Of a message: its fields, with the secret in each place where a provider keeps a text.
BLOCKS: dict[str, Any] = {
    "text": {"type": "text", "text": S},
    "output_text": {"type": "output_text", "text": S, "annotations": [{"type": "file_citation", "quote": S}]},
    "citation": {"type": "text", "text": "a", "annotations": [{"type": "citation", "cited_text": S, "title": S}]},
    "reasoning": {"type": "reasoning", "reasoning": S, "id": "rs_1"},
    "summary": {"type": "reasoning", "summary": [{"type": "summary_text", "text": S}], "encrypted_content": "gAAA"},
    "thinking": {"type": "thinking", "thinking": S, "signature": "c2ln"},
    "non_standard": {"type": "non_standard", "value": {"type": "odd", "said": [S, {"deep": S}]}},
    "text-plain": {"type": "text-plain", "mime_type": "text/plain", "text": S, "title": S, "context": S},
    "document": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": S}, "title": S},
    "file": {"type": "file", "file": {"filename": f"{S}.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
    "server_tool_call": {"type": "server_tool_call", "id": "s1", "name": "search", "args": {"query": S}},
    "server_tool_result": {"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": {S: [S]}},
    "tool_use": {"type": "tool_use", "id": "t1", "name": "send", "input": {"to": S, "n": 5, "all": [S]}},
    "tool_result": {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": S}]},
    "input_json": {
        "type": "tool_use",
        "id": "t1",
        "name": "send",
        "input": {},
        "partial_json": f'{{"to": "{ESCAPED}"}}',
    },
    "function_call": {"type": "function_call", "name": "f", "call_id": "c1", "arguments": f'{{"to":"{S}", "n":1.50}}'},
    "invalid": {
        "type": "invalid_tool_call",
        "id": "t1",
        "name": "f",
        "args": f'{{"to": "{ESCAPED}',
        "error": f"no: {S}",
    },
    "refusal": {"type": "refusal", "refusal": S},
    "named": {"type": "brand_new", "name": S, "id": "1"},
    "titled": {"type": "brand_new", "name": S},
    "bytes": {"type": "brand_new", "raw": S.encode()},
    "prose_in_a_fact": {"type": "brand_new", "status": f"is {S}"},
    "unheard_of": {"type": "brand_new", "whatever": {"it": ["is", S]}},
}
RAW = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": f'{{"to": "{ESCAPED}", "to": "{S}"}}'}}
FIELDS: dict[str, Any] = {
    **{name: {"content": [block]} for name, block in BLOCKS.items()},
    "string": {"content": S},
    "strings": {"content": ["a", S]},
    "json_string": {"content": f'{{"to": "{ESCAPED}"}}'},
    "reasoning_content": {"content": "a", "additional_kwargs": {"reasoning_content": S}},
    "kwargs_function_call": {"content": "", "additional_kwargs": {"function_call": RAW["function"]}},
    "kwargs_tool_calls": {"content": "", "additional_kwargs": {"tool_calls": [RAW]}},
    "kwargs_refusal": {"content": "", "additional_kwargs": {"refusal": S}},
    "transcript": {"content": "", "additional_kwargs": {"audio": {"id": "a", "data": "AAAA", "transcript": S}}},
    "parsed": {"content": "a", "additional_kwargs": {"parsed": Person(name=S)}},
    "tool_calls": {"content": "", "tool_calls": [{"name": "f", "args": {"to": S, S: 1}, "id": "1"}]},
    "tool_name": {"content": "", "tool_calls": [{"name": f"f_{S}", "args": {}, "id": "1"}]},
    "invalid_tool_calls": {
        "content": "",
        "invalid_tool_calls": [{"name": "f", "args": f'{{"a": "{S}', "id": "1", "error": f"bad {S}"}],
    },
    "metadata": {"content": "a", "response_metadata": {"model_name": "m", "grounding": [{"segment": {"text": S}}]}},
}


def holds(value: Any) -> bool:
    """Whether a letter of the secret is in a value, as it is, escaped or encoded."""
    written = repr(value)
    # With what an escape begins with, as ids are made of such digits, too.
    forms = [(letter, f"u{ord(letter):04x}", f"x{ord(letter):04x}", repr(letter.encode())[2:-1]) for letter in S]
    return any(form in written for letter in forms for form in letter)


def redacts(stage: Any = "output", **options: Any) -> Guardrail:
    """Redacts the secret."""
    return Guardrail(Flags(when=S), stage=stage, action="redact", **options)


def whole(said: Any) -> ChatResult:
    """What a provider returns that says these messages."""
    return ChatResult(generations=[ChatGeneration(message=message) for message in said])


@pytest.fixture
def answers(fake_chat):
    """A protected model that answers with these messages."""

    class Answering(fake_chat):
        def _generate(self, messages, *args, **kwargs):
            return whole(self._said(messages))

    return lambda rules, *said, **options: protect(Answering(answer=list(said)), Guard(*rules, **options))


@pytest.mark.parametrize("place", FIELDS)
def test_no_place_in_an_answer_hides_a_text(answers, place):
    """Wherever the provider keeps a text of the answer, what is removed is removed there."""
    message = AIMessage(**FIELDS[place])
    before = message.model_dump_json()
    assert holds(message)
    answer = answers([redacts()], message).invoke("Hi")
    assert not holds(answer.model_dump())
    assert G in repr(answer)
    assert message.model_dump_json() == before, "the provider's message stays as it is"


@pytest.mark.parametrize("place", [name for name in FIELDS if name != "metadata"])
def test_no_place_in_the_history_hides_a_text(fake_chat, place):
    """What the model said before goes back to it without what is removed."""
    model = fake_chat()
    message = AIMessage(**FIELDS[place])
    protect(model, Guard(redacts("input"))).invoke([HumanMessage("Hi"), message, HumanMessage("And?")])
    assert not holds([sent.model_dump() for sent in model.received[0]])
    assert holds(message)


@pytest.mark.parametrize("place", FIELDS)
def test_a_blocking_rule_finds_it_in_every_place(answers, place):
    """What blocks an answer blocks it wherever the text is."""
    with pytest.raises(GuardrailViolation):
        answers([Guardrail(Flags(when=S), stage="output")], AIMessage(**FIELDS[place])).invoke("Hi")


def test_everything_else_stays(answers):
    """Ids, types, numbers and texts without a finding are as they were, raw JSON to the letter."""
    arguments = f'{{"to":"{S}",  "n": 1.50, "deep": {{"e": "caf\\u00e9"}}}}'
    message = AIMessage(
        content=[BLOCKS["thinking"], {"type": "text", "text": "fine"}],
        additional_kwargs={"tool_calls": [{**RAW, "function": {"name": "f", "arguments": arguments}}]},
        response_metadata={"model_name": "m", "finish_reason": "stop"},
        id="resp-1",
    )
    answer = answers([redacts()], message).invoke("Hi")
    assert answer.content == [{**BLOCKS["thinking"], "thinking": G}, {"type": "text", "text": "fine"}]
    raw = answer.additional_kwargs["tool_calls"][0]["function"]["arguments"]
    assert raw == arguments.replace(S, G)
    assert answer.tool_calls == [
        {"name": "f", "args": {"to": G, "n": 1.5, "deep": {"e": "café"}}, "id": "c1", "type": "tool_call"}
    ]
    assert (answer.id, answer.response_metadata) == ("resp-1", message.response_metadata)


@pytest.mark.parametrize("place", FIELDS)
def test_an_answer_without_a_finding_is_as_it_was(answers, place):
    """Nothing of an answer changes in which nothing is found."""
    message = AIMessage(**FIELDS[place])
    rule = Guardrail(Flags(when="never"), stage="output", action="redact")
    assert answers([rule], message).invoke("Hi").model_dump(exclude={"id"}) == message.model_dump(exclude={"id"})


def test_a_match_across_two_arguments_is_found(answers):
    """What is split over two values of a call is removed from both; what replaces it is in the first."""
    message = AIMessage("", tool_calls=[{"name": "f", "args": {"a": f"x{S[:2]}", "b": S[2:], "c": "y"}, "id": "1"}])
    assert answers([redacts()], message).invoke("Hi").tool_calls[0]["args"] == {"a": f"x{G}", "b": "", "c": "y"}


def test_a_number_in_arguments_is_a_text(answers):
    """A number that is personal data becomes a text, which the tool's schema may refuse: it does not leave."""
    message = AIMessage("", tool_calls=[{"name": "f", "args": {"n": 9001011234567, "m": 5}, "id": "1"}])
    rule = Guardrail(Flags(when="9001011234567"), stage="output", action="redact")
    assert answers([rule], message).invoke("Hi").tool_calls[0]["args"] == {"n": G, "m": 5}


@pytest.mark.parametrize("stage", ["output", "tool_call"])
def test_all_arguments_are_one_text_to_a_scorer(answers, stage):
    """A scorer judges a call once, a line for each name, key and value, and what runs together once more."""
    scorer = Flags(when="never")
    message = AIMessage("", tool_calls=[{"name": "f", "args": {"to": "a", "n": [5]}, "id": "1"}])
    answers([Guardrail(scorer, stage=stage)], message).invoke("Hi")
    assert scorer.seen == ["f\nto\na\nn\n5", "a5"]


def test_the_text_is_what_a_rule_of_the_tool_call_stage_does_not_judge(answers):
    """Rules of the tool_call stage look at arguments, and at nothing else of an answer."""
    answer = answers([redacts("tool_call")], AIMessage(S, tool_calls=[{"name": "f", "args": {"a": S}, "id": "1"}]))
    told = answer.invoke("Hi")
    assert (told.content, told.tool_calls[0]["args"]) == (S, {"a": G})


def test_each_candidate_is_judged(answers):
    """With n > 1 each candidate is redacted, and one that is blocked blocks them all."""
    said = [AIMessage("fine"), AIMessage(S)]
    result = answers([redacts()], *said).generate([[HumanMessage("Hi")]])
    assert [generation.text for generation in result.generations[0]] == ["fine", G]
    with pytest.raises(GuardrailViolation):
        answers([Guardrail(Flags(when=S), stage="output")], *said).generate([[HumanMessage("Hi")]])


def test_what_a_tool_gave_is_judged_with_its_artifact(fake_chat):
    """Content and artifact of a tool's message are judged; the objects of the caller stay as they are."""
    model = fake_chat()
    message = ToolMessage(f"found {S}", tool_call_id="1", artifact={"rows": [Person(name=S)], "n": 1})
    protect(model, Guard(redacts("input"))).invoke([HumanMessage("Hi"), message])
    sent = model.received[0][1]
    assert (sent.content, sent.artifact) == (f"found {G}", {"rows": [Person(name=G)], "n": 1})
    assert message.artifact["rows"][0].name == S


def test_json_of_a_tool_is_read_without_its_escapes(fake_chat):
    """A tool's JSON that writes every letter as an escape is judged by what it says."""
    model = fake_chat()
    message = ToolMessage(f'{{"name": "{ESCAPED}", "rest": "\\ud55c"}}', tool_call_id="1")
    protect(model, Guard(redacts("input"))).invoke([HumanMessage("Hi"), message])
    assert model.received[0][1].content == f'{{"name": "{G}", "rest": "\\ud55c"}}'


@pytest.mark.parametrize(
    "kind", [HumanMessage, SystemMessage, lambda content, name: ChatMessage(content, role="x", name=name)]
)
def test_the_name_of_who_speaks_is_judged(fake_chat, kind):
    """A name goes to the provider with its message; what replaces it is a name that providers take."""
    model = fake_chat()
    protect(model, Guard(redacts("input"))).invoke([kind("Hi", name=f"{S}-2")])
    assert model.received[0][0].name == "FAKE-2"


def test_names_of_tools_and_agents_are_the_programs(fake_chat):
    """What names a tool or an agent is no text of anybody."""
    model = fake_chat()
    scorer = Flags(when="never")
    history = [AIMessage("a", name="agent"), ToolMessage("b", tool_call_id="1", name="search")]
    protect(model, Guard(Guardrail(scorer, stage="input", roles=("assistant", "tool")))).invoke(history)
    assert scorer.seen == ["a", "b"]


IMAGE = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
UNSCANNED = {
    "image": [IMAGE],
    "image_url": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}}],
    "anthropic": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}],
    "audio": [{"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}],
    "video": [{"type": "video", "url": "https://example.com/v"}],
    "file": [{"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}],
    "media": [{"type": "media", "mime_type": "audio/wav", "data": "AAAA"}],
}


@pytest.mark.parametrize("case", UNSCANNED)
def test_what_nobody_can_look_at_passes_and_is_on_the_span(fake_chat, captured, case):
    """Images, audio, video and files pass as they are; the span says which were not scanned."""
    model = fake_chat()
    message = HumanMessage([{"type": "text", "text": S}, *UNSCANNED[case]])
    protect(model, Guard(redacts("input"), **captured.providers)).invoke([message])
    assert model.received[0][0].content == [{"type": "text", "text": G}, *UNSCANNED[case]]
    kind = {"image_url": "image", "anthropic": "image", "media": "audio"}.get(case, case)
    assert captured.span("chat fake-1").attributes["llmguard.not_scanned"] == (kind,)


def test_a_guard_without_rules_says_nothing_of_images(fake_chat, captured):
    """Where nothing is judged, nothing is said of what was not."""
    protect(fake_chat(), Guard(**captured.providers)).invoke([HumanMessage([IMAGE])])
    assert "llmguard.not_scanned" not in captured.span("chat fake-1").attributes


def test_both_ends_of_a_call_say_what_was_not_scanned(answers, captured):
    """An image that goes in and audio that comes out are on one span."""
    said = AIMessage("", additional_kwargs={"audio": {"id": "a", "data": "AAAA", "transcript": "Hello."}})
    guard = [redacts("input"), redacts("output", name="out")]
    answers(guard, said, **captured.providers).invoke([HumanMessage([IMAGE])])
    assert captured.span("chat fake-1").attributes["llmguard.not_scanned"] == ("audio", "image")


def test_originals_come_back_to_texts_and_to_tools_that_may_see_them(answers):
    """A placeholder in a tool call stays one, unless the action says restore_tools=True."""
    for restore in (False, True):
        seen: list[Any] = []

        def said(messages: Any, seen: list[Any] = seen) -> Any:
            seen.append(messages[0].content)
            call = {"name": "f", "args": {"to": messages[0].content, "quote": '"'}, "id": "1"}
            kwargs = {"reasoning_content": messages[0].content}
            return [
                AIMessage([{"type": "text", "text": messages[0].content}], additional_kwargs=kwargs, tool_calls=[call])
            ]

        rule = Guardrail(pii(), stage="input", action=Pseudonymize(restore_tools=restore))
        model = answers([rule])
        model.answer = said
        answer = model.invoke("a@b.co")
        assert "a@b.co" not in seen[0]
        assert (answer.text, answer.additional_kwargs["reasoning_content"]) == ("a@b.co", "a@b.co")
        assert answer.tool_calls[0]["args"] == {"to": "a@b.co" if restore else seen[0], "quote": '"'}


def test_the_model_is_asked_again_for_what_is_in_its_arguments(answers):
    """An answer that is turned down for a tool call is asked for again."""
    turns = iter([{"a": S}, {"a": "fine"}])
    model = answers([Guardrail(Flags(when=S), stage="output", action=Reask(feedback="Be nice."))])
    model.answer = lambda _: [AIMessage("", tool_calls=[{"name": "f", "args": next(turns), "id": "1"}])]
    assert model.invoke("Hi").tool_calls[0]["args"] == {"a": "fine"}
    assert model.received[1][-1].content == "Be nice."


def test_scorers_may_ask_for_the_question_beside_any_text(fake_chat):
    """With a message of blocks among them, the question is still the last thing that the user said."""
    asked: list[Any] = []

    def watches(text: str, question: str) -> bool:
        asked.append((text, question))
        return False

    messages = [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]), HumanMessage("Why?")]
    protect(fake_chat(), Guard(Guardrail(watches, stage="input", roles=("user", "assistant")))).invoke(messages)
    assert asked == [("f", "Why?"), ("Why?", "Why?")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json"),
        ({"response_format": {"type": "text"}}, "text"),
        ({}, None),
    ],
)
@pytest.mark.parametrize("way", ["protect", "callback"])
def test_the_kind_of_answer_that_is_asked_for_is_on_the_span(fake_chat, captured, way, given, expected):
    """As gen_ai.output.type where a call says so, as `with_structured_output` binds it; else nothing is said."""
    guard = Guard(**captured.providers)
    if way == "protect":
        protect(fake_chat(), guard).invoke("Hi", **given)
    else:
        fake_chat().bind(**given).invoke("Hi", {"callbacks": [GuardCallback(guard)]})
    (span,) = captured.spans
    assert span.attributes.get("gen_ai.output.type") == expected


def test_settings_of_the_request_are_on_the_span(fake_chat, captured):
    """What the model's own fields say of sampling is told by the names of the conventions; one choice is not."""

    class Set(fake_chat):
        top_p: float = 1
        top_k: int = 4
        seed: int | None = None
        frequency_penalty: float = 0.5
        presence_penalty: float = 0.25
        n: int = 1
        stop: list[str] = ["a"]  # noqa: RUF012 - a pydantic field
        max_tokens: int = 9

    protect(Set(), Guard(**captured.providers)).invoke("Hi")
    protect(Set(n=2), Guard(**captured.providers)).invoke("Hi")
    one, two = (span.attributes for span in captured.spans)
    assert {name: value for name, value in one.items() if ".request." in name} == {
        "gen_ai.request.frequency_penalty": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.model": "fake-1",
        "gen_ai.request.presence_penalty": 0.25,
        "gen_ai.request.stop_sequences": ("a",),
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_k": 4,
        "gen_ai.request.top_p": 1.0,
    }
    assert two["gen_ai.request.choice.count"] == 2


def test_what_only_its_provider_can_read_stays(answers):
    """Encrypted thoughts, signatures and ids go back to the provider as they came."""
    blocks = [
        {"type": "redacted_thinking", "data": S},
        {"type": "thinking", "thinking": "a", "signature": S},
        {"type": "reasoning", "encrypted_content": S, "id": S},
    ]
    assert answers([redacts()], AIMessage(blocks)).invoke("Hi").content == blocks


def test_a_placeholder_across_two_parts_comes_back_whole(answers):
    """A model that cuts a placeholder between two blocks still gives the original, and in parsed objects too."""

    def said(messages: Any) -> Any:
        told = messages[0].content
        blocks = [{"type": "text", "text": f"I {told[:5]}"}, {"type": "text", "text": told[5:]}]
        return [AIMessage(blocks, additional_kwargs={"parsed": Person(name=told), "note": "x"})]

    model = answers([Guardrail(pii(), stage="input", action="pseudonymize")])
    model.answer = said
    answer = model.invoke("a@b.co")
    assert [block["text"] for block in answer.content] == ["I a@b.co", ""]
    assert answer.additional_kwargs["parsed"] == Person(name="a@b.co")


def test_a_tool_call_in_three_places_is_redacted_once(answers, captured):
    """What a provider writes down three times is one redaction, and says the same in all of them."""
    message = AIMessage(
        content=[{"type": "tool_use", "id": "c1", "name": "f", "input": {"to": S}}],
        additional_kwargs={
            "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": f'{{"to": "{ESCAPED}"}}'}}]
        },
        tool_calls=[{"id": "c1", "name": "f", "args": {"to": S}}],
    )
    answer = answers([redacts()], message, **captured.providers).invoke("Hi")
    assert answer.content[0]["input"] == answer.tool_calls[0]["args"] == {"to": G}
    assert answer.additional_kwargs["tool_calls"][0]["function"]["arguments"] == f'{{"to": "{G}"}}'
    assert captured.span("chat fake-1").attributes["llmguard.redactions"] == 1
