"""attach: chat engines, in each of their four ways."""

from __future__ import annotations

import asyncio
import copy
import gc
import threading
from typing import Any

import pytest
from fakes_engines import CHATS, ENGINES, chat, chat_engine, kept, no_stray_error, response_of
from fakes_parts import READS_ITSELF, multi_modal_engines
from llama_index.core import MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.base.response.schema import Response, StreamingResponse
from llama_index.core.chat_engine import CondenseQuestionChatEngine
from llama_index.core.chat_engine.types import AgentChatResponse, StreamingAgentChatResponse
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer, Memory
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.schema import ImageNode, TextNode

from llmguard_llamaindex import attach, detach, protect
from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation, Monitor, UnenforceableError
from llmguard_middleware.scorers import pii, secrets

KEY = "sk-abcdefghijklmnopqrstuvwx"
STREAMS = ["stream_chat", "astream_chat"]


def redacting(telemetry: Any, *more: Any, kind: str = "simple", **options: Any) -> Any:
    """A guard that redacts both ways, and documents if this kind of engine retrieves any."""
    rules = (
        Guardrail(pii(), stage="input", action="redact"),
        Guardrail(secrets(), stage="output", action="redact"),
        *([] if kind == "simple" else [Guardrail(pii(), stage="retrieval", action="redact", name="documents")]),
    )
    return telemetry.guard(*rules, *more, **options)


def refuse(text: str) -> bool:
    """A scorer that flags bombs."""
    return "bomb" in text


@pytest.fixture(params=ENGINES)
def kind(request: pytest.FixtureRequest) -> str:
    """One of the four chat engines."""
    return str(request.param)


@pytest.fixture(params=CHATS)
def way(request: pytest.FixtureRequest) -> str:
    """One of the four ways to ask one."""
    return str(request.param)


@pytest.fixture(params=STREAMS)
def streamed(request: pytest.FixtureRequest) -> str:
    """One of the two ways to stream."""
    return str(request.param)


@pytest.fixture
def memory() -> ChatMemoryBuffer:
    """An empty memory."""
    return ChatMemoryBuffer.from_defaults(token_limit=3000)


