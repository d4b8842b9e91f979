"""protect(llm): whatever the chunks, a stream says what the whole answer says, and no character of more."""

from __future__ import annotations

import asyncio
import json
from itertools import accumulate, pairwise
from typing import Any

import pytest
from fakes_parts import HAS_CALLS, ThinkingBlock, ToolCallBlock, answer_of, calls_of, own_kwargs, parts_of, thoughts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    TextBlock,
)
from llama_index.core.llms.mock import MockLLM
from pydantic import Field

from llmguard_llamaindex import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Replace
from llmguard_middleware.scorers import pii, secrets
from llmguard_middleware.testing import Flags

from .fakes_llm import STREAMS, Speaking, asking, called, shown

MAIL = "bob@example.com"
KEY = "sk-abcdefghijklmnopqrstuvwx"


def redacting() -> Guard:
    """A guard that redacts what comes out, in a window."""
    return Guard(
        Guardrail(pii(), stage="output", action="redact"), Guardrail(secrets(), stage="output", action="redact")
    )


def agreeing(chunks: list[Any]) -> None:
    """Check that in every chunk the message says what the deltas add up to, in text and thinking."""
    text = thought = ""
    for chunk in chunks:
        text += chunk.delta or ""
        thought += chunk.additional_kwargs.get("thinking_delta", "")
        if isinstance(chunk, ChatResponse):
            assert "".join(block.text for block in chunk.message.blocks if isinstance(block, TextBlock)) == text
            assert thoughts_of(chunk.message) == thought
        else:
            assert chunk.text == text


ANSWERS = {
    "text": answer_of(f"Write to {MAIL} or to amy@example.org; the key is {KEY}, and that is all there is to say."),
    "thinking": answer_of(
        ThinkingBlock(content=f"He is {MAIL}, I think, and nobody else is."), f"Hello {MAIL}, hello."
    ),
    "two blocks": answer_of("Write to bob@exa", "mple.com and wait for an answer that may take some time."),
    "call": answer_of("I write.", called(to=MAIL, also=["amy@example.org", 3])),
    "call and thinking": answer_of(ThinkingBlock(content=f"To {MAIL}."), "", called(to=MAIL, body=f"Hi {MAIL}")),
    "two calls": answer_of(
        "I write.", called(to=MAIL), ToolCallBlock(tool_call_id="call_2", tool_name="send", tool_kwargs={"to": KEY})
    ),
    "JSON": answer_of(json.dumps({"who": MAIL, "n": [1, {"key": KEY}]})),
    "escaped JSON": answer_of('{"who": "bob\\u0040example.com", "and": 1}'),
    "calls beside it": answer_of("Hi", tool_calls=[{"id": "1", "function": {"name": "a", "arguments": f'["{MAIL}"]'}}]),
}


@pytest.mark.parametrize("mode", STREAMS)
@pytest.mark.parametrize("raw_calls", [False, True])
@pytest.mark.parametrize("kind", ANSWERS)
async def test_one_character_per_chunk(kind: str, raw_calls: bool, mode: str) -> None:
    """With a chunk for each character nothing leaks in any field, chunks agree, and the last says what a whole does."""
    answer = ANSWERS[kind]
    if "complete" in mode:  # which has one text only
        answer = answer_of("".join(block.text for block in answer.blocks if isinstance(block, TextBlock)))
    llm = protect(Speaking(answer=answer, raw_calls=raw_calls), redacting())

    chunks = await asking(llm, mode, "Who?")
    (whole,) = await asking(llm, mode.removeprefix("a").removeprefix("stream_"), "Who?")

    assert not any(leak in shown(chunks) for leak in ("bob", "amy", "sk-", "example"))
    agreeing(chunks)
    last = chunks[-1]
    if "complete" in mode:
        assert last.text == whole.text
        return
    assert [_as_value(part) for part in parts_of(last.message)] == [_as_value(part) for part in parts_of(whole.message)]
    assert own_kwargs(last.message) == own_kwargs(whole.message)


