"""Conversions are pure: what goes in decides what comes out, and nothing given is changed."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration

from llmguard_langchain import _convert as convert
from llmguard_middleware import Message, Usage


def test_roles_have_the_conventions_names():
    """human, ai and tool become user, assistant and tool."""
    messages = [HumanMessage("a"), AIMessage("b"), ToolMessage("c", tool_call_id="1")]
    assert convert.read(messages) == [Message("user", "a"), Message("assistant", "b"), Message("tool", "c")]


@pytest.mark.parametrize(
    ("provider", "name"),
    [("openai", "openai"), ("azure", "azure.ai.openai"), ("google_genai", "gcp.gemini"), ("mistralai", "mistral_ai")],
)
def test_providers_have_the_conventions_names(provider, name):
    """LangChain's provider names are told as the GenAI conventions spell them."""
    assert convert.model_call("chat", {"ls_provider": provider}, {}).provider == name


def test_the_server_is_taken_from_the_base_url():
    """Address and port come from the model's URL, with the scheme's port where it names none."""
    call = convert.model_call("chat", {}, {"openai_api_base": "https://api.example.com/v1"})
    assert (call.server_address, call.server_port) == ("api.example.com", 443)


def test_langchains_stand_in_ids_are_no_response_ids():
    """Only a provider's own id is told as the response's id."""
    result = convert.answer([])
    assert result == {"output": ""}
    message = AIMessage("a", id="lc_run--1", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3})
    told = convert.answer([ChatGeneration(message=message)])
    assert (told["response_id"], told["usage"]) == ("", Usage(1, 2))


def test_a_bare_text_has_the_names_that_scorers_ask_for():
    """A chain's text input is input, question and prompt; a dict keeps its names."""
    assert convert.inputs("Hi") == {"input": "Hi", "question": "Hi", "prompt": "Hi"}
    assert convert.inputs({"topic": HumanMessage("Hi")}) == {"topic": "Hi"}
