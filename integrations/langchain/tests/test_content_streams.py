"""A streamed answer with text, reasoning and tool calls is the whole answer, however it was cut."""

from __future__ import annotations

import json
import re
from functools import reduce
from itertools import count, pairwise
from operator import add
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, ChatMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmguard_langchain import protect
from llmguard_langchain._judged._difference import missing
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Replace
from llmguard_middleware.errors import LLMGuardError
from llmguard_middleware.scorers import prompt_injection, secrets
from llmguard_middleware.testing import Flags

# Letters that are nowhere else, so that each of them that leaves is seen.
SECRET = "ЖЦЩЮЯ"
GONE = "<FAKE>"
USAGE = {
    "input_tokens": 9,
    "output_tokens": 5,
    "total_tokens": 14,
    "input_token_details": {"cache_read": 4, "cache_creation": 2},
    "output_token_details": {"reasoning": 3},
}


def local(**options: Any) -> Guardrail:
    """Redacts the secret, in a stream through a window."""
    options = {"stage": "output", "action": "redact", **options}
    return Guardrail(Flags(when=SECRET, cheap=True, reach=len(SECRET), name=f"local-{options['stage']}"), **options)


def whole_answer() -> Guardrail:
    """Redacts the secret when it has seen the whole answer."""
    return Guardrail(Flags(when=SECRET), stage="output", action="redact")


