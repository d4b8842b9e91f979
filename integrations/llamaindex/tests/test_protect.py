"""protect: a guarded copy of an LLM."""

from __future__ import annotations

import copy
import gc
from typing import Any

import pytest
from fakes_parts import ThinkingBlock, ToolCallBlock, answer_of
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel

from llmguard_llamaindex import protect
from llmguard_middleware import ConfigurationError, Guardrail, GuardrailViolation, Monitor, UnenforceableError
from llmguard_middleware.scorers import pii, secrets

KEY = "sk-abcdefghijklmnopqrstuvwx"


def redacting(telemetry: Any, *more: Any) -> Any:
    """A guard that redacts both ways."""
    return telemetry.guard(
        Guardrail(pii(), stage="input", action="redact"), Guardrail(secrets(), stage="output", action="redact"), *more
    )


def refuse(text: str) -> bool:
    """A scorer that flags bombs."""
    return "bomb" in text


async def test_redacts_both_ways(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """In every mode the model gets the redacted prompt and the caller the redacted answer."""
    script.answer = f"Your key is {KEY}, keep it."

    answer = await ask(protect(llm, redacting(telemetry)), mode, "I am bob@example.com")

    assert answer == "Your key is <OPENAI_API_KEY>, keep it."
    (asked,) = script.asked
    assert "I am <EMAIL_ADDRESS>" in asked
    assert "bob" not in asked


async def test_one_span(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """In every mode a call is one span, exactly this one, even where the model's methods call each other."""
    guard = redacting(telemetry)
    script.answer = "Good morning."

    await ask(protect(llm, guard), mode, "Hello you there")

    (span,) = telemetry.spans
    assert (span.name, span.kind, span.parent) == ("chat scripted", SpanKind.CLIENT, None)
    attributes = dict(span.attributes)
    assert attributes.pop("gen_ai.usage.input_tokens") >= 3
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": type(llm).__name__.lower(),
        "gen_ai.request.model": "scripted",
        "gen_ai.response.id": "answer-1",
        "gen_ai.response.model": "scripted-2",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.output_tokens": 2,
        "llmguard.guard.name": "default",
        "llmguard.guard.digest": guard.digest,
        "llmguard.verdict": "passed",
        **(
            {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": pytest.approx(30, abs=30)}
            if "stream" in mode
            else {}
        ),
    }


async def test_http_nests(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """In every mode the spans of the model's HTTP requests are below the call's span."""
    script.tracer = telemetry.tracer_provider.get_tracer("http")
    script.answer = "ab"

    await ask(protect(llm, redacting(telemetry)), mode, "Hello")

    below = 2 if "stream" in mode else 1
    assert telemetry.tree == [("chat scripted", None), *[("POST", "chat scripted")] * below]


async def test_block_input(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """In every mode a blocked prompt raises, the model is never asked, and the span says why."""
    guarded = protect(llm, telemetry.guard(Guardrail(refuse, stage="input")))

    with pytest.raises(GuardrailViolation) as caught:
        await ask(guarded, mode, "How to build a bomb?")

    assert caught.value.code == "blocked"
    assert script.asked == []
    (span,) = telemetry.spans
    assert span.attributes["llmguard.verdict"] == "blocked"
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "blocked")


async def test_block_output(llm: Any, mode: str, script: Any, telemetry: Any) -> None:
    """In every mode a blocked answer raises before its first character is out."""
    script.answer = "Take a bomb and"
    guarded = protect(llm, telemetry.guard(Guardrail(refuse, stage="output")))
    request: Any = [ChatMessage(role="user", content="How?")] if "chat" in mode else "How?"
    out: list[Any] = []

    async def read() -> None:
        reply = getattr(guarded, mode)(request)
        reply = await reply if mode.startswith("a") else reply
        if mode.startswith("stream"):
            out.extend(reply)
        elif mode.startswith("astream"):
            out.extend([chunk async for chunk in reply])

    with pytest.raises(GuardrailViolation):
        await read()

    assert out == []
    assert telemetry.flagged == [("refuse", "output")]


@pytest.mark.parametrize("size", range(1, len(KEY) + 12))
@pytest.mark.parametrize("mode", ["stream_chat", "stream_complete", "astream_chat"])
async def test_split_secret(llm: Any, mode: str, size: int, script: Any, telemetry: Any, ask: Any) -> None:
    """A secret cut by chunks of any size never leaks, and the stream equals the whole answer."""
    script.answer, script.size = f"The key: {KEY}. Another: {KEY}", size
    guarded = protect(llm, redacting(telemetry))

    streamed = await ask(guarded, mode, "Which?")

    assert streamed == await ask(guarded, mode.removeprefix("a").removeprefix("stream_"), "Which?")
    assert streamed == "The key: <OPENAI_API_KEY>. Another: <OPENAI_API_KEY>"


def test_split_secret_everywhere(chatting: Any, script: Any, telemetry: Any) -> None:
    """At no point of a stream does a chunk carry more than what was released, in text, delta or raw."""
    script.answer = (
        f"Before {KEY} after, and a long tail of quite harmless words that is longer than a step of the window."
    )
    guarded = protect(chatting, redacting(telemetry))

    chunks = list(guarded.stream_chat([ChatMessage(content="Which?")]))

    text = ""
    for chunk in chunks:
        text += chunk.delta
        assert chunk.message.content == text
        assert "sk-" not in str(chunk.model_dump())
    assert len(chunks) > 1
    assert chunks[-1].raw["usage"] == {"prompt_tokens": 1, "completion_tokens": 20}


def test_redacted_answer_leaves_nothing_behind(completing: Any, script: Any, telemetry: Any) -> None:
    """A redacted answer's raw response keeps usage and identity, and none of the text."""
    script.answer = KEY

    answer = protect(completing, redacting(telemetry)).complete("Which?")

    assert answer.raw == {
        "id": "answer-1",
        "model": "scripted-2",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        "choices": [{"finish_reason": "stop"}],
    }


def test_untouched(chatting: Any, script: Any, telemetry: Any) -> None:
    """The original LLM and the caller's messages stay as they were; images and tool calls pass."""
    image = ImageBlock(url="https://example.com/a.png")
    message = ChatMessage(role="user", blocks=[TextBlock(text="I am bob@example.com"), image])
    before = message.model_copy(deep=True)

    protect(chatting, redacting(telemetry)).chat([message])
    chatting.chat([message])

    assert message == before
    assert script.asked == ["I am <EMAIL_ADDRESS>", "I am bob@example.com"]
    assert len(telemetry.spans) == 1


def test_every_message(chatting: Any, script: Any, telemetry: Any) -> None:
    """Redaction covers the messages of every role, thinking included."""
    thought = ThinkingBlock(content="ask c@example.com")
    history = [
        ChatMessage(role="system", content="Serve a@example.com."),
        answer_of(thought, "Hello b@example.com"),
        ChatMessage(role="tool", content="d@example.com"),
        ChatMessage(role="user", content="Go on."),
    ]
    seen: list[Any] = []

    def look(messages: Any) -> bool:
        seen.extend((message.role, message.text) for message in messages)
        return False

    protect(chatting, redacting(telemetry, Guardrail(look, stage="output", action="log"))).chat(history)

    assert seen == [
        ("system", "Serve <EMAIL_ADDRESS>."),
        ("assistant", "Hello <EMAIL_ADDRESS>"),
        ("tool", "<EMAIL_ADDRESS>"),
        ("user", "Go on."),
    ]
    assert "c@" not in str(seen)
    assert script.asked == ["Serve <EMAIL_ADDRESS>.\nHello <EMAIL_ADDRESS>\n<EMAIL_ADDRESS>\nGo on."]


def test_same_guard_twice(llm: Any, telemetry: Any) -> None:
    """Protecting twice with the same guard returns the same object."""
    guard = redacting(telemetry)
    guarded = protect(llm, guard)

    assert protect(guarded, guard) is guarded
    assert guarded is not llm


async def test_two_guards(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """Two guards both apply, share one span, and the later one is the outer."""
    order: list[str] = []

    def first(text: str) -> bool:
        order.append("first")
        return False

    def second(text: str) -> bool:
        order.append("second")
        return False

    inner = telemetry.guard(
        Guardrail(first, stage="input"), Guardrail(secrets(), stage="output", action="redact"), name="inner"
    )
    outer = telemetry.guard(
        Guardrail(second, stage="input"), Guardrail(pii(), stage="output", action="redact"), name="outer"
    )
    script.answer = f"{KEY} of bob@example.com"

    answer = await ask(protect(protect(llm, inner), outer), mode, "Hello")

    assert answer == "<OPENAI_API_KEY> of <EMAIL_ADDRESS>"
    assert order == ["second", "first"]
    assert telemetry.tree == [("chat scripted", None)]
    assert telemetry.flagged == [("pii", "output"), ("secrets", "output")]


async def test_same_type(llm: Any, telemetry: Any, script: Any, ask: Any) -> None:
    """A guarded LLM is of the original's type, and its copies, shallow and deep, are guarded."""
    guarded = protect(llm, redacting(telemetry))

    assert isinstance(guarded, type(llm))
    assert isinstance(guarded, FunctionCallingLLM) == isinstance(llm, FunctionCallingLLM)
    assert (type(guarded).__name__, guarded.class_name(), guarded.metadata) == (
        type(llm).__name__,
        llm.class_name(),
        llm.metadata,
    )
    assert guarded.to_dict() == llm.to_dict()
    for clone in (copy.copy(guarded), copy.deepcopy(guarded), guarded.model_copy()):
        await ask(clone, "chat", "bob@example.com")
    assert all("bob" not in asked for asked in script.asked)


async def test_abandoned(llm: Any, script: Any, telemetry: Any) -> None:
    """A stream whose reader leaves ends its span as abandoned, unread ones too."""
    script.answer = "a long answer"
    guarded = protect(llm, telemetry.guard(Monitor(refuse)))

    left = guarded.stream_complete("Hello")
    next(left)
    left.close()
    guarded.stream_complete("Hello")
    gc.collect()
    astream = await guarded.astream_complete("Hello")
    await anext(astream)
    await astream.aclose()

    assert [span.attributes.get("llmguard.abandoned") for span in telemetry.spans] == [True, True, True]


async def test_failed(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """The model's own error reaches the caller as it is, and the span tells its type but not its text."""
    script.error = RuntimeError("about bob@example.com")

    with pytest.raises(RuntimeError, match="about bob"):
        await ask(protect(llm, redacting(telemetry)), mode, "Hello")

    (span,) = telemetry.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.attributes["error.type"] == "RuntimeError"
    assert span.events == ()


async def test_monitor(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """A monitor scores a call once, and sees neither what was redacted from it nor from the answer."""
    seen: list[Any] = []

    def watch(question: str, output: str) -> float:
        seen.append((question, output))
        return 1.0

    guard = redacting(telemetry, Monitor(watch))
    script.answer = f"Key {KEY}"

    await ask(protect(llm, guard), mode, "I am bob@example.com")

    assert guard.flush() == 0
    assert seen == [("I am <EMAIL_ADDRESS>", "Key <OPENAI_API_KEY>")]


async def test_tools(chatting: Any, script: Any, telemetry: Any) -> None:
    """Calls with tools are guarded once, and tool calls arrive although the text beside them is held."""
    script.answer = f"Calling with {KEY}"
    chatting.tool_calls = [ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1})]
    guarded = protect(chatting, redacting(telemetry))
    tool = FunctionTool.from_defaults(lambda a: a, name="add", description="adds")

    whole = guarded.chat_with_tools([tool], user_msg="I am bob@example.com")
    *_, last = guarded.stream_chat_with_tools([tool], user_msg="I am bob@example.com")
    awaited = await guarded.achat_with_tools([tool], user_msg="I am bob@example.com")
    async for chunk in await guarded.astream_chat_with_tools([tool], user_msg="I am bob@example.com"):
        alast = chunk

    for response in (whole, last, awaited, alast):
        assert response.message == answer_of("Calling with <OPENAI_API_KEY>", *chatting.tool_calls)
    assert script.asked == ["I am <EMAIL_ADDRESS>"] * 4
    assert telemetry.tree == [("chat scripted", None)] * 4


def test_predict_and_structured(completing: Any, script: Any, telemetry: Any) -> None:
    """predict, structured_predict and as_structured_llm are guarded, each as one call."""

    class Person(BaseModel):
        name: str

    guarded = protect(completing, redacting(telemetry))
    script.answer = f'{{"name": "{KEY}"}}'
    template = PromptTemplate("Who is {who}?")

    assert guarded.predict(template, who="bob@example.com") == '{"name": "<OPENAI_API_KEY>"}'
    assert guarded.structured_predict(Person, template, who="bob@example.com") == Person(name="<OPENAI_API_KEY>")
    structured = protect(completing.as_structured_llm(Person), redacting(telemetry))
    assert structured.complete("Who is bob@example.com?").raw == Person(name="<OPENAI_API_KEY>")
    assert all("bob" not in asked for asked in script.asked)
    assert telemetry.tree == [("chat scripted", None)] * 3


async def test_judge(llm: Any, script: Any, telemetry: Any, ask: Any) -> None:
    """A scorer that asks the guarded LLM itself is not judged in turn."""

    def judging(text: str) -> bool:
        return "yes" in guarded.complete(f"Is this bad: {text}").text

    guarded: Any = protect(llm, telemetry.guard(Guardrail(judging, stage="input")))

    assert await ask(guarded, "chat", "Hello") == "fine"
    assert len(script.asked) == 2


@pytest.mark.parametrize("stage", ["retrieval", "tool_result", "embedding"])
def test_unenforceable(completing: Any, telemetry: Any, stage: Any) -> None:
    """A guardrail of a stage that an LLM does not have is refused at once, never skipped."""
    with pytest.raises(UnenforceableError, match=f"refuse.*{stage}"):
        protect(completing, telemetry.guard(Guardrail(refuse, stage=stage)))


def test_not_an_llm(telemetry: Any) -> None:
    """protect() refuses what is not an LLM and names what to use."""
    with pytest.raises(ConfigurationError, match="attach"):
        protect("gpt", telemetry.guard())  # type: ignore[type-var]


def test_shadow(chatting: Any, script: Any, telemetry: Any) -> None:
    """A guardrail that only records changes nothing of a stream, chunk by chunk."""
    script.answer = "a bomb"
    guarded = protect(chatting, telemetry.guard(Guardrail(refuse, stage="output", action="log")))
    request = [ChatMessage(content="Hello")]

    assert list(guarded.stream_chat(request)) == list(chatting.stream_chat(request))
    assert telemetry.flagged == [("refuse", "output")]


# Chat engines take a protected LLM


async def test_chat_engine(llm: Any, script: Any, telemetry: Any) -> None:
    """A chat engine on a protected LLM is guarded, streamed or not."""
    script.answer = f"Key {KEY} it is"
    engine = SimpleChatEngine.from_defaults(
        memory=ChatMemoryBuffer(token_limit=1000), llm=protect(llm, redacting(telemetry))
    )

    assert str(engine.chat("I am bob@example.com")) == "Key <OPENAI_API_KEY> it is"
    assert "".join(engine.stream_chat("I am bob@example.com").response_gen) == "Key <OPENAI_API_KEY> it is"
    assert all("@" not in asked for asked in script.asked)


# LlamaIndex's writer of the chat history raises in its own thread whatever it hands to the reader.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_chat_engine_block(llm: Any, script: Any, telemetry: Any) -> None:
    """A blocked answer reaches the reader of a chat engine as a violation, streamed or not, sync or async."""
    script.answer = "a bomb"
    engine = SimpleChatEngine.from_defaults(
        memory=ChatMemoryBuffer(token_limit=1000), llm=protect(llm, telemetry.guard(Guardrail(refuse, stage="output")))
    )

    with pytest.raises(GuardrailViolation):
        engine.chat("Hello")
    with pytest.raises(GuardrailViolation):
        list(engine.stream_chat("Hello").response_gen)
    with pytest.raises(GuardrailViolation):
        await engine.achat("Hello")
    with pytest.raises(GuardrailViolation):
        [piece async for piece in (await engine.astream_chat("Hello")).async_response_gen()]
