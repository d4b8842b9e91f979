"""What LangChain's adapters keep of a guard's promises, in every call mode; what they refuse, and what is missing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    Generation,
    GenerationChunk,
    LLMResult,
)
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, check_matrix, matrix, scenarios

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")


def _asked(messages: list[BaseMessage]) -> str:
    return "\n".join(str(message.text) for message in messages)


class Scripted(BaseChatModel):
    """A provider with every method of its own, which does what its script says; it calls a tool if that has a part."""

    script: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._called() or _result(AIMessage(self.script.reply(_asked(messages))))

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._called() or _result(AIMessage(await self.script.areply(_asked(messages))))

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        if (called := self._called()) is not None:
            yield _calling(called)
            return
        for piece in self.script.stream(_asked(messages)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        if (called := self._called()) is not None:
            yield _calling(called)
            return
        async for piece in self.script.astream(_asked(messages)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))

    def _called(self) -> ChatResult | None:
        text = self.script.material.get("tool_call")
        call = {"name": "use", "args": {"text": text}, "id": "1"}
        return None if text is None else _result(AIMessage("", tool_calls=[call]))


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


def _calling(result: ChatResult) -> ChatGenerationChunk:
    (call,) = result.generations[0].message.tool_calls
    part = tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=0)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[part]))


class Called(Adapter):
    """A Runnable in LangChain's call modes."""

    modes: Sequence[Mode] = (
        Mode("invoke"),
        Mode("ainvoke", is_async=True),
        Mode("batch"),
        Mode("abatch", is_async=True),
        Mode("stream", streamed=True),
        Mode("astream", streamed=True, is_async=True),
        Mode("transform", streamed=True),
        Mode("atransform", streamed=True, is_async=True),
        Mode("astream_events v2", streamed=True, is_async=True),
    )

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """As a Runnable."""
        return called(subject, mode, text)


async def _only(thing: Any) -> AsyncIterator[Any]:
    yield thing


async def _read(asked: Any) -> AsyncIterator[Any]:
    """An event stream of version 3 goes on behind the back of a reader who does not close it."""
    events = await asked
    try:
        async for event in events:
            yield event
    except Exception:
        raise  # LangChain would begin a call that was stopped at its start once more, to close it
    except BaseException:
        await events.aclose()
        raise
    await events.aclose()


def called(subject: Any, mode: Mode, given: Any) -> Any:
    """What a Runnable gives in this mode."""
    method, _, version = mode.name.partition(" ")
    if version:
        events = getattr(subject, method)(given, version=version)
        return _read(events) if isinstance(events, Awaitable) else events
    each: dict[str, Any] = {"batch": [given], "abatch": [given], "transform": iter([given]), "atransform": _only(given)}
    return getattr(subject, method)(each.get(method, given))


LEFT = {
    "caller-leaves-stream-*/stream_events v3": "LangChain cannot close it: the span ends when Python drops the stream",
    "caller-leaves-stream-*/astream_events v3": "LangChain reads the stream ahead of its reader, to the end",
}


class ChatCalled(Called):
    """A chat model in LangChain's call modes, those of the installed version included."""

    modes = (
        *Called.modes,
        *(
            (Mode("stream_events v3", streamed=True), Mode("astream_events v3", streamed=True, is_async=True))
            if hasattr(BaseChatModel, "stream_events")
            else ()
        ),
    )

    def text(self, reply: Any) -> str:
        """What a message, the only message of a batch, a chunk or an event says; the tool calls have come out."""
        if isinstance(reply, dict) and "data" not in reply:  # an event of version 3
            if (block := reply.get("content", {})).get("type") == "tool_call":
                self._came(block["args"])
            return str(reply.get("delta", {}).get("text", ""))
        if isinstance(reply, dict):
            reply = reply["data"]["chunk"] if reply["event"] == "on_chat_model_stream" else AIMessageChunk("")
        (message,) = reply if isinstance(reply, list) else [reply]
        for call in message.tool_calls:
            self._came(call["args"])
        return str(message.text)

    def _came(self, args: dict[str, str]) -> None:
        """The arguments of a tool call are with the caller."""


