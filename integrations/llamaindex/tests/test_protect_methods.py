"""protect(llm): every method of an LLM, and everything that is made of an LLM, is guarded, and otherwise as it was."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fakes_parts import ThinkingBlock, answer_of, calls_of, thoughts_of
from llama_index.core import MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.agent.react import ReActChatFormatter
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.mock import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.multi_modal_llms import MultiModalLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import TextNode
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from llmguard_llamaindex import protect
from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation, Replace
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

from .fakes_llm import CHATS, STREAMS, Speaking, asking, called, read, shown

pytestmark = pytest.mark.filterwarnings("ignore:The `json` method:pydantic.warnings.PydanticDeprecatedSince20")

MAIL = "bob@example.com"
PROMPT = PromptTemplate("Write to {who}.")
HELLO = [ChatMessage(role="user", content=f"I am {MAIL}")]


class Letter(BaseModel):
    """What a structured answer is."""

    to: str = ""


def write(to: str) -> str:
    """Write a letter."""
    return f"written to {to}"


TOOL = FunctionTool.from_defaults(write, name="Letter")
METHODS: dict[str, Callable[[Any], Any]] = {
    **{mode: lambda llm, mode=mode: getattr(llm, mode)(HELLO) for mode in CHATS},
    **{
        mode: lambda llm, mode=mode: getattr(llm, mode)(HELLO[0].content)
        for mode in ("complete", "acomplete", "stream_complete", "astream_complete")
    },
    **{
        mode: lambda llm, mode=mode: getattr(llm, mode)(PROMPT, who=MAIL)
        for mode in ("predict", "apredict", "stream", "astream")
    },
    **{
        mode: lambda llm, mode=mode: getattr(llm, mode)(Letter, PROMPT, who=MAIL)
        for mode in (
            "structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict"
        )
    },
    **{
        mode: lambda llm, mode=mode: getattr(llm, mode)([TOOL], user_msg=f"I am {MAIL}")
        for mode in (
            "chat_with_tools", "achat_with_tools", "stream_chat_with_tools", "astream_chat_with_tools",
            "predict_and_call", "apredict_and_call",
        )
    },
    **{
        f"structured {mode}": lambda llm, mode=mode: getattr(llm.as_structured_llm(Letter), mode)(HELLO)
        for mode in CHATS
    },
}  # fmt: skip


def model() -> Speaking:
    """A model that writes a letter."""
    call = called(to=f"the {MAIL}").model_copy(update={"tool_name": "Letter"})
    return Speaking(answer=answer_of(call), raw_calls=True, size=4)


def both_ways(telemetry: Any) -> Any:
    """A guard that redacts what goes in and what comes out."""
    return telemetry.guard(
        *(Guardrail(pii(), stage=stage, action="redact", name=f"pii-{stage}") for stage in ("input", "output"))
    )


async def told(made: Any) -> str:
    """All that a call gave, as text."""
    made = await made if hasattr(made, "__await__") else made
    return repr(await read(made))


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_is_one_guarded_call(method: str, telemetry: Any) -> None:
    """In every method the model gets the guarded messages, the caller the guarded answer, and there is one span."""
    llm = model()

    said = await told(METHODS[method](protect(llm, both_ways(telemetry))))

    assert len(llm.asked) == 1
    assert "EMAIL_ADDRESS" in str(llm.asked)
    assert "bob" not in str(llm.asked) + said
    assert telemetry.tree == [("chat speaking", None)]
    (span,) = telemetry.spans
    assert span.attributes["gen_ai.usage.output_tokens"] == 2
    assert span.attributes.get("gen_ai.request.stream", False) == ("stream" in method)


@pytest.mark.parametrize("method", METHODS)
async def test_no_event_of_llamaindex_is_doubled(method: str, telemetry: Any) -> None:
    """A guarded copy tells LlamaIndex's own handlers as often as its original does, and of the same things."""
    events: list[str] = []

    class Heard(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            if not event.class_name().endswith("InProgressEvent"):
                events.append(event.class_name())

    dispatcher = get_dispatcher()
    handler = Heard()
    dispatcher.add_event_handler(handler)
    try:
        await told(METHODS[method](model()))
        plain = Counter(events)
        events.clear()
        await told(METHODS[method](protect(model(), both_ways(telemetry))))
    finally:
        dispatcher.event_handlers.remove(handler)

    assert plain == Counter(events)
    assert plain


def test_what_is_made_of_an_llm_is_guarded(telemetry: Any) -> None:
    """Settings.llm, a query engine and a chat engine use a guarded copy as any LLM, and ask it guarded."""
    llm = Speaking(answer=answer_of(f"It is {MAIL}"))
    guarded = protect(llm, both_ways(telemetry))
    index = VectorStoreIndex([TextNode(text=f"He is {MAIL}")], embed_model=MockEmbedding(embed_dim=4))
    before = Settings._llm
    try:
        Settings.llm = guarded
        assert Settings.llm is guarded
        assert "EMAIL_ADDRESS" in str(index.as_query_engine().query(f"I am {MAIL}"))
    finally:
        Settings._llm = before
    assert "EMAIL_ADDRESS" in str(index.as_query_engine(llm=guarded).query(f"I am {MAIL}"))
    assert "EMAIL_ADDRESS" in str(
        SimpleChatEngine.from_defaults(llm=guarded, memory=ChatMemoryBuffer.from_defaults()).chat(f"I am {MAIL}")
    )

    assert len(llm.asked) == 3
    assert MAIL not in str(llm.asked)


def test_copies_are_guarded_and_the_original_is_not(telemetry: Any) -> None:
    """copy, deepcopy and model_copy, of a copy under two guards as well, are of the same type and guarded."""
    llm = Speaking(answer=answer_of(f"It is {MAIL}"))
    guarded = protect(
        protect(llm, both_ways(telemetry)), Guard(Guardrail(Flags(when="xyz", cheap=True), stage="input"))
    )

    for one in (guarded, copy.copy(guarded), copy.deepcopy(guarded), guarded.model_copy(update={"size": 3})):
        assert isinstance(one, Speaking)
        assert isinstance(one, FunctionCallingLLM)
        assert one.chat(HELLO).message.content == "It is <EMAIL_ADDRESS>"
        with pytest.raises(GuardrailViolation):
            one.chat([ChatMessage(content="xyz")])
    assert llm.chat(HELLO).message.content == f"It is {MAIL}"
    assert type(llm) is Speaking


async def test_messages_of_any_iterable(telemetry: Any) -> None:
    """Messages that can be gone through only once reach the model, judged."""
    llm = Speaking()

    protect(llm, both_ways(telemetry)).chat(message for message in HELLO)
    protect(llm, telemetry.guard()).chat(messages=tuple(HELLO))

    assert [one.content for one in llm.asked[0]] == ["I am <EMAIL_ADDRESS>"]
    assert llm.asked[1] == tuple(HELLO)


def test_a_mistake_is_said() -> None:
    """What is no LLM is refused with what to write: a class, the arguments in the wrong order, a MultiModalLLM."""

    class Pictures(MultiModalLLM):
        def _none(self, *args: Any, **kwargs: Any) -> Any: ...

        metadata = property(_none)
        complete = stream_complete = chat = stream_chat = _none
        acomplete = astream_complete = achat = astream_chat = _none

    mistakes: list[tuple[Any, str]] = [
        (MockLLM, r"not the class MockLLM: write protect\(MockLLM\(\.\.\.\), guard\)"),
        (Guard(), r"write protect\(llm, guard\), in this order"),
        ("gpt", "not str: give the object itself"),
        (Pictures.model_construct(), "images go to LLMs in ImageBlocks"),
    ]
    for given, said in mistakes:
        with pytest.raises(ConfigurationError, match=said):
            protect(given, Guard())


class Refusing(Speaking):
    """A model that says the second of two things once it was told that the first will not do."""

    second: Any = Field(default=None)

    def _now(self) -> Any:
        return self.answer if len(self.asked) < 2 else self.second

    def whole(self) -> ChatMessage:
        """The answer of the hour."""
        return self._now()  # type: ignore[no-any-return]  # a message

    def _chunks(self) -> Any:
        said = Speaking(answer=self._now(), size=self.size)
        return said._chunks()


@pytest.mark.parametrize("mode", CHATS)
async def test_a_model_is_asked_again_about_a_tool_call(mode: str) -> None:
    """What is wrong with the arguments of a tool call is told to the model, and nothing of the first answer leaves."""
    llm = Refusing(answer=answer_of("I write.", called(to="nasty")), second=answer_of("Better.", called(to="nice")))
    guard = Guard(Guardrail(Flags(when="nasty", cheap=True), stage="output", action="reask"))

    given = await asking(protect(llm, guard), mode, "Write.")

    assert "nasty" not in shown(given)
    assert given[-1].message.content == "Better."
    assert "".join(one.delta or "" for one in given) == ("Better." if "stream" in mode else "")
    assert len(llm.asked) == 2
    assert llm.asked[1][-1].role == "user"


@pytest.mark.parametrize("mode", CHATS)
@pytest.mark.parametrize("stage", ["input", "output", "tool_call"])
async def test_a_refusal_is_an_answer(stage: Any, mode: str) -> None:
    """In refusal mode a stopped call answers with the words it was given, and calls no tool."""
    guard = Guard(Guardrail(Flags(when="nasty", cheap=True), stage=stage), refusal="I cannot do that.")
    llm = protect(Speaking(answer=answer_of("nasty", called(to="nasty"))), guard)

    given = await asking(llm, mode, "nasty")

    assert given[-1].message.content.endswith("I cannot do that.")
    assert "tool_call" not in shown(given)
    if "stream" in mode:
        assert "".join(one.delta or "" for one in given) == given[-1].message.content
    assert ("nasty" in shown(given)) == (stage == "tool_call" and "stream" in mode)  # text that had left


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("mode", [*CHATS, *STREAMS[2:]])
async def test_pseudonyms_come_back(mode: str, size: int) -> None:
    """The model works with placeholders; originals return in text and thinking, however cut, and stay out of calls."""

    class Echo(Speaking):
        @property
        def placeholder(self) -> str:
            asked = self.asked[-1]
            return (asked if isinstance(asked, str) else asked[-1].content).removeprefix("I am ")

        @property
        def text(self) -> str:
            return f"Hello {self.placeholder}, hello."

        def whole(self) -> ChatMessage:
            return answer_of(
                ThinkingBlock(content=f"It is {self.placeholder}!"), self.text, called(to=self.placeholder)
            )

        def _chunks(self) -> Any:
            said = Speaking(answer=self.whole(), size=self.size)
            return said._chunks()

    llm = Echo(size=size)
    guard = Guard(Guardrail(pii(), stage="input", action="pseudonymize"))

    given = await asking(protect(llm, guard), mode, f"I am {MAIL}")

    assert MAIL not in str(llm.asked)
    if "complete" in mode:
        assert given[-1].text == f"Hello {MAIL}, hello."
        return
    message = given[-1].message
    (call,) = calls_of(message)
    assert (thoughts_of(message), message.content) == (f"It is {MAIL}!", f"Hello {MAIL}, hello.")
    assert MAIL not in str(call)
    if "stream" in mode:
        assert "".join(one.delta or "" for one in given) == message.content


@pytest.mark.parametrize("mode", CHATS)
async def test_a_race_is_settled_before_a_tool_call_leaves(mode: str) -> None:
    """A rule that races with the model stops an answer that is a tool call only."""
    guard = Guard(Guardrail(lambda text: "nasty" in text, name="slow", stage="input", race=True))
    llm = protect(Speaking(answer=answer_of(called(to="x"))), guard)

    assert calls_of((await asking(llm, mode, "nice"))[-1].message)
    with pytest.raises(GuardrailViolation):
        await asking(llm, mode, "nasty")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["predict_and_call", "apredict_and_call"])