class Scripted(BaseChatModel):
    """Streams just these chunks; their sum is the answer that it does not stream."""

    chunks: list[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        message = reduce(add, [chunk.model_copy(deep=True) for chunk in self.chunks])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        for chunk in self.chunks:
            yield ChatGenerationChunk(message=chunk.model_copy(deep=True))


def streamed(chunks: list[AIMessageChunk], *rules: Guardrail) -> tuple[list[Any], Any, Any]:
    """The chunks that leave, their sum, and the whole answer that leaves."""
    model = protect(Scripted(chunks=chunks), Guard(*rules))
    pieces = [chunk.message for chunk in model._stream([])]
    return pieces, reduce(add, pieces), model._generate([]).generations[0].message


def is_loose(block: Any) -> bool:
    """Whether this is a text block that LangChain adds to no other."""
    return isinstance(block, dict) and block.keys() == {"type", "text"}


def fields(message: Any) -> dict[str, Any]:
    """What must be the same; texts without an index are one, in however many pieces they came."""
    told = message.model_dump()
    if isinstance(told["content"], list):
        content: list[Any] = []
        for block in told["content"]:
            if content and is_loose(block) and is_loose(content[-1]):
                content[-1]["text"] += block["text"]
            else:
                content.append(block)
        told["content"] = content
    return told


def cut(text: str, at: list[int]) -> list[str]:
    """The text in pieces, cut at these places."""
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    return [text[a:b] for a, b in pairwise(places)]


def openai(reasoning: list[str], text: list[str], calls: list[list[str]]) -> list[AIMessageChunk]:
    """Strings: reasoning and raw tool calls among the additional arguments."""
    chunks = [AIMessageChunk(content="", id="resp-1")]
    chunks += [AIMessageChunk(content="", additional_kwargs={"reasoning_content": piece}) for piece in reasoning]
    chunks += [AIMessageChunk(content=piece) for piece in text]
    for index, pieces in enumerate(calls):
        for n, piece in enumerate(pieces):
            name, identity = (f"tool{index}", f"call-{index}") if n == 0 else (None, None)
            raw = {"index": index, "function": {"arguments": piece, **({"name": name} if name else {})}}
            chunks.append(
                AIMessageChunk(
                    content="",
                    additional_kwargs={"tool_calls": [raw]},
                    tool_call_chunks=[{"name": name, "args": piece, "id": identity, "index": index}],
                )
            )
    chunks.append(AIMessageChunk(content="", response_metadata={"finish_reason": "stop"}))
    return [*chunks, AIMessageChunk(content="", usage_metadata=USAGE)]


def anthropic(reasoning: list[str], text: list[str], calls: list[list[str]]) -> list[AIMessageChunk]:
    """Content blocks with an index."""
    chunks = [AIMessageChunk(content=[], id="msg-1", usage_metadata=USAGE)]
    chunks += [AIMessageChunk(content=[{"type": "thinking", "thinking": piece, "index": 0}]) for piece in reasoning]
    chunks.append(AIMessageChunk(content=[{"type": "thinking", "signature": "c2ln", "index": 0}]))
    chunks += [AIMessageChunk(content=[{"type": "text", "text": piece, "index": 1}]) for piece in text]
    for index, pieces in enumerate(calls, 2):
        begin = {"type": "tool_use", "id": f"toolu_{index}", "name": "look_up", "input": {}, "index": index}
        called = {"name": "look_up", "args": "", "id": f"toolu_{index}", "index": index}
        chunks.append(AIMessageChunk(content=[begin], tool_call_chunks=[called]))
        chunks += [
            AIMessageChunk(
                content=[{"type": "input_json_delta", "partial_json": piece, "index": index}],
                tool_call_chunks=[{"name": None, "args": piece, "id": None, "index": index}],
            )
            for piece in pieces
        ]
    return [*chunks, AIMessageChunk(content="", response_metadata={"stop_reason": "tool_use"})]


def loose(reasoning: list[str], text: list[str], calls: list[list[str]]) -> list[AIMessageChunk]:
    """Content blocks without an index, and each tool call in one chunk."""
    chunks = [AIMessageChunk(content=[{"type": "text", "text": piece}], id="gen-1") for piece in text]
    chunks += [AIMessageChunk(content=[], additional_kwargs={"reasoning_content": piece}) for piece in reasoning]
    for index, pieces in enumerate(calls):
        called = {"name": "look_up", "args": "".join(pieces), "id": f"c{index}", "index": None}
        chunks.append(AIMessageChunk(content=[], tool_call_chunks=[called]))
    return chunks


STYLES = {"openai": openai, "anthropic": anthropic, "loose": loose}
RULES = {
    "window": lambda: [local()],
    "held": lambda: [whole_answer()],
    "both": lambda: [local(), local(stage="tool_call")],
    "blocks": lambda: [local(), Guardrail(prompt_injection(), stage="output")],
}
words = st.lists(st.sampled_from(["one ", "two.", SECRET, SECRET[:3], SECRET[3:], '"', "{", "\\n", "한글"]), max_size=6)
said = words.map("".join)
arguments = st.dictionaries(st.sampled_from(["to", "body", "n"]), said | st.integers() | st.lists(said, max_size=2))
places = st.lists(st.integers(0, 200), max_size=12)
dumped = st.tuples(arguments, st.booleans()).map(lambda pair: json.dumps(pair[0], ensure_ascii=pair[1]))
pieces_of = {
    "reasoning": st.tuples(said, places).map(lambda pair: cut(*pair)),
    "text": st.tuples(said, places).map(lambda pair: cut(*pair)),
    "calls": st.lists(st.tuples(dumped, places).map(lambda pair: cut(*pair)), min_size=2, max_size=2),
}


def clean(message: Any) -> None:
    """Nothing of a whole secret, as it is or as JSON escapes it, is anywhere in the message."""
    dump = json.dumps(message.model_dump(), ensure_ascii=False)
    dump += "\n".join(call["args"] or "" for call in message.tool_call_chunks)
    assert SECRET not in dump
    assert json.dumps(SECRET)[1:-1] not in dump.replace("\\\\", "\\")


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=30, deadline=None)
@given(**pieces_of)
def test_the_sum_of_the_chunks_is_the_whole_answer(style, rules, reasoning, text, calls):
    """For every cut of every provider's chunks: the sum of what leaves is what the whole answer would have been."""
    chunks = STYLES[style](reasoning, text, calls)
    pieces, total, whole = streamed(chunks, *RULES[rules]())
    assert fields(total) == fields(whole)
    clean(total)
    for piece in pieces:
        clean(piece)


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=20, deadline=None)
@given(**pieces_of)
def test_without_a_finding_the_sum_is_what_the_model_said(style, reasoning, text, calls):
    """Where nothing is found, every field of the sum is as without a guard."""
    chunks = STYLES[style](reasoning, text, calls)
    rule = Guardrail(Flags(when="never", cheap=True, reach=5), stage="output", action="redact")
    _, total, _ = streamed(chunks, rule)
    assert fields(total) == fields(reduce(add, chunks))