class Protected(ChatCalled):
    """A protected chat model."""

    name = "LangChain protect(model)"
    stages = ("input", "output", "tool_call")
    gaps: Mapping[str, str] = LEFT
    script: Script

    def _came(self, args: dict[str, str]) -> None:
        self.script.arrive("tool_call", args["text"])

    def build(self, guard: Guard, script: Script) -> Any:
        """The model under its guard."""
        self.script = script
        return protect(Scripted(script=script), guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return protect(subject, guard)


PROTECTED = Protected()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED), ids=str)
async def test_protected_models_conform(scenario: Scenario) -> None:
    """A protected model does what the scenario claims."""
    await scenario.run(PROTECTED)


class ScriptedText(BaseLLM):
    """A provider of a text model with every method of its own, which does what its script says."""

    script: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return LLMResult(generations=[[Generation(text=self.script.reply(prompt))] for prompt in prompts])

    async def _agenerate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return LLMResult(generations=[[Generation(text=await self.script.areply(prompt))] for prompt in prompts])

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        for piece in self.script.stream(prompt):
            yield GenerationChunk(text=piece)

    async def _astream(self, prompt: str, *args: Any, **kwargs: Any) -> AsyncIterator[GenerationChunk]:
        async for piece in self.script.astream(prompt):
            yield GenerationChunk(text=piece)


class ProtectedText(Called):
    """A protected text model."""

    name = "LangChain protect(text model)"

    def build(self, guard: Guard, script: Script) -> Any:
        """The model under its guard."""
        return protect(ScriptedText(script=script), guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return protect(subject, guard)

    def text(self, reply: Any) -> str:
        """The only text of a batch, a chunk, or what an event says."""
        if isinstance(reply, dict):
            return str(reply["data"]["chunk"]) if reply["event"] == "on_llm_stream" else ""
        return str(reply[0] if isinstance(reply, list) else reply)


PROTECTED_TEXT = ProtectedText()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED_TEXT), ids=str)
async def test_protected_text_models_conform(scenario: Scenario) -> None:
    """A protected text model does what the scenario claims."""
    await scenario.run(PROTECTED_TEXT)


class ProtectedChain(Called):
    """A protected chain of a model that is not."""

    name = "LangChain protect(chain)"
    cannot: Mapping[str, str] = {"output-reask*/*": "only a model can be asked again: protect the model"}
    gaps: Mapping[str, str] = {
        "caller-leaves-stream-*/astream_events v2": "LangChain cancels the call, and that is what the span says"
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """A prompt, a model and a parser under the guard."""
        prompt = ChatPromptTemplate.from_messages([("user", "{text}")])
        chain = RunnableLambda(lambda text: {"text": text}) | prompt | Scripted(script=script) | StrOutputParser()
        return protect(chain, guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return protect(subject, guard)

    def text(self, reply: Any) -> str:
        """The only text of a batch, a chunk, or what an event says of the chain itself."""
        if isinstance(reply, dict):
            root = reply["event"] == "on_chain_stream" and not reply["parent_ids"]
            return str(reply["data"]["chunk"]) if root else ""
        return str(reply[0] if isinstance(reply, list) else reply)


PROTECTED_CHAIN = ProtectedChain()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED_CHAIN), ids=str)
async def test_protected_chains_conform(scenario: Scenario) -> None:
    """A protected chain does what the scenario claims."""
    await scenario.run(PROTECTED_CHAIN)