def _as_value(block: Any) -> Any:
    """A block, of which a tool call's arguments count as what they say: chunks have them as JSON."""
    if not isinstance(block, ToolCallBlock) or not isinstance(block.tool_kwargs, str):
        return block
    return block.model_copy(update={"tool_kwargs": json.loads(block.tool_kwargs)})


@pytest.mark.parametrize("mode", STREAMS)
async def test_a_border_at_every_place(mode: str) -> None:
    """Cut in two at every place, three texts in which something is redacted leave as their whole does."""
    for kind in ("text", "thinking", "call"):
        answer = ANSWERS[kind]
        longest = max(len(str(block)) for block in answer.blocks)
        whole = await asking(protect(Speaking(answer=answer), redacting()), mode.rsplit("_", maxsplit=1)[-1], "Who?")
        for at in range(1, longest):
            llm = Speaking(answer=answer, cut=lambda text, at=at: [text[:at], text[at:]])
            chunks = await asking(protect(llm, redacting()), mode, "Who?")
            agreeing(chunks)
            assert not any(leak in shown(chunks) for leak in ("bob", "amy", "sk-", "example"))
            assert _said(chunks[-1]) == _said(whole[0])


def _said(response: Any) -> Any:
    return response.message.content if isinstance(response, ChatResponse) else response.text


_PARTS = (
    "Hello ",
    MAIL,
    f" {KEY} ",
    "amy@example.org",
    ", and ",
    "\n",
    "{",
    '{"a": "',
    '"}',
    "[1, ",
    "]",
    " 12 ",
    "<",
    "@",
    "é",
)
_SOME = st.sampled_from(_PARTS)
_CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@settings(deadline=None, max_examples=150)
@given(
    text=st.lists(_SOME, max_size=8).map("".join),
    thought=st.lists(_SOME, max_size=4).map("".join),
    argument=st.none() | st.lists(_SOME, max_size=4).map("".join),
    cuts=_CUTS,
    mode=st.sampled_from(STREAMS),
)
def test_any_chunks_of_anything(text: str, thought: str, argument: str | None, cuts: list[int], mode: str) -> None:
    """Whatever is said, thought and called, and however it is cut, a stream ends as what the whole call returns."""
    blocks = [*([ThinkingBlock(content=thought)] if thought else ()), text]
    answer = answer_of(*blocks, *(() if argument is None else (called(to=argument),)))
    llm = protect(Speaking(answer=answer, cut=lambda text: _cut(text, cuts)), redacting())

    async def both() -> Any:
        return await asking(llm, mode, "Who?"), await asking(llm, mode.rsplit("_", maxsplit=1)[-1], "Who?")

    chunks, (whole,) = asyncio.run(both())

    agreeing(chunks)
    assert "example" not in shown(chunks)
    assert KEY not in shown(chunks)
    assert _said(chunks[-1]) == _said(whole)
    if isinstance(whole, ChatResponse):
        told = [_as_value(part) for part in parts_of(chunks[-1].message) if part != TextBlock(text="")]
        assert told == [_as_value(part) for part in parts_of(whole.message) if part != TextBlock(text="")]


def _cut(text: str, sizes: list[int]) -> list[str]:
    ends = [0, *accumulate(sizes * (len(text) + 1))]
    return [text[a:b] for a, b in pairwise(ends) if a < len(text)]


@pytest.mark.parametrize("mode", STREAMS)
async def test_text_leaves_while_the_model_speaks(mode: str) -> None:
    """A window lets text go before the end, in text and in thinking, though a tool call is still to come."""
    blocks = [ThinkingBlock(content="I think so. " * 30), "Fine words. " * 30, called(to=MAIL)]

    chunks = await asking(protect(Speaking(answer=answer_of(*blocks)), redacting()), mode, "Who?")

    assert len([chunk for chunk in chunks if chunk.delta]) > 3
    if "chat" in mode:
        assert len([chunk for chunk in chunks if chunk.additional_kwargs.get("thinking_delta")]) > 3
        calls = [chunk for chunk in chunks if calls_of(chunk.message)]
        assert calls == chunks[-1:]