def block(**fields: Any) -> st.SearchStrategy[AIMessageChunk]:
    """A chunk with one content block."""
    return st.fixed_dictionaries(fields).map(lambda one: AIMessageChunk(content=[one]))


fragment = st.sampled_from(["one ", SECRET, SECRET[:2], SECRET[2:], "{", '{"a": "', '"}', "", "two. " * 9])
at = st.integers(0, 2)
MESSY = st.one_of(
    fragment.map(lambda text: AIMessageChunk(content=text)),
    fragment.map(lambda text: AIMessageChunk(content=[text])),
    block(type=st.just("text"), text=fragment),
    block(type=st.just("text"), text=fragment, index=at),
    block(
        type=st.just("text"), text=st.just(""), index=at, annotations=st.lists(st.fixed_dictionaries({"q": fragment}))
    ),
    block(type=st.just("thinking"), thinking=fragment, index=st.just(3)),
    block(
        type=st.just("reasoning"),
        index=st.just(4),
        summary=st.tuples(st.fixed_dictionaries({"index": at, "type": st.just("summary_text"), "text": fragment})).map(
            list
        ),
    ),
    block(type=st.just("input_json_delta"), partial_json=fragment, index=st.just(5)),
    block(type=st.just("image"), base64=st.just("AAAA"), mime_type=st.just("image/png")),
    block(type=st.just("image"), url=fragment, index=st.just(6)),
    block(type=st.just("odd"), said=st.lists(fragment)),
    st.tuples(fragment, st.sampled_from([None, 0, 1])).map(
        lambda it: AIMessageChunk(
            content="", tool_call_chunks=[{"name": None, "args": it[0], "id": None, "index": it[1]}]
        )
    ),
    fragment.map(lambda text: AIMessageChunk(content="", additional_kwargs={"reasoning_content": text})),
    fragment.map(lambda text: AIMessageChunk(content="a", additional_kwargs={"quotes": [text], "n": 1})),
    fragment.map(lambda text: AIMessageChunk(content="b", response_metadata={"stop_sequence": text, "took": 2})),
    st.just(AIMessageChunk(content="", usage_metadata=USAGE)),
    st.just(AIMessageChunk(content="", response_metadata={"finish_reason": "stop"})),
    st.just(AIMessageChunk(content="end", id="resp-1", chunk_position="last")),
)


@pytest.mark.parametrize("rules", RULES)
@settings(max_examples=150, deadline=None)
@given(chunks=st.lists(MESSY, min_size=1, max_size=9))
def test_any_mixture_of_chunks_adds_up_to_the_whole_answer(rules, chunks):
    """Whatever a provider mixes, in whatever order, the sum of what leaves is the whole answer."""
    pieces, total, whole = streamed(chunks, *RULES[rules]())
    assert fields(total) == fields(whole)
    for piece in (total, *pieces):
        clean(piece)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("style", STYLES)
def test_one_character_at_a_time_no_character_of_a_secret_leaves(style, rules):
    """Character by character, none of the secret's letters is in any field of any chunk; the rest is all there."""
    args = json.dumps({"to": f"x{SECRET}", "body": [f"{SECRET} and more"]}, ensure_ascii=False)
    escaped = json.dumps({"to": f"x{SECRET}", "body": [f"{SECRET} and more"]})
    chunks = STYLES[style](
        list(f"I think {SECRET} is it"), list(f"The key is {SECRET}, sir."), [list(args), list(escaped)]
    )
    pieces, total, _ = streamed(chunks, *RULES[rules]())
    for piece in pieces:
        assert not set(SECRET) & set(repr(piece.model_dump()))
        assert not any(f"u{ord(letter):04x}" in repr(piece.model_dump()) for letter in SECRET)
    assert total.text == f"The key is {GONE}, sir."
    assert [call["args"] for call in total.tool_calls] == [{"to": f"x{GONE}", "body": [f"{GONE} and more"]}] * 2
    assert f"I think {GONE} is it" in repr(total)