class Parts(Called):
    """What has stages of its own, so that a trial's script is needed when it is called; its streams are of one item."""

    modes = tuple(Mode(mode.name, is_async=mode.is_async) for mode in Called.modes)
    script: Script

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another guard."""
        return protect(subject, guard)

    def given(self, text: str) -> Any:
        """What it is called with."""
        return text

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """As a Runnable; all of a stream."""
        reply = called(subject, mode, self.given(text))
        if isinstance(reply, AsyncIterator):
            return _all(reply)
        return list(reply) if isinstance(reply, Iterator) else reply

    def only(self, reply: Any) -> Any:
        """What a call, the only item of a batch or of a stream, or the last event of those that say it, gives."""
        (reply,) = [
            item["data"]["output"] if isinstance(item, dict) else item
            for item in (reply if isinstance(reply, list) else [reply])
            if not isinstance(item, dict) or item["event"] in ("on_retriever_end", "on_tool_end")
        ]
        return reply


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


class ScriptedRetriever(BaseRetriever):
    """A retriever with every method of its own, which finds what its script says."""

    script: Any

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(self.script.material.get("retrieval") or self.script.reply(query))]

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(self.script.material.get("retrieval") or await self.script.areply(query))]


class ProtectedRetriever(Parts):
    """A protected retriever."""

    name = "LangChain protect(retriever)"
    stages = ("input", "retrieval")

    def build(self, guard: Guard, script: Script) -> Any:
        """The retriever under its guard."""
        self.script = script
        return protect(ScriptedRetriever(script=script), guard)

    def text(self, reply: Any) -> str:
        """The text of the only document, which has come out."""
        reply = self.only(reply)
        (document,) = reply if isinstance(reply, list) else [reply]
        self.script.arrive("retrieval", document.page_content)
        return str(document.page_content)


PROTECTED_RETRIEVER = ProtectedRetriever()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED_RETRIEVER), ids=str)
async def test_protected_retrievers_conform(scenario: Scenario) -> None:
    """A protected retriever does what the scenario claims."""
    await scenario.run(PROTECTED_RETRIEVER)


class ScriptedTool(BaseTool):
    """A tool with every method of its own, which gives what its script says."""

    name: str = "look"
    description: str = "Looks."
    script: Any

    def _run(self, at: str) -> str:
        self.script.arrive("tool_call", at)
        return str(self.script.material.get("tool_result") or self.script.reply(at))

    async def _arun(self, at: str) -> str:
        self.script.arrive("tool_call", at)
        return str(self.script.material.get("tool_result") or await self.script.areply(at))


class ProtectedTool(Parts):
    """A protected tool, called by a model."""

    name = "LangChain protect(tool)"
    stages = ("tool_call", "tool_result")

    def build(self, guard: Guard, script: Script) -> Any:
        """The tool under its guard."""
        self.script = script
        return protect(ScriptedTool(script=script), guard)

    def given(self, text: str) -> Any:
        """The arguments that the script says the model gives."""
        args = {"at": self.script.material.get("tool_call", text)}
        return {"name": "look", "args": args, "id": "1", "type": "tool_call"}

    def text(self, reply: Any) -> str:
        """What the tool's message says, which has come out."""
        message = self.only(reply)
        self.script.arrive("tool_result", message.text)
        return str(message.text)


PROTECTED_TOOL = ProtectedTool()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED_TOOL), ids=str)
async def test_protected_tools_conform(scenario: Scenario) -> None:
    """A protected tool does what the scenario claims."""
    await scenario.run(PROTECTED_TOOL)


_EDITS = ("redact", "mask", "hash", "pseudonymize", "replace")


def _elsewhere(*stages: str) -> dict[str, str]:
    return {f"{stage}-unreached/*": "a callback reaches it elsewhere: models, tools and retrievers" for stage in stages}


