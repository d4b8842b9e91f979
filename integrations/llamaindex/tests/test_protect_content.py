"""protect(llm): all that is textual in messages and answers is judged, wherever it stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes_parts import HAS_CALLS, HAS_THINKING, ThinkingBlock, ToolCallBlock, answer_of, calls_of
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
)
from openai.types.chat.chat_completion_message_function_tool_call import (
    ChatCompletionMessageFunctionToolCall,
    Function,
)

from llmguard_llamaindex import protect
from llmguard_middleware import Guardrail, GuardrailViolation, Replace, UnenforceableError
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

from .fakes_llm import CHATS, Speaking, asking, called, shown

MAIL = "bob@example.com"


def both_ways(telemetry: Any, *more: Any, **options: Any) -> Any:
    """A guard that redacts what goes in and what comes out."""
    rules = [Guardrail(pii(), stage=stage, action="redact", name=f"pii-{stage}") for stage in ("input", "output")]
    return telemetry.guard(*rules, *more, **options)


def openai_call(arguments: str) -> Any:
    """A tool call as the OpenAI package has it."""
    return ChatCompletionMessageFunctionToolCall(
        id="call_1", type="function", function=Function(name="send", arguments=arguments)
    )


SPLIT = [TextBlock(text="I am bob@exa"), TextBlock(text="mple.com, hi")]
WITH_TEXTS: dict[str, ChatMessage] = {
    "text": answer_of(f"I am {MAIL}"),
    "blocks": answer_of("Hello", f"I am {MAIL}"),
    "across two blocks": answer_of(*SPLIT),
    "JSON with escapes": answer_of('{"who": "bob\\u0040example.com"}'),
    "a file that is none": answer_of(f"data:;base64,{MAIL}"),
    "thinking": answer_of(ThinkingBlock(content=f"It is {MAIL}"), "Hello"),
    "arguments": answer_of("", called(to=MAIL)),
    "arguments deep inside": answer_of("", called(to=[{"address": MAIL}])),
    "arguments as JSON": answer_of("", called(to="x").model_copy(update={"tool_kwargs": json.dumps({"to": MAIL})})),
    "name of a tool": answer_of("", called().model_copy(update={"tool_name": MAIL})),
    "citable": answer_of("x", CitableBlock(title="t", source="s", content=[TextBlock(text=f"by {MAIL}")])),
    "source": answer_of("x", CitableBlock(title="t", source=f"mail of {MAIL}", content=[])),
    "citation": answer_of(
        "x", CitationBlock(title="t", source="s", cited_content=TextBlock(text=MAIL), additional_location_info={})
    ),
    "address of an image": answer_of("x", ImageBlock(url=f"https://example.com/?who={MAIL}")),
    "title of a document": answer_of("x", DocumentBlock(data=b"%PDF", title=f"Letter to {MAIL}")),
    "additional_kwargs": answer_of("x", note=f"from {MAIL}"),
    "additional_kwargs deep inside": answer_of("x", notes=[{"by": {"whom": MAIL}}]),
    "raw tool calls": answer_of("x", tool_calls=[openai_call(json.dumps({"to": MAIL}))]),
    "raw tool calls as mappings": answer_of(
        "x", tool_calls=[{"id": "1", "function": {"name": "send", "arguments": json.dumps({"to": MAIL})}}]
    ),
}

if HAS_THINKING:
    about = ThinkingBlock(content="", additional_information={"summary": MAIL})
    WITH_TEXTS["about thinking"] = answer_of(about, "Hello")


@pytest.mark.parametrize("mode", CHATS)
@pytest.mark.parametrize("kind", WITH_TEXTS)
async def test_a_text_does_not_leave_wherever_it_stands(kind: str, mode: str, telemetry: Any) -> None:
    """Whatever part of an answer says it, and in every mode, an address does not reach the caller."""
    llm = Speaking(answer=WITH_TEXTS[kind])

    told = await asking(protect(llm, both_ways(telemetry)), mode, "Who?")

    assert "bob" not in shown(told)
    assert "<EMAIL_ADDRESS>" in shown(told[-1:])


@pytest.mark.parametrize("mode", CHATS)
@pytest.mark.parametrize("kind", WITH_TEXTS)
async def test_a_text_does_not_reach_the_model_wherever_it_stands(kind: str, mode: str, telemetry: Any) -> None:
    """Whatever part of a message says it, whoever says it, the model does not get it, and the caller's stays."""
    message = WITH_TEXTS[kind]
    before = message.model_copy(deep=True)

    for role in ("user", "assistant", "tool", "system"):
        llm = Speaking()
        said = message.model_copy(update={"role": type(message.role)(role)})
        await asking(protect(llm, both_ways(telemetry)), mode, [said])
        (asked,) = llm.asked
        assert "bob" not in str([one.model_dump() for one in asked])
        assert "EMAIL_ADDRESS" in str([one.model_dump() for one in asked])

    assert message == before


