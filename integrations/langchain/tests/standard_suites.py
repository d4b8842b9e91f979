"""LangChain's own standard suites, on fakes and on their protected copies.

test_standard.py runs them in a process of its own, with the plugins that they ask for: snapshots, recorded calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests, ToolsUnitTests

from llmguard_langchain import protect
from llmguard_middleware import Guard, Guardrail, Monitor
from llmguard_middleware.scorers import pii, prompt_injection, secrets
from llmguard_middleware.testing import Flags

USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
METADATA = {"model_name": "capable-1", "finish_reason": "stop"}
GUARD = Guard(
    Guardrail(prompt_injection(), stage="input"),
    Guardrail(pii(), stage="input", action="redact", name="in"),
    Guardrail(secrets(), stage="output", action="redact", name="out"),
    Monitor(Flags(when="never")),
)
TOOL_GUARD = Guard(
    Guardrail(pii(), stage="tool_call", action="redact", name="call"),
    Guardrail(secrets(), stage="tool_result", action="redact", name="result"),
)
RETRIEVER_GUARD = Guard(
    Guardrail(prompt_injection(), stage="input"),
    Guardrail(pii(), stage="retrieval", action="redact"),
)


class Capable(BaseChatModel):
    """Answers a word; calls the tool it is given once, with arguments that fit."""

    model_name: str = "capable-1"
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    stop: list[str] | None = None
    max_retries: int = 0
    api_key: str | None = None

    @property
    def _llm_type(self) -> str:
        return "capable"

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        """As providers do."""
        return super().bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=tool_choice, **kwargs)

    def _message(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        tools = kwargs.get("tools") or ()
        metadata = {**METADATA, "model_name": kwargs.get("model", self.model_name)}
        if not tools or any(isinstance(message, ToolMessage) for message in messages):
            return AIMessage("Hello there.", usage_metadata=USAGE, response_metadata=metadata)
        function = tools[0]["function"]
        said = " ".join(str(message.text) for message in messages)
        args = {name: _value(name, kind, said) for name, kind in function["parameters"].get("properties", {}).items()}
        call = {"name": function["name"], "args": args, "id": "call-1", "type": "tool_call"}
        return AIMessage("", tool_calls=[call], usage_metadata=USAGE, response_metadata=metadata)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._message(messages, kwargs))])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        message = self._message(messages, kwargs)
        for piece in re.findall(r"\S+\s*", str(message.text)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        for call in message.tool_calls:
            args, name = json.dumps(call["args"]), call["name"]
            for number, part in enumerate((args[:5], args[5:])):
                chunk = {"name": None if number else name, "args": part, "id": None if number else "call-1", "index": 0}
                yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))
        last = AIMessageChunk(content="", usage_metadata=USAGE, response_metadata=message.response_metadata)
        yield ChatGenerationChunk(message=last)


def _value(name: str, kind: dict[str, Any], said: str) -> Any:
    if "enum" in kind:
        return kind["enum"][0]
    word = kind.get("type") or next(one["type"] for one in kind.get("anyOf", [{"type": "string"}]))
    if word == "string":
        foreign = re.search(r"[\u4e00-\u9fff]+", said)
        return foreign.group() if foreign and "name" in name else "one"
    return {"integer": 3, "number": 3.0, "boolean": True, "array": [], "object": {}}.get(word)


class Finds(BaseRetriever):
    """Finds as many documents as it is asked for."""

    k: int = 3

    def _get_relevant_documents(self, query: str, *, run_manager: Any, **kwargs: Any) -> list[Document]:
        return [Document(f"{query} {number}") for number in range(kwargs.get("k", self.k))]


class Multiplies(BaseTool):
    """Multiplies."""

    name: str = "multiply"
    description: str = "Multiplies two numbers."

    def _run(self, a: int, b: int) -> int:
        return a * b


class _Chat:
    chat_model_class: Any = Capable
    chat_model_params: Any = {"model_name": "capable-1", "temperature": 0}  # noqa: RUF012 - as the suite asks
    model_override_value = "capable-2"


class _ProtectedChat(_Chat):
    chat_model_class: Any = type(protect(Capable(), GUARD))


class TestUnitBare(_Chat, ChatModelUnitTests):
    """The model."""


class TestUnitProtected(_ProtectedChat, ChatModelUnitTests):
    """Its copy."""


class TestIntegrationBare(_Chat, ChatModelIntegrationTests):
    """The model."""


class TestIntegrationProtected(_ProtectedChat, ChatModelIntegrationTests):
    """Its copy."""


class _Retriever:
    retriever_constructor: Any = Finds
    retriever_query_example = "example"


class _ProtectedRetriever(_Retriever):
    retriever_constructor: Any = type(protect(Finds(), RETRIEVER_GUARD))


class TestRetrieverBare(_Retriever, RetrieversIntegrationTests):
    """The retriever."""


class TestRetrieverProtected(_ProtectedRetriever, RetrieversIntegrationTests):
    """Its copy."""


class _Tool:
    tool_constructor: Any = Multiplies
    tool_invoke_params_example: Any = {"a": 2, "b": 3}  # noqa: RUF012 - as the suite asks


class _ProtectedTool(_Tool):
    tool_constructor: Any = type(protect(Multiplies(), TOOL_GUARD))


class TestToolUnitBare(_Tool, ToolsUnitTests):
    """The tool."""


class TestToolUnitProtected(_ProtectedTool, ToolsUnitTests):
    """Its copy."""


class TestToolIntegrationBare(_Tool, ToolsIntegrationTests):
    """The tool."""


class TestToolIntegrationProtected(_ProtectedTool, ToolsIntegrationTests):
    """Its copy."""