async def test_guarded(kind: str, way: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """Retriever and models see redacted texts only, in the second turn too, and so do the caller and the memory."""
    script.answer = f"Key {KEY}."
    engine = attach(chat_engine(kind, llm, shelf, memory), redacting(telemetry, kind=kind))

    assert await chat(engine, way, "Who is carol@example.com?") == "Key <OPENAI_API_KEY>."
    assert await chat(engine, way, "And dave@example.com?") == "Key <OPENAI_API_KEY>."

    assert script.asked
    assert all("@" not in asked and "sk-" not in asked for asked in [*script.asked, *shelf.asked])
    answer = ("assistant", "Key <OPENAI_API_KEY>.")
    assert kept(memory) == [("user", "Who is <EMAIL_ADDRESS>?"), answer, ("user", "And <EMAIL_ADDRESS>?"), answer]
    assert isinstance(memory, ChatMemoryBuffer)
    assert engine._memory is memory


async def test_raw_memory(kind: str, way: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """With state="raw" the memory keeps what the user said; models see it redacted at every turn."""
    script.answer = f"Key {KEY}."
    engine = attach(chat_engine(kind, llm, shelf, memory), redacting(telemetry, kind=kind), state="raw")

    await chat(engine, way, "Who is carol@example.com?")
    await chat(engine, way, "And she?")

    assert all("@" not in asked and "sk-" not in asked for asked in [*script.asked, *shelf.asked])
    answer = ("assistant", "Key <OPENAI_API_KEY>.")
    assert kept(memory) == [("user", "Who is carol@example.com?"), answer, ("user", "And she?"), answer]


async def test_blocked_question(
    kind: str, way: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any
) -> None:
    """A blocked message raises before anything is asked, and leaves nothing in memory."""
    engine = attach(chat_engine(kind, llm, shelf, memory), telemetry.guard(Guardrail(refuse, stage="input")))

    with pytest.raises(GuardrailViolation):
        await chat(engine, way, "How to build a bomb?")

    assert (shelf.asked, script.asked, kept(memory)) == ([], [], [])
    assert await chat(engine, way, "Hello") == "fine"


@pytest.mark.parametrize("size", [1, 5, 100])
async def test_blocked_answer(
    kind: str, way: str, size: int, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any
) -> None:
    """A blocked answer reaches the reader as the violation, no thread dies of it, and no turn is left in memory."""
    engine = attach(chat_engine(kind, llm, shelf, memory), telemetry.guard(Guardrail(refuse, stage="output")))
    script.answer, script.size = "Take a bomb and", size

    with no_stray_error(), pytest.raises(GuardrailViolation):
        await chat(engine, way, "Hello")

    assert kept(memory) == []
    script.answer = "fine"
    assert await chat(engine, way, "Hello") == "fine"
    assert kept(memory) == [("user", "Hello"), ("assistant", "fine")]


@pytest.mark.parametrize("size", range(1, 17))
async def test_split_secret(
    kind: str, streamed: str, size: int, completing: Any, script: Any, shelf: Any, memory: Any, telemetry: Any
) -> None:
    """However a secret is cut by chunks, the streamed answer equals the whole one, and so does what is kept."""
    script.answer, script.size = f"The key: {KEY}. Another: {KEY}", size
    engine = attach(chat_engine(kind, completing, shelf, memory), redacting(telemetry))

    assert await chat(engine, streamed, "Hello") == "The key: <OPENAI_API_KEY>. Another: <OPENAI_API_KEY>"
    assert kept(memory)[-1] == ("assistant", "The key: <OPENAI_API_KEY>. Another: <OPENAI_API_KEY>")


async def test_unread(kind: str, streamed: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """A stream that nobody reads: nothing hangs or is printed, what is blocked is not kept, what is fine is."""
    engine = attach(chat_engine(kind, llm, shelf, memory), telemetry.guard(Guardrail(refuse, stage="output")))

    for answer in ("a bomb", "fine"):
        script.answer = answer
        with no_stray_error():
            response = await response_of(engine, streamed, "Hello")
            await _written(response)
        writes = READS_ITSELF or kind in ("simple", "condense_question")
        if not writes:
            assert (response.response, str(response)) == ("", "")  # older versions leave all of it to the reader
        elif answer == "fine":
            assert (response.response, str(response)) == ("fine", "fine")
        else:
            with pytest.raises(GuardrailViolation):
                _ = response.response
            with pytest.raises(GuardrailViolation):
                str(response)
        del response
        gc.collect()

    fine = [("user", "Hello"), ("assistant", "fine")]
    assert kept(memory) == (fine if writes else [])


async def _written(response: Any) -> None:
    """LlamaIndex has written the history."""
    if response.awrite_response_to_history_task is not None:
        await response.awrite_response_to_history_task
    elif READS_ITSELF:
        response.write_response_to_history_thread.join(10)
    else:  # older versions do not tell which thread it is
        for thread in threading.enumerate():
            if thread.name.startswith("Thread-"):
                thread.join(10)


async def test_every_way_to_read(
    kind: str, streamed: str, llm: Any, script: Any, shelf: Any, telemetry: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, read twice or looked at afterwards: the same clean text, and the sources are clean."""
    script.answer = f"Key {KEY}."
    clean = "Key <OPENAI_API_KEY>."
    engine = attach(chat_engine(kind, llm, shelf), redacting(telemetry, kind=kind))

    response = await response_of(engine, streamed, "Hello")
    if streamed == "stream_chat":
        response.print_response_stream()
        again = "".join(response.response_gen)
    else:
        await response.aprint_response_stream()
        again = "".join([piece async for piece in response.async_response_gen()])

    assert isinstance(response, StreamingAgentChatResponse)
    assert (capsys.readouterr().out, again) == (clean, clean)
    assert (response.response, str(response), response.unformatted_response) == (clean, clean, clean)
    assert response.is_done or not READS_ITSELF
    assert "@" not in repr(response.sources)
    assert "@" not in repr(response.source_nodes)


async def test_violation_read_again(streamed: str, llm: Any, script: Any, shelf: Any, telemetry: Any) -> None:
    """Who reads a stopped stream again gets the violation again."""
    script.answer = "bomb"
    engine = attach(chat_engine("simple", llm, shelf), telemetry.guard(Guardrail(refuse, stage="output")))
    response = await response_of(engine, streamed, "Hello")

    for _ in range(2):
        with pytest.raises(GuardrailViolation):
            await _printed(response, streamed)


async def _printed(response: Any, way: str) -> None:
    if way == "stream_chat":
        response.print_response_stream()
    else:
        await response.aprint_response_stream()


class Own(CustomQueryEngine):
    """An engine that answers by itself, whole or streamed."""

    answer: str = f"Key {KEY}."
    streamed: bool = False

    def custom_query(self, query_str: str) -> Any:
        """The answer."""
        return StreamingResponse(piece for piece in self.answer) if self.streamed else Response(self.answer)


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat"])
async def test_answer_of_no_guarded_model(way: str, completing: Any, memory: Any, telemetry: Any) -> None:
    """An answer that no LLM gave is judged where the engine gives it; the sources do not repeat the other text."""
    inner = Own(streamed=way == "stream_chat")
    engine = CondenseQuestionChatEngine.from_defaults(query_engine=inner, llm=completing, memory=memory)
    rules = Guardrail(secrets(), stage="output", action="redact"), Guardrail(refuse, stage="output")
    attach(engine, telemetry.guard(*rules))

    assert await chat(engine, way, "Hello") == "Key <OPENAI_API_KEY>."
    assert kept(memory)[-1] == ("assistant", "Key <OPENAI_API_KEY>.")

    engine._query_engine.answer = "a bomb"
    with no_stray_error(), pytest.raises(GuardrailViolation):
        await chat(engine, way, "Hello")
    assert len(kept(memory)) == 2
    assert inner.answer == f"Key {KEY}."


async def test_history_of_the_caller(
    kind: str, way: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any
) -> None:
    """A history that comes with the message is judged and kept like it; the caller's messages stay as they are."""
    history = [ChatMessage(role="user", content="I am bob@example.com"), ChatMessage(role="assistant", content="Hi")]
    engine = attach(chat_engine(kind, llm, shelf, memory), redacting(telemetry, Guardrail(refuse, stage="input")))

    await chat(engine, way, "Who am I?", chat_history=history)

    assert history[0].content == "I am bob@example.com"
    assert all("@" not in asked for asked in script.asked)
    assert "@" not in repr(kept(memory))
    before = kept(memory)
    with pytest.raises(GuardrailViolation):
        await chat(engine, way, "Hm", chat_history=[ChatMessage(role="user", content="a bomb")])
    assert kept(memory) == before


async def test_failed_turn(kind: str, way: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """An error of the model is raised as it is to the reader, to nobody else, and its turn is not kept."""
    if "stream" in way:
        script.answer, script.size = "too long", 2
    script.error = RuntimeError("down")
    engine = attach(chat_engine(kind, llm, shelf, memory), redacting(telemetry, kind=kind))

    with no_stray_error(), pytest.raises(RuntimeError, match="down"):
        await chat(engine, way, "Hello")

    assert kept(memory) == []


async def test_tree(kind: str, way: str, llm: Any, shelf: Any, telemetry: Any) -> None:
    """A turn is one span, with the retrieval and the model call below it."""
    await chat(attach(chat_engine(kind, llm, shelf), telemetry.guard()), way, "Hello")

    root = f"invoke_workflow {type(chat_engine(kind, llm, shelf)).__name__}"
    above = root
    tree: list[tuple[str, str | None]] = [(root, None)]
    if kind == "condense_question":
        above = "invoke_workflow RetrieverQueryEngine"
        tree.append((above, root))
    if kind != "simple":
        tree.append(("retrieval", above))
    assert telemetry.tree == [*tree, ("chat scripted", above)]
    assert all("error.type" not in span.attributes for span in telemetry.spans)


async def test_monitor(kind: str, way: str, llm: Any, script: Any, shelf: Any, telemetry: Any) -> None:
    """Monitors score the turn once, with the documents retrieved for it."""
    seen: list[Any] = []

    def watch(question: str, output: str, context: Any) -> float:
        seen.append((question, output, tuple(context)))
        return 1.0

    guard = redacting(telemetry, Monitor(watch), kind=kind)

    await chat(attach(chat_engine(kind, llm, shelf), guard), way, "Hello")

    assert guard.flush() == 0
    context = () if kind == "simple" else ("Bob lives in Ulm.", "Write to <EMAIL_ADDRESS>.")
    assert seen == [("Hello", "fine", context)]


async def test_refusal_mode(
    kind: str, way: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any
) -> None:
    """In refusal mode a blocked message and a blocked answer are answered with the configured text."""
    rules = Guardrail(refuse, stage="input"), Guardrail(refuse, stage="output", name="answers")
    engine = attach(chat_engine(kind, llm, shelf, memory), telemetry.guard(*rules, refusal="No."))

    assert await chat(engine, way, "a bomb") == "No."
    assert kept(memory) == []
    script.answer = "a bomb"
    assert await chat(engine, way, "Hello") == "No."
    assert "bomb" not in repr(kept(memory))
    response = await response_of(engine, way, "a bomb")
    assert (response.response, str(response)) == ("No.", "No.")


async def test_two_guards(kind: str, way: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """Two guards on one engine both apply, share its spans, and either one's violation leaves no turn."""
    inner = telemetry.guard(Guardrail(pii(), stage="output", action="redact"), name="inner")
    outer = telemetry.guard(
        Guardrail(secrets(), stage="output", action="redact"), Guardrail(refuse, stage="output"), name="outer"
    )
    script.answer = f"{KEY} bob@example.com"
    engine = attach(attach(chat_engine(kind, llm, shelf, memory), inner), outer)

    assert await chat(engine, way, "Hello") == "<OPENAI_API_KEY> <EMAIL_ADDRESS>"
    assert kept(memory) == [("user", "Hello"), ("assistant", "<OPENAI_API_KEY> <EMAIL_ADDRESS>")]
    assert len([span for span in telemetry.spans if span.parent is None]) == 1

    script.answer = "bomb"
    with no_stray_error(), pytest.raises(GuardrailViolation):
        await chat(engine, way, "Hello")
    assert len(kept(memory)) == 2


async def test_detach(kind: str, llm: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """Detach puts class and parts back; what others share was never changed."""
    engine = chat_engine(kind, llm, shelf, memory)
    before = type(engine), dict(vars(engine)), dict(vars(llm)), dict(vars(shelf))

    assert attach(attach(engine, redacting(telemetry)), redacting(telemetry)) is engine
    assert isinstance(engine, before[0])
    assert engine._llm is not llm
    assert detach(engine) is engine

    assert (type(engine), vars(engine), vars(llm), vars(shelf)) == before
    await chat(engine, "stream_chat", "bob@example.com")
    assert telemetry.spans == []


async def test_copies(kind: str, completing: Any, script: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """Copies of an attached engine are guarded."""
    engine = attach(chat_engine(kind, completing, shelf, memory), redacting(telemetry))

    for clone in (copy.copy(engine), copy.deepcopy(engine)):
        await chat(clone, "stream_chat", "bob@example.com")
        await chat(clone, "achat", "bob@example.com")

    assert all("@" not in asked for asked in script.asked)


async def test_waterfall_memory(way: str, llm: Any, script: Any, shelf: Any, telemetry: Any) -> None:
    """LlamaIndex's default memory keeps whole turns, and none that was blocked."""
    memory = Memory.from_defaults(token_limit=3000)
    engine = attach(chat_engine("simple", llm, shelf, memory), redacting(telemetry, Guardrail(refuse, stage="output")))

    await chat(engine, way, "bob@example.com")
    script.answer = "bomb"
    with pytest.raises(GuardrailViolation):
        await chat(engine, way, "Hello")

    assert [message.content for message in await memory.aget_all()] == ["<EMAIL_ADDRESS>", "fine"]
    await memory.sql_store._async_engine.dispose()


@pytest.mark.parametrize("mode", ["simple", "context", "condense_question", "condense_plus_context", "best"])
async def test_as_chat_engine(mode: Any, completing: Any, memory: Any, script: Any, telemetry: Any) -> None:
    """What an index makes as a chat engine can be attached to."""
    index = VectorStoreIndex([TextNode(text="Write to bob@example.com.")], embed_model=MockEmbedding(embed_dim=4))
    engine = attach(index.as_chat_engine(chat_mode=mode, llm=completing, memory=memory), redacting(telemetry))

    for way in CHATS:
        await chat(engine, way, "carol@example.com")

    assert script.asked
    assert all("@" not in asked for asked in script.asked)


async def test_settings(llm: Any, script: Any, shelf: Any, telemetry: Any) -> None:
    """An engine made with the LLM of Settings is guarded, and that of Settings is not."""
    before = Settings._llm
    Settings.llm = llm
    try:
        engine = attach(chat_engine("context", None, shelf), redacting(telemetry))
        await chat(engine, "chat", "bob@example.com")
        assert "@" not in script.asked[-1]
        Settings.llm.complete("bob@example.com")
        assert "@" in script.asked[-1]
    finally:
        Settings._llm = before


async def test_many_at_once(streamed: str, chatting: Any, script: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """Turns at the same time on one engine do not mix up, and are kept as whole turns."""
    script.answer = f"Key {KEY} and more. " * 3
    engine = attach(chat_engine("simple", chatting, shelf, memory), redacting(telemetry))

    async def asking(number: int) -> str:
        if streamed == "astream_chat":
            return await chat(engine, streamed, f"Hello {number}")
        return await asyncio.to_thread(lambda: "".join(engine.stream_chat(f"Hello {number}").response_gen))

    answers = await asyncio.gather(*map(asking, range(6)))

    assert set(answers) == {"Key <OPENAI_API_KEY> and more. " * 3}
    assert sorted(text for role, text in kept(memory) if role == "user") == [f"Hello {n}" for n in range(6)]
    assert len([role for role, _ in kept(memory) if role == "assistant"]) == 6


@pytest.mark.parametrize("way", CHATS)
async def test_pseudonyms(way: str, kind: str, llm: Any, script: Any, shelf: Any, memory: Any, telemetry: Any) -> None:
    """The model sees placeholders, the caller and the memory the originals; to keep placeholders is refused."""
    guard = telemetry.guard(Guardrail(pii(), stage="input", action="pseudonymize"))
    with pytest.raises(ConfigurationError, match="raw"):
        attach(chat_engine(kind, llm, shelf, memory), guard)
    engine = attach(chat_engine(kind, llm, shelf, memory), guard, state="raw")

    await chat(engine, way, "I am eve@example.com")

    assert "eve@" not in "".join(script.asked)
    assert kept(memory)[0] == ("user", "I am eve@example.com")


def test_raw_memory_with_an_llm(completing: Any, shelf: Any, telemetry: Any) -> None:
    """A memory that tells an unguarded LLM what it keeps cannot keep raw messages."""
    guard = telemetry.guard(Guardrail(pii(), stage="input", action="redact"))

    def summing(llm: Any) -> Any:
        return chat_engine("simple", completing, shelf, ChatSummaryMemoryBuffer.from_defaults(llm=llm))

    with pytest.raises(UnenforceableError, match="protect"):
        attach(summing(completing), guard, state="raw")
    attach(summing(protect(completing, guard)), guard, state="raw")
    attach(summing(completing), guard)


def test_unknown_word(completing: Any, shelf: Any, telemetry: Any) -> None:
    """What to keep is one of two words."""
    with pytest.raises(ConfigurationError, match="redacted"):
        attach(chat_engine("simple", completing, shelf), telemetry.guard(), state="row")  # type: ignore[arg-type]  # on purpose


async def test_whole_answer(way: str, llm: Any, shelf: Any, telemetry: Any) -> None:
    """Answers are of LlamaIndex's own types."""
    response = await response_of(attach(chat_engine("simple", llm, shelf), telemetry.guard()), way, "Hello")

    assert isinstance(response, StreamingAgentChatResponse if "stream" in way else AgentChatResponse)
    if way == "stream_chat":
        response.print_response_stream()
    elif way == "astream_chat":
        await response.aprint_response_stream()


if multi_modal_engines():

    @pytest.mark.parametrize("made", multi_modal_engines())
    async def test_multi_modal(
        made: Any, way: str, chatting: Any, script: Any, shelf: Any, memory: Any, telemetry: Any
    ) -> None:
        """The engines that show images to their model are guarded like the others, and their images pass."""
        script.answer = f"Key {KEY}."
        shelf.nodes.append(ImageNode(image="aGVsbG8="))
        engine = made.from_defaults(shelf, multi_modal_llm=chatting, memory=memory)
        attach(engine, redacting(telemetry, Guardrail(refuse, stage="output"), kind="context"))

        for _ in range(2):
            assert await chat(engine, way, "Who is carol@example.com?") == "Key <OPENAI_API_KEY>."

        assert all("@" not in asked and "sk-" not in asked for asked in [*script.asked, *shelf.asked])
        assert kept(memory)[:2] == [("user", "Who is <EMAIL_ADDRESS>?"), ("assistant", "Key <OPENAI_API_KEY>.")]
        assert ("image",) in [span.attributes.get("llmguard.not_scanned") for span in telemetry.spans]
        script.answer = "a bomb"
        with no_stray_error(), pytest.raises(GuardrailViolation):
            await chat(engine, way, "Hello")
        assert len(kept(memory)) == 4


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("way", CHATS)
async def test_a_history_of_a_blocked_turn(kind: str, way: str, chatting: Any, script: Any, shelf: Any) -> None:
    """A turn that comes with a history of its own and is blocked leaves the memory as it was before."""
    memory = ChatMemoryBuffer.from_defaults(token_limit=3000)
    engine = attach(chat_engine(kind, chatting, shelf, memory), Guard(Guardrail(pii(), stage="output")))
    await chat(engine, way, "Hello")
    before, script.answer = kept(memory), "bob@example.com"
    with pytest.raises(GuardrailViolation):
        await chat(engine, way, "Who?", chat_history=[ChatMessage(role="user", content="Old")])
    assert kept(memory) == before
    script.answer = "fine"
    await chat(engine, way, "Who?", chat_history=[ChatMessage(role="user", content="Old")])
    if kind != "condense_question":  # which keeps its own
        assert kept(memory) == [("user", "Old"), ("user", "Who?"), ("assistant", "fine")]
