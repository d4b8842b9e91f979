"""`protect(llm)` keeps every promise of a guard, in every method of an LLM."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from fakes_parts import ToolCallBlock, answer_of, calls_of, raw_call
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from llmguard_llamaindex import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Replace
from llmguard_middleware.testing import Flags
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, check_matrix, matrix, scenarios

from .fakes_llm import Speaking, called, read

# LlamaIndex's own structured models use it.
pytestmark = pytest.mark.filterwarnings("ignore:The `json` method:pydantic.warnings.PydanticDeprecatedSince20")


def _asked(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(message.content or "" for message in messages)


class Scripted(FunctionCallingLLM):
    """A model with every method of its own, which does what its script says; it calls a tool if that has a part."""

    script: Any = Field(exclude=True)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="scripted", is_chat_model=True, is_function_calling_model=True)

    def _prepare_chat_with_tools(self, tools: Any, user_msg: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"messages": [ChatMessage(role="user", content=user_msg)]}

    def _chat(self, text: str, delta: str | None = None) -> ChatResponse:
        return ChatResponse(message=ChatMessage(role="assistant", content=text), delta=delta, raw={"text": text})

    def _completion(self, text: str, delta: str | None = None) -> CompletionResponse:
        return CompletionResponse(text=text, delta=delta, raw={"text": text})

    def _calls(self, form: str) -> Any:
        """The answer, or the only chunk of one, that calls a tool."""
        text = self.script.material.get("tool_call")
        if text is None:
            return None
        arguments = json.dumps({"text": text})
        if form == "chat":
            block = ToolCallBlock(tool_call_id="1", tool_name="use", tool_kwargs=arguments)
            return ChatResponse(message=answer_of("", block), delta="")
        call = {"id": "1", "function": {"name": "use", "arguments": arguments}}
        return CompletionResponse(text="", delta="", additional_kwargs={"tool_calls": [call]})

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return self._calls("chat") or self._chat(self.script.reply(_asked(messages)))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return self._calls("completion") or self._completion(self.script.reply(prompt))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return self._calls("chat") or self._chat(await self.script.areply(_asked(messages)))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return self._calls("completion") or self._completion(await self.script.areply(prompt))

    def _pieces(self, asked: str, form: str) -> Iterator[Any]:
        if (calls := self._calls(form)) is not None:
            yield calls
            return
        text, make = "", self._chat if form == "chat" else self._completion
        for piece in self.script.stream(asked):
            text += piece
            yield make(text, piece)

    async def _apieces(self, asked: str, form: str) -> AsyncIterator[Any]:
        if (calls := self._calls(form)) is not None:
            yield calls
            return
        text, make = "", self._chat if form == "chat" else self._completion
        async for piece in self.script.astream(asked):
            text += piece
            yield make(text, piece)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """As scripted."""
        return self._pieces(_asked(messages), "chat")  # type: ignore[return-value]  # a generator it is

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """As scripted."""
        return self._pieces(prompt, "completion")  # type: ignore[return-value]  # as above

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """As scripted."""
        return self._apieces(_asked(messages), "chat")  # type: ignore[return-value]  # as above

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """As scripted."""
        return self._apieces(prompt, "completion")  # type: ignore[return-value]  # as above


def modes(*names: str) -> tuple[Mode, ...]:
    """The modes of these names."""
    return tuple(Mode(name, streamed="stream" in name, is_async=name.startswith("a")) for name in names)


TOOL = FunctionTool.from_defaults(lambda text: text, name="use", description="uses")


class Protected(Adapter):
    """A protected LLM, asked by messages, by a prompt, or with tools."""

    name = "LlamaIndex protect(llm)"
    modes = modes(
        *(prefix + "chat" for prefix in ("", "a", "stream_", "astream_")),
        *(prefix + "complete" for prefix in ("", "a", "stream_", "astream_")),
        *(prefix + "chat_with_tools" for prefix in ("", "a", "stream_", "astream_")),
    )
    stages = ("input", "output", "tool_call")
    script: Script

    def build(self, guard: Guard, script: Script) -> Any:
        """The LLM under its guard."""
        self.script = script
        return protect(Scripted(script=script), guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return protect(subject, guard)

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """By messages, by a prompt, or with tools."""
        method = getattr(subject, mode.name)
        if "tools" in mode.name:
            return method([TOOL], user_msg=text)
        return method([ChatMessage(role="user", content=text)] if "chat" in mode.name else text)

    def text(self, reply: Any) -> str:
        """What an answer says, or a chunk adds; its tool calls have come out."""
        for arguments in _arguments(reply):
            self.script.arrive("tool_call", json.loads(arguments)["text"])
        return str(self._whole(reply) if reply.delta is None else reply.delta)

    def so_far(self, chunk: Any) -> str | None:
        """Chunks say it."""
        return self._whole(chunk)

    def _whole(self, reply: Any) -> str:
        return str((reply.message.content or "") if isinstance(reply, ChatResponse) else reply.text)


def _arguments(reply: Any) -> Iterator[str]:
    if isinstance(reply, ChatResponse):
        yield from (raw_call(call)["function"]["arguments"] for call in calls_of(reply.message))
    else:
        yield from (call["function"]["arguments"] for call in reply.additional_kwargs.get("tool_calls", ()))


PROTECTED = Protected()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED), ids=str)
async def test_protected_llms_conform(scenario: Scenario) -> None:
    """A protected LLM does what the scenario claims."""
    await scenario.run(PROTECTED)


class Predicting(Protected):
    """A protected LLM, asked by a template."""

    name = "LlamaIndex protect(llm).predict"
    modes = modes("predict", "apredict", "stream", "astream")
    stages = ("input", "output")
    gaps: Mapping[str, str] = {
        "tool_call-unreached/*": "a model's tool calls are judged whatever asked it; these methods do not return them",
    }

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """By a template that is the text."""
        return getattr(subject, mode.name)(PromptTemplate("{text}"), text=text)

    def text(self, reply: Any) -> str:
        """It is one."""
        return str(reply)

    def so_far(self, chunk: Any) -> str | None:
        """Tokens do not say it."""
        return None


PREDICTING = Predicting()


@pytest.mark.parametrize("scenario", scenarios(PREDICTING), ids=str)
async def test_predictions_conform(scenario: Scenario) -> None:
    """A prediction of a protected LLM does what the scenario claims."""
    await scenario.run(PREDICTING)


# Structured answers come as tool calls and leave as objects, which the suite's scenarios of texts do not fit.


class Letter(BaseModel):
    """What a structured answer is."""

    to: str


def send(to: str) -> str:
    """Send a letter."""
    return f"sent to {to}"


PROMPT = PromptTemplate("Write to {who}.")
NASTY = "nasty"
STRUCTURED: dict[str, Callable[[Any], Any]] = {
    "structured_predict": lambda llm: llm.structured_predict(Letter, PROMPT, who=NASTY),
    "astructured_predict": lambda llm: llm.astructured_predict(Letter, PROMPT, who=NASTY),
    "stream_structured_predict": lambda llm: llm.stream_structured_predict(Letter, PROMPT, who=NASTY),
    "astream_structured_predict": lambda llm: llm.astream_structured_predict(Letter, PROMPT, who=NASTY),
    **{
        f"as_structured_llm().{mode}": lambda llm, mode=mode: getattr(llm.as_structured_llm(Letter), mode)(
            [ChatMessage(role="user", content=NASTY)]
        )
        for mode in ("chat", "achat", "stream_chat", "astream_chat")
    },
    **{
        f"as_structured_llm().{mode}": lambda llm, mode=mode: getattr(llm.as_structured_llm(Letter), mode)(NASTY)
        for mode in ("complete", "acomplete")
    },
    "predict_and_call": lambda llm: llm.predict_and_call([FunctionTool.from_defaults(send)], user_msg=NASTY),
    "apredict_and_call": lambda llm: llm.apredict_and_call([FunctionTool.from_defaults(send)], user_msg=NASTY),
}
STAGES = ("input", "output", "tool_call")
ACTIONS: dict[str, Any] = {"block": "block", "redact": "redact", "replace": Replace("<INSTEAD>")}


def writing(mode: str) -> Speaking:
    """A model that writes a letter to somebody nasty."""
    name = "send" if "call" in mode else "Letter"
    call = called(to=f"somebody {NASTY}").model_copy(update={"tool_name": name})
    return Speaking(answer=answer_of(call), raw_calls=True, size=1)


async def tried(mode: str, stage: Any, action: str) -> tuple[str, Any]:
    """What a call gave that meets one rule, as text, and the model that was asked."""
    inner = writing(mode)
    rule = Guardrail(Flags(when=NASTY, cheap=True), stage=stage, action=ACTIONS[action])
    made = STRUCTURED[mode](protect(inner, Guard(rule)))
    made = await made if inspect.isawaitable(made) else made
    return re.sub(r"\s+", " ", repr(await read(made))), inner


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("mode", STRUCTURED)
async def test_structured_answers(mode: str, stage: Any, action: str) -> None:
    """In every method whose answer is an object or a tool's result, every rule does what it says, in what goes in, what
    comes out, and in the arguments of the tool call that it comes as.
    """
    if action == "block":
        with pytest.raises(GuardrailViolation) as caught:
            await tried(mode, stage, action)
        assert caught.value.verdict.stage == stage
        return
    told, inner = await tried(mode, stage, action)

    mark = {"redact": "<FAKE>", "replace": "<INSTEAD>"}[action]
    if stage == "input":
        assert NASTY not in str(inner.asked)
        assert mark in str(inner.asked)
    else:
        assert NASTY not in told
        assert mark in told


async def holds(mode: str, stage: str, action: str) -> str:
    """The cell of a table."""
    try:
        await test_structured_answers(mode, stage, action)
    except AssertionError:
        return "✗"
    return "✓"


async def structured_matrix() -> str:
    """The table of what was tried just now."""
    claims = [(stage, action) for stage in STAGES for action in ACTIONS]
    lines = []
    for mode in STRUCTURED:
        held = [await holds(mode, *claim) for claim in claims]
        lines.append((mode, tuple(held)))
    head = [f"{stage}: {action}" if action == "block" else action for stage, action in claims]
    table = [["", *head], ["---", *[":-:"] * len(head)]]
    for cells, same in groupby(lines, key=lambda line: line[1]):
        table.append([" ".join(f"`{mode}`" for mode, _ in same), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in table)


README = Path(__file__).parents[1] / "README.md"
COMMAND = "uv run pytest --no-cov -k readme integrations"
TABLES: dict[str, Callable[[], Any]] = {
    "protect(llm)": lambda: matrix(PROTECTED),
    "protect(llm).predict": lambda: matrix(PREDICTING),
    "protect(llm).structured_predict": structured_matrix,
}


@pytest.mark.parametrize("name", TABLES)
async def test_the_readme_has_the_table_of_what_is_enforced(name: str) -> None:
    """What the README says of each call mode, stage and action is what was tried just now."""
    check_matrix(README, name, await TABLES[name](), COMMAND)