@pytest.mark.parametrize("style", STYLES)
def test_a_guarded_stream_stays_a_stream(style):
    """Text and reasoning leave while the model still writes; the names and arguments of tools follow at the end."""
    text, thought = [f"word{n} " for n in range(60)], [f"thought{n} " for n in range(60)]
    pieces, _, _ = streamed(STYLES[style](thought, text, [['{"a": ', '"b"}']]), local())
    assert len([piece for piece in pieces if piece.text]) > 5
    assert len([piece for piece in pieces if "thought" in repr(piece)]) > 5
    args = [n for n, piece in enumerate(pieces) if '"b"' in repr(piece.tool_call_chunks)]
    assert len(args) == 1


def test_arguments_that_never_parse_are_judged_as_they_are():
    """A tool call whose stream broke is judged as plain text and, escapes and all, by its strings."""
    broken = '{"to": "' + json.dumps(SECRET)[1:-1] + '", "body": "a ' + SECRET
    called = {"name": "send", "args": broken, "id": "1", "index": 0}
    _, total, whole = streamed([AIMessageChunk(content="", tool_call_chunks=[called])], local())
    assert fields(total) == fields(whole)
    assert total.tool_call_chunks[0]["args"] == '{"to": "' + GONE + '", "body": "a ' + GONE


def test_an_answer_that_is_json_is_held_until_it_parses():
    """The text of structured output is judged as JSON, in a stream as in a whole answer, and stays JSON."""
    text = json.dumps({"name": SECRET, "note": f"{SECRET[:2]}"})
    pieces, total, whole = streamed([AIMessageChunk(content=piece) for piece in text], local())
    assert fields(total) == fields(whole)
    assert json.loads(total.text) == {"name": GONE, "note": SECRET[:2]}
    assert len(pieces) == 1


def test_a_text_that_only_begins_like_json_streams():
    """A link or a quotation mark is no JSON and is not held."""
    for start in ("[link](to) ", "{name} ", "[1] says ", "[note] "):
        text = start + "word " * 60
        pieces, total, _ = streamed([AIMessageChunk(content=piece) for piece in text], local())
        assert total.content == text
        assert len(pieces) > 3


def test_a_match_across_two_text_blocks_of_a_stream_does_not_leave():
    """The beginning of a second block is held, since a match may lie across the two."""
    numbers = count()
    chunks = [AIMessageChunk(content=[])]
    for part in (f"key {SECRET[:2]}", f"{SECRET[2:]} end"):
        index = next(numbers)
        chunks += [AIMessageChunk(content=[{"type": "text", "text": letter, "index": index}]) for letter in part]
    pieces, total, whole = streamed(chunks, local())
    assert fields(total) == fields(whole)
    assert [block["text"] for block in total.content] == [f"key {GONE}", " end"]
    assert not any(set(SECRET) & set(repr(piece)) for piece in pieces)


def test_citations_and_images_keep_their_place():
    """What a text block cites is judged; an image between two texts stays between them."""
    cited = {"type": "citation", "cited_text": SECRET, "url": "https://example.com"}
    image = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    chunks = [
        AIMessageChunk(content=[{"type": "text", "text": "See "}]),
        AIMessageChunk(content=[image]),
        AIMessageChunk(content=[{"type": "text", "text": f"{SECRET}.", "annotations": [cited]}]),
    ]
    _, total, whole = streamed(chunks, local())
    assert total.content == whole.content
    assert total.content[1] == image
    assert total.content[2] == {"type": "text", "text": f"{GONE}.", "annotations": [{**cited, "cited_text": GONE}]}