@pytest.mark.parametrize("mode", CHATS)
@pytest.mark.parametrize("kind", WITH_TEXTS)
async def test_a_text_blocks_wherever_it_stands(kind: str, mode: str, telemetry: Any) -> None:
    """Likewise what blocks: nothing of the answer leaves."""
    llm = Speaking(answer=WITH_TEXTS[kind])
    guard = telemetry.guard(Guardrail(pii(), stage="output"))

    with pytest.raises(GuardrailViolation):
        await asking(protect(llm, guard), mode, "Who?")


async def test_beside_an_answer(telemetry: Any, mode: str) -> None:
    """What a provider says beside its answer is judged; counts and identifiers pass."""
    llm = Speaking(extra={"prompt_tokens": 3, "note": f"of {MAIL}", "request_id": "r-1"})

    told = await asking(protect(llm, both_ways(telemetry)), mode, "Who?")

    assert told[-1].additional_kwargs == {"prompt_tokens": 3, "note": "of <EMAIL_ADDRESS>", "request_id": "r-1"}


if HAS_CALLS:  # before, there is one place only

    async def test_both_places_of_a_tool_call_agree(telemetry: Any) -> None:
        """A tool call that stands in a block and in additional_kwargs says the same in both, and is judged once."""
        seen: list[str] = []

        def look(text: str) -> bool:
            seen.append(text)
            return False

        answer = answer_of("", called(to=MAIL), tool_calls=[openai_call('{"to": "bob@example.com"}')])
        guard = both_ways(telemetry, Guardrail(look, stage="output", action="log"))

        (told,) = await asking(protect(Speaking(answer=answer), guard), "chat", "Who?")

        (_, block) = told.message.blocks
        assert block.tool_kwargs == {"to": "<EMAIL_ADDRESS>"}
        assert told.message.additional_kwargs["tool_calls"][0].function.arguments == '{"to": "<EMAIL_ADDRESS>"}'
        assert told.message.additional_kwargs["tool_calls"][0].id == "call_1"
        assert answer.additional_kwargs["tool_calls"][0].function.arguments == '{"to": "bob@example.com"}'
        assert len(seen) == len(set(seen))


@pytest.mark.parametrize("mode", CHATS)
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("action", ["block", "redact", "replace"])
async def test_the_stage_of_tool_calls(action: Any, as_json: bool, mode: str, telemetry: Any) -> None:
    """Rules of the tool_call stage judge the arguments of an answer's tool calls, and nothing else of it."""
    how = Replace("gone") if action == "replace" else action
    guard = telemetry.guard(Guardrail(pii(), stage="tool_call", action=how))
    call = called(to=MAIL)
    if as_json:
        call = call.model_copy(update={"tool_kwargs": json.dumps(call.tool_kwargs)})
    llm = protect(Speaking(answer=answer_of(f"I am {MAIL}", call)), guard)

    if action == "block":
        with pytest.raises(GuardrailViolation) as caught:
            await asking(llm, mode, "Who?")
        assert caught.value.verdict.stage == "tool_call"
        return
    *_, told = await asking(llm, mode, "Who?")

    (block,) = calls_of(told.message)
    arguments = block.tool_kwargs if isinstance(block.tool_kwargs, dict) else json.loads(block.tool_kwargs)
    assert told.message.content == f"I am {MAIL}"
    assert MAIL not in str(block)
    assert arguments in ({"to": "<EMAIL_ADDRESS>"}, {"to": "gone"}, {"to": ""})