class Observed(ChatCalled):
    """A chat model that is called with a GuardCallback."""

    name = "LangChain GuardCallback"
    cannot: Mapping[str, str] = dict.fromkeys(
        (
            *(f"{stage}-{word}/*" for stage in ("input", "output") for word in _EDITS),
            "call-unchanged/*",
            "call-two-guards/*",
            "call-many-at-once/*",
            "monitor-sees-*/*",
            "stream-originals-back/*",
            "span-records-once/*",
            "span-without-content/*",
        ),
        "a callback changes nothing: protect the model",
    ) | dict.fromkeys(
        (
            *(
                f"{claim}/*{how}*"
                for how in ("stream", "transform")
                for claim in (
                    "output-block*",
                    "output-allow*",
                    "output-re*",
                    "output-judged-once",
                    "call-bypassed",
                    "monitor-not-when-blocked",
                    "span-of-blocked-call",
                )
            ),
            "stream-redact*/*",
            "stream-block*/*",
            "stream-stays*/*",
            "model-error-in-stream-redact/*",
            "caller-leaves-stream-redact/*",
        ),
        "a callback cannot hold a stream: protect the model",
    )
    gaps: Mapping[str, str] = {
        "*-refusal/*": "no refusal mode: the violation is raised",
        "output-reask*/*": "a callback cannot ask again, and does not refuse to",
        "caller-cancels-scorer/*": "the event loop waits while a callback judges",
        **LEFT,
        "caller-leaves-stream-log/astream_events v2": "LangChain cancels the call, and that is what the span says",
        "span-nests/*": "a callback cannot make its span the current one",
        **_elsewhere("retrieval", "tool_call", "tool_result"),
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """The model with a callback."""
        return Scripted(script=script, callbacks=[GuardCallback(guard)])

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same with one more."""
        return subject.model_copy(update={"callbacks": [*subject.callbacks, GuardCallback(guard)]})


OBSERVED = Observed()


@pytest.mark.parametrize("scenario", scenarios(OBSERVED), ids=str)
async def test_callbacks_conform(scenario: Scenario) -> None:
    """A GuardCallback does what the scenario claims, or refuses."""
    await scenario.run(OBSERVED)


class ObservedTool(ProtectedTool):
    """A tool that is called with a GuardCallback."""

    name = "LangChain GuardCallback at a tool"
    cannot: Mapping[str, str] = {
        **dict.fromkeys((f"tool_call-{word}/*" for word in _EDITS), "a callback changes nothing: protect the tool"),
        **dict.fromkeys((f"tool_result-{word}/*" for word in _EDITS), "a callback changes nothing: protect the tool"),
    }
    gaps = _elsewhere("input", "output", "retrieval")

    def build(self, guard: Guard, script: Script) -> Any:
        """The tool with a callback."""
        self.script = script
        return ScriptedTool(script=script, callbacks=[GuardCallback(guard)])

    again = Observed.again


OBSERVED_TOOL = ObservedTool()


@pytest.mark.parametrize("scenario", scenarios(OBSERVED_TOOL), ids=str)
async def test_callbacks_at_tools_conform(scenario: Scenario) -> None:
    """A GuardCallback does at a tool what the scenario claims, or refuses."""
    await scenario.run(OBSERVED_TOOL)


class ObservedRetriever(ProtectedRetriever):
    """A retriever that is called with a GuardCallback."""

    name = "LangChain GuardCallback at a retriever"
    stages = ("retrieval",)
    cannot = dict.fromkeys(
        (f"retrieval-{word}/*" for word in _EDITS), "a callback changes nothing: protect the retriever"
    )
    gaps = _elsewhere("input", "output", "tool_call", "tool_result")

    def build(self, guard: Guard, script: Script) -> Any:
        """The retriever with a callback."""
        self.script = script
        return ScriptedRetriever(script=script).with_config(callbacks=[GuardCallback(guard)])

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same with one more."""
        return subject.with_config(callbacks=[*subject.config["callbacks"], GuardCallback(guard)])


OBSERVED_RETRIEVER = ObservedRetriever()


@pytest.mark.parametrize("scenario", scenarios(OBSERVED_RETRIEVER), ids=str)
async def test_callbacks_at_retrievers_conform(scenario: Scenario) -> None:
    """A GuardCallback does at a retriever what the scenario claims, or refuses."""
    await scenario.run(OBSERVED_RETRIEVER)


README = Path(__file__).parents[1] / "README.md"
COMMAND = "uv run pytest --no-cov -k readme integrations"
TABLES = {
    "protect(model)": PROTECTED,
    "protect(text model)": PROTECTED_TEXT,
    "protect(chain)": PROTECTED_CHAIN,
    "protect(retriever)": PROTECTED_RETRIEVER,
    "protect(tool)": PROTECTED_TOOL,
    "GuardCallback": OBSERVED,
    "GuardCallback at a tool": OBSERVED_TOOL,
    "GuardCallback at a retriever": OBSERVED_RETRIEVER,
}


@pytest.mark.parametrize("name", TABLES)
async def test_the_readme_has_the_table_of_what_is_enforced(name: str) -> None:
    """What the README says of each call mode, stage and action is what was tried just now."""
    check_matrix(README, name, await matrix(TABLES[name]), COMMAND)