def test_arguments_that_a_rule_blocks_never_leave():
    """A rule for tool calls holds their arguments, and nothing else of the stream."""
    rule = Guardrail(Flags(when="rm -rf"), stage="tool_call")
    called = {"name": "shell", "args": '{"run": "rm -rf /"}', "id": "1", "index": 0}
    chunks = [
        AIMessageChunk(content="I "),
        AIMessageChunk(content="will"),
        AIMessageChunk(content="", tool_call_chunks=[called]),
    ]
    seen = []
    model = protect(Scripted(chunks=chunks), Guard(rule))
    with pytest.raises(GuardrailViolation) as raised:
        seen.extend(chunk.message for chunk in model._stream([]))
    assert raised.value.to_dict()["stage"] == "tool_call"
    assert "".join(piece.text for piece in seen) == "I will"
    assert "rm" not in repr(seen)


def test_what_is_replaced_holds_nothing_of_what_was():
    """A rule that replaces leaves its text in place of each value, and tool calls keep the names that they have."""
    rule = Guardrail(Flags(when=SECRET), stage="output", action=Replace("(nothing)"))
    called = {"name": "send", "args": json.dumps({"to": "a", "n": 5, "body": SECRET}), "id": "1", "index": 0}
    _, total, whole = streamed([AIMessageChunk(content=SECRET, tool_call_chunks=[called])], rule)
    assert fields(total) == fields(whole)
    assert total.content == "(nothing)"
    assert total.tool_calls[0]["args"] == {"to": "(nothing)", "n": "", "body": ""}


def test_a_race_holds_every_field_until_its_verdict(fake_chat):
    """While a guardrail races with the model, tool calls do not leave either."""
    called = {"name": "pay", "args": "{}", "id": "1", "index": 0}
    chunks = [AIMessageChunk(content="", tool_call_chunks=[called]), AIMessageChunk(content="x")]
    model = protect(Scripted(chunks=chunks), Guard(Guardrail(Flags(when="bad"), stage="input", race=True)))
    assert reduce(add, model.stream("good")).tool_calls[0]["name"] == "pay"
    seen = []
    with pytest.raises(GuardrailViolation):
        seen.extend(model.stream("bad"))
    assert seen == []


def test_real_secrets_in_arguments_one_character_at_a_time():
    """A key that a built-in scorer knows does not leave in a tool call."""
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    args = json.dumps({"key": key, "rest": "ok"})
    chunks = [
        AIMessageChunk(content="", tool_call_chunks=[{"name": None, "args": letter, "id": None, "index": 0}])
        for letter in args
    ]
    pieces, total, _ = streamed(chunks, Guardrail(secrets(), stage="output", action="redact"))
    assert total.tool_calls[0]["args"] == {"key": "<AWS_ACCESS_KEY>", "rest": "ok"}
    assert not any("AKIA" in repr(piece) for piece in pieces)


async def test_an_async_stream_and_a_public_one_are_guarded_alike():
    """What LangChain gives of a guarded answer, in sync and async streams, adds up to what it gives at once."""
    chunks = anthropic([f"I {SECRET}"], ["see ", SECRET], [[json.dumps({"a": SECRET})]])
    model = protect(Scripted(chunks=chunks), Guard(local()))
    whole = model.invoke("Hi")
    for pieces in (list(model.stream("Hi")), [piece async for piece in model.astream("Hi")]):
        total = reduce(add, pieces)
        assert (total.content, total.tool_calls) == (whole.content, whole.tool_calls)
        assert not set(SECRET) & set(repr(pieces))