async def test_a_violation_of_a_model_that_cannot_call_tools(method: str) -> None:
    """Where LlamaIndex makes an agent of a model that cannot call tools itself, a violation surfaces as one."""
    llm = protect(MockLLM(), Guard(Guardrail(Flags(when="nasty", cheap=True), stage="input")))

    async def call() -> None:
        made = getattr(llm, method)([TOOL], user_msg="nasty", react_chat_formatter=ReActChatFormatter())
        await made if hasattr(made, "__await__") else made

    with pytest.raises(GuardrailViolation):
        await call()


@pytest.mark.parametrize("method", ["predict_and_call", "apredict_and_call"])
async def test_a_violation_inside_a_tool(method: str) -> None:
    """A tool that asks a guarded model, and is stopped, does not become the text of a tool that failed."""
    inner = protect(
        Speaking(answer=answer_of("nasty")), Guard(Guardrail(Flags(when="nasty", cheap=True), stage="output"))
    )
    tool = FunctionTool.from_defaults(lambda to: inner.complete(to).text, name="Letter")
    llm = protect(model(), Guard())

    async def call() -> None:
        made = getattr(llm, method)([tool], user_msg="Write.")
        await made if hasattr(made, "__await__") else made

    with pytest.raises(GuardrailViolation):
        await call()


def test_a_whole_answer_that_is_replaced_keeps_its_call_valid() -> None:
    """A tool call whose arguments are replaced is still one that LlamaIndex can parse."""
    guard = Guard(Guardrail(Flags(when="nasty", cheap=True), stage="tool_call", action=Replace("nice")))
    llm = protect(Speaking(answer=answer_of(called(to="a nasty letter", also=["nasty"]))), guard)

    response = llm.chat_with_tools([TOOL], user_msg="Write.")

    (call,) = llm.get_tool_calls_from_response(response)
    assert "nasty" not in str(call)
    assert set(call.tool_kwargs) == {"to", "also"}