@pytest.mark.parametrize("mode", STREAMS)
@pytest.mark.parametrize("kind", ["text", "thinking", "call"])
async def test_facts_come_once_and_last(kind: str, mode: str) -> None:
    """Usage and finish reason leave once, with the end of the answer; the identity is on every chunk."""
    llm = Speaking(answer=ANSWERS[kind], extra={"prompt_tokens": 1})

    chunks = await asking(protect(llm, redacting()), mode, "Who?")

    assert [chunk.raw for chunk in chunks[:-1]] == [{"id": "a-1"}] * (len(chunks) - 1)
    assert chunks[-1].raw == {
        "id": "a-1",
        "model": "speaking-1",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        "choices": [{"finish_reason": "stop"}],
    }
    assert [chunk.additional_kwargs.get("prompt_tokens") for chunk in chunks] == [*[None] * (len(chunks) - 1), 1]


@pytest.mark.parametrize("mode", STREAMS)
@pytest.mark.parametrize("rules", ["none", "input", "shadow"])
async def test_where_nothing_acts_chunks_are_the_model_s_own(rules: str, mode: str) -> None:
    """Chunks that no rule may change are not copied: the caller gets the provider's, and its raw answers."""
    of = {"none": (), "input": (Guardrail(pii(), stage="input", action="redact"),)}
    guard = Guard(*of.get(rules, (Guardrail(pii(), stage="output", action="log"),)))
    llm = Speaking(answer=ANSWERS["call and thinking"])

    assert await asking(protect(llm, guard), mode, "Who?") == await asking(llm, mode, "Who?")


@pytest.mark.parametrize("mode", STREAMS)
@pytest.mark.parametrize("kind", ANSWERS)
async def test_a_block_lets_nothing_out(kind: str, mode: str) -> None:
    """A rule that blocks holds every chunk, and none leaves if it finds something, in a text, a thought or a call."""
    answer = answer_of(f"Write to {MAIL}") if "complete" in mode else ANSWERS[kind]
    llm = protect(Speaking(answer=answer), Guard(Guardrail(pii(), stage="output")))
    got: list[Any] = []

    with pytest.raises(GuardrailViolation):
        await _into(got, llm, mode)

    assert got == []


async def _into(got: list[Any], llm: Any, mode: str) -> None:
    reply = getattr(llm, mode)("Who?" if "complete" in mode else [ChatMessage(content="Who?")])
    if mode.startswith("a"):
        async for chunk in await reply:
            got.append(chunk)  # noqa: PERF401 - what came before an error counts
    else:
        for chunk in reply:
            got.append(chunk)  # noqa: PERF402 - as above


@pytest.mark.parametrize("mode", STREAMS)
async def test_an_answer_that_is_replaced(mode: str) -> None:
    """What takes the place of an answer is its only chunk with a text."""
    llm = protect(Speaking(answer=answer_of("a bomb")), Guard(Guardrail(
        Flags(when="bomb", cheap=True), stage="output", action=Replace("No.")
    )))  # fmt: skip

    chunks = await asking(llm, mode, "Who?")

    assert [chunk.delta for chunk in chunks if chunk.delta] == ["No."]
    agreeing(chunks)


@pytest.mark.parametrize("mode", STREAMS)
async def test_an_answer_of_nothing(mode: str) -> None:
    """A model that says nothing at all is judged, and may be given words."""
    asked: list[str] = []

    def look(text: str) -> bool:
        asked.append(text)
        return True

    llm = protect(Speaking(answer=answer_of()), Guard(Guardrail(look, stage="output", action=Replace("Nothing."))))

    chunks = await asking(llm, mode, "Who?")

    assert "".join(chunk.delta or "" for chunk in chunks) == "Nothing."
    assert asked == [""]


class Odd(Speaking):
    """A provider whose chunks are these, which break the rules in some way."""

    chunks: list[Any] = Field(default_factory=list)

    def _chunks(self) -> Any:
        return iter(self.chunks)


def chunk(*blocks: Any, delta: str | None = None, extra: dict[str, Any] | None = None, **kwargs: Any) -> ChatResponse:
    """A chunk of these blocks."""
    return ChatResponse(message=answer_of(*blocks, **kwargs), delta=delta, additional_kwargs=extra or {})