@settings(max_examples=30, deadline=None)
@given(style=st.sampled_from(sorted(STYLES)), at=places)
def test_originals_come_back_in_every_place_of_a_stream(style, at):
    """However the answer is cut, originals are back in its text and reasoning, and tools see placeholders."""

    class Echo(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "echo"

        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            raise NotImplementedError

        def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            said = f"Ask {messages[0].content}!"
            for chunk in STYLES[style](cut(said, at), cut(said, at), [cut(json.dumps({"to": said}), at)]):
                yield ChatGenerationChunk(message=chunk)

    guard = Guard(Guardrail(Flags(when=SECRET), stage="input", action="pseudonymize"))
    total = reduce(add, [chunk.message for chunk in protect(Echo(), guard)._stream([HumanMessage(SECRET)])])
    assert total.text == f"Ask {SECRET}!"
    assert f"Ask {SECRET}!" in repr(total.additional_kwargs) + repr(total.content[:1])
    assert re.fullmatch(r"Ask <FAKE_1_[0-9a-f]{8}>!", total.tool_calls[0]["args"]["to"])


def test_messages_of_other_roles_stream_too():
    """A chunk that is no AI message is guarded as one."""
    chunks = [ChatMessageChunk(role="x", content=piece) for piece in ("a ", SECRET[:2], SECRET[2:], ".")]
    pieces = [chunk.message for chunk in protect(Scripted(chunks=chunks), Guard(local()))._stream([])]
    assert reduce(add, pieces).content == f"a {GONE}."
    assert {type(piece) for piece in pieces} == {ChatMessageChunk}


def test_what_comes_after_a_tool_call_comes_after_it():
    """A text block that begins while a tool call waits is not sent before it."""
    begin = {"type": "tool_use", "id": "t", "name": "f", "input": {}, "index": 1}
    blocks = [{"type": "text", "text": "a", "index": 0}, begin, {"type": "text", "text": "b", "index": 2}]
    _, total, _ = streamed([AIMessageChunk(content=[block]) for block in blocks], local())
    assert total.content == blocks


def test_a_field_that_a_provider_adds_is_judged():
    """What a provider's chunk has beyond LangChain's fields does not pass by."""
    pieces, _, _ = streamed([AIMessageChunk(content="a", said=SECRET), AIMessageChunk(content="b")], local())
    assert not any(set(SECRET) & set(repr(piece)) for piece in pieces)


CHUNK = ChatGenerationChunk
BLOCK = {"type": "text", "index": 0, "id": "1"}


@pytest.mark.parametrize(
    ("whole", "sent"),
    [
        ("ab", "x"),
        (["a"], "x"),
        ([{"type": "image"}], [{"type": "video"}]),
        ([{**BLOCK, "text": "ab"}], [{**BLOCK, "text": "x"}]),
        ([{**BLOCK, "text": "ab"}], [{**BLOCK, "text": "a"}, {**BLOCK, "index": 1}]),
        ([{"type": "text", "text": "ab"}, "b"], [{"type": "text", "text": "a"}, "b"]),
    ],
)
def test_what_does_not_add_up_is_an_error(whole, sent):
    """If something was sent that is not in the answer, the stream fails rather than say something else."""
    with pytest.raises(LLMGuardError, match="judged the same text in two ways"):
        missing(CHUNK(message=AIMessageChunk(content=whole)), CHUNK(message=AIMessageChunk(content=sent)))


def test_what_is_missing_is_added_by_langchains_rules():
    """Numbers add up, and texts go on where they ended."""
    sent = AIMessageChunk(
        content=[{**BLOCK, "text": "a"}], additional_kwargs={"n": 1}, response_metadata={"took": 1.5, "of": "x"}
    )
    whole = AIMessageChunk(
        content=[{**BLOCK, "text": "ab"}, {**BLOCK, "index": 1, "text": "c"}],
        additional_kwargs={"n": 3, "said": ["d"]},
        response_metadata={"took": 1.5, "of": "xy"},
        usage_metadata=USAGE,
    )
    chunks = missing(CHUNK(message=whole), CHUNK(message=sent))
    assert reduce(add, [CHUNK(message=sent), *chunks]) == CHUNK(message=whole)


def test_two_blocks_of_one_index_with_two_ids_are_two():
    """What is missing is told by index and id."""
    sent = AIMessageChunk(content=[{**BLOCK, "text": "a"}])
    whole = AIMessageChunk(content=[{**BLOCK, "text": "a"}, {**BLOCK, "id": "2", "text": "b"}])
    (chunk,) = missing(CHUNK(message=whole), CHUNK(message=sent))
    assert chunk.message.content == [{**BLOCK, "id": "2", "text": "b"}]