@pytest.mark.parametrize("stage", ["retrieval", "tool_result", "embedding"])
def test_stages_that_a_model_does_not_have(stage: Any, telemetry: Any) -> None:
    """Rules of other stages are refused at once, with where they belong."""
    with pytest.raises(UnenforceableError, match="reaches it"):
        protect(Speaking(), telemetry.guard(Guardrail(Flags(cheap=True), stage=stage)))


async def test_what_nobody_can_look_at_is_said(telemetry: Any) -> None:
    """Images, sound and documents pass, and the span says which kinds of content were not scanned."""
    blocks = [TextBlock(text="Look"), ImageBlock(image=b"abc"), AudioBlock(audio=b"abc"), DocumentBlock(data=b"abc")]
    message = ChatMessage(role="user", blocks=blocks)
    llm = Speaking()

    await asking(protect(llm, both_ways(telemetry)), "chat", [message])

    assert llm.asked == [[message]]
    (span,) = telemetry.spans
    assert span.attributes["llmguard.not_scanned"] == ("audio", "file", "image")


async def test_what_is_fine_stays_as_it_is(telemetry: Any) -> None:
    """Messages in which nothing changes are the caller's own objects; facts are not taken for texts."""
    seen: list[str] = []

    def look(text: str) -> bool:
        seen.append(text)
        return False

    everybody = ["system", "user", "assistant", "tool"]
    rule = Guardrail(look, stage="input", action="log", roles=everybody)
    guard = telemetry.guard(Guardrail(pii(), stage="input", action="redact"), rule)
    history = [
        answer_of(called(a="b"), tool_call_id="x"),
        ChatMessage(role="tool", content="3", additional_kwargs={"name": "send", "tool_call_id": "call_1"}),
        ChatMessage(role="user", content="Go on."),
    ]
    llm = Speaking()

    await asking(protect(llm, guard), "chat", history)

    (asked,) = llm.asked
    assert asked is history
    assert seen == ["send\na\nb", "3", "Go on."]


async def test_a_tool_that_is_called_by_a_wrong_name(telemetry: Any) -> None:
    """A ToolCallBlock is left out of nothing: name and arguments are judged as one call, run together too."""
    guard = telemetry.guard(Guardrail(Flags(when="send\nto", cheap=True), stage="output"))

    with pytest.raises(GuardrailViolation):
        await asking(protect(Speaking(answer=answer_of("", called(to="x"))), guard), "chat", "Who?")


def test_blocks_of_other_kinds(telemetry: Any) -> None:
    """A provider's own subclass of a block is judged in the fields that it adds."""

    class Noted(TextBlock):
        note: str = ""

    message = ChatMessage(role="user", content="Hello")
    message.blocks = [Noted(text="Hello", note=f"of {MAIL}")]
    llm = Speaking()

    protect(llm, both_ways(telemetry)).chat([message])

    ((asked,),) = llm.asked
    assert asked.blocks[0].note == "of <EMAIL_ADDRESS>"
    assert isinstance(asked.blocks[0], Noted)


def test_tool_results_are_judged_by_their_role(telemetry: Any) -> None:
    """What a tool gave is judged as input: it blocks, where a model's own words do not."""
    guard = telemetry.guard(Guardrail(Flags(when="bomb", cheap=True), stage="input"))
    llm = protect(Speaking(), guard)

    with pytest.raises(GuardrailViolation):
        llm.chat([ChatMessage(role="tool", content="a bomb")])
    assert llm.chat([ChatMessage(role="assistant", content="a bomb")]).message.content == "fine"


def test_calls_of_the_assistant_in_a_history(telemetry: Any) -> None:
    """Redaction covers the arguments of earlier tool calls, which keep their form."""
    llm = Speaking()
    history = [
        answer_of(called(to=MAIL)),
        answer_of(ToolCallBlock(tool_name="send", tool_kwargs=json.dumps({"to": MAIL}))),
    ]

    protect(llm, both_ways(telemetry)).chat(history)

    ((first, second),) = llm.asked
    told = {"to": "<EMAIL_ADDRESS>"}
    assert [call.tool_kwargs for one in (first, second) for call in calls_of(one)] == (
        [told, json.dumps(told)] if HAS_CALLS else [told, told]
    )