ODD: dict[str, tuple[list[Any], str]] = {
    "no deltas": ([chunk("I am "), chunk("I am bob@"), chunk(f"I am {MAIL}")], "I am <EMAIL_ADDRESS>"),
    "messages with the delta only": (
        [chunk("I am ", delta="I am "), chunk("bob@", delta="bob@"), chunk("example.com", delta="example.com")],
        "I am <EMAIL_ADDRESS>",
    ),
    "an empty last message": (
        [chunk("I am bob@", delta="I am bob@"), chunk("", delta="example.com"), chunk()],
        "I am <EMAIL_ADDRESS>",
    ),
    "a call that is in one chunk only": (
        [chunk("Hi ", delta="Hi "), chunk("Hi ", called(to=MAIL), delta=""), chunk("Hi you", delta="you")],
        "Hi you",
    ),
    **({"calls in a chunk each": (
        [chunk("Hi", delta="Hi"), chunk(called(to=MAIL)), chunk(ToolCallBlock(tool_call_id="2", tool_name="b"))],
        "Hi",
    )} if HAS_CALLS else {}),  # in additional_kwargs they are in one list, which grows
    "deltas of the thinking": (
        [
            chunk(ThinkingBlock(content="It is "), delta="It is ", extra={"thinking_delta": "It is "}),
            chunk(ThinkingBlock(content=f"It is {MAIL}"), delta=MAIL, extra={"thinking_delta": MAIL}),
            chunk(ThinkingBlock(content=f"It is {MAIL}"), "Hi", delta="Hi"),
        ],
        "Hi",
    ),
    "an image in the middle": ([chunk(ImageBlock(url="https://x.org/a")), chunk("Hi", delta="Hi")], "Hi"),
    "kwargs in one chunk only": ([chunk("Hi", delta="Hi", note=MAIL), chunk("Hi", delta="")], "Hi"),
    "said beside one chunk": ([chunk("Hi", delta="Hi", extra={"note": MAIL}), chunk("Hi", delta="")], "Hi"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("mode", ["stream_chat", "astream_chat"])
async def test_providers_with_chunks_of_their_own_kind(kind: str, mode: str) -> None:
    """Providers that leave out deltas, or of a chunk what was in another, leak nothing, and nothing is lost."""
    given_, expected = ODD[kind]

    chunks = await asking(protect(Odd(chunks=given_), redacting()), mode, "Who?")

    assert "bob" not in shown(chunks)
    assert "".join(one.delta or "" for one in chunks) == chunks[-1].message.content == expected
    agreeing(chunks)
    sent = {type(part) for one in given_ for part in parts_of(one.message)} - {TextBlock}
    assert {type(part) for part in parts_of(chunks[-1].message)} - {TextBlock} == sent
    calls = {call.tool_call_id for one in given_ for call in calls_of(one.message)}
    assert {call.tool_call_id for call in calls_of(chunks[-1].message)} == calls
    assert ("<EMAIL_ADDRESS>" in shown(chunks[-1:])) == (MAIL in shown(given_) or expected.endswith(">"))


@pytest.mark.parametrize("mode", STREAMS)
async def test_the_mock_model(mode: str) -> None:
    """LlamaIndex's MockLLM, whose chunks hold the whole text from the first on, leaks nothing of it."""
    llm = protect(MockLLM(), redacting())

    chunks = await asking(llm, mode, f"I am {MAIL}, hello.")

    assert "bob" not in shown(chunks)
    assert "<EMAIL_ADDRESS>, hello." in "".join(one.delta or "" for one in chunks)
    agreeing(chunks)


@pytest.mark.parametrize("mode", STREAMS)
async def test_a_rule_that_races(mode: str) -> None:
    """No chunk leaves before a rule that races with the model is done, and all do once it is."""
    answer = answer_of("Good morning.")

    def slow(text: str) -> bool:
        return "bomb" in text

    llm = protect(Speaking(answer=answer), Guard(Guardrail(slow, stage="input", race=True)))

    assert "".join(one.delta or "" for one in await asking(llm, mode, "Hello")) == "Good morning."
    got: list[Any] = []
    with pytest.raises(GuardrailViolation):
        await asking(llm, mode, "a bomb")
    assert got == []
