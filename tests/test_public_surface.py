"""The table of contents: what is public, and what an import costs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import FunctionType, ModuleType
from typing import Any

import pytest

PUBLIC = [
    "llmguard_middleware",
    "llmguard_middleware.scorers",
    "llmguard_middleware.telemetry",
    "llmguard_middleware.testing",
    "llmguard_middleware.testing.conformance",
]
DEFINING = ["llmguard_middleware.errors"]
# Functions that shadow the modules that they are in.
FACTORIES = {
    "azure_content_safety",
    "azure_prompt_shield",
    "bedrock_guardrail",
    "canary",
    "code_injection",
    "deny_list",
    "embedding_similarity",
    "exact_match",
    "invisible_text",
    "json_schema",
    "judge",
    "judges",
    "language",
    "length",
    "levenshtein",
    "openai_moderation",
    "pii",
    "prompt_injection",
    "provider_block",
    "pydantic_model",
    "regex",
    "secrets",
    "topics",
    "url_allow_list",
    "valid_json",
    "valid_xml",
}


def visible(module: ModuleType) -> list[str]:
    """Names without an underscore that are no modules."""
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_visible_is_public(name: str) -> None:
    """A package's __all__ is all that one can see in it."""
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted({*visible(module), *(FACTORIES & set(module.__all__))})


@pytest.mark.parametrize("name", DEFINING)
def test_what_a_module_defines_is_public(name: str) -> None:
    """A public module's __all__ is all that it defines without an underscore, its one helper for sentences apart."""
    module = importlib.import_module(name)
    defined = [n for n in visible(module) if getattr(vars(module)[n], "__module__", None) == name]
    assert sorted(module.__all__) == [n for n in defined if n != "nearest"]


@pytest.mark.parametrize("name", [*PUBLIC, *DEFINING])
def test_everything_public_is_there_and_says_what_it_is(name: str) -> None:
    """Each public name exists; each public class and function has a docstring."""
    module = importlib.import_module(name)
    things: dict[str, Any] = {public: getattr(module, public) for public in module.__all__}
    assert [n for n, thing in things.items() if isinstance(thing, (type, FunctionType)) and not thing.__doc__] == []
    assert sorted(module.__all__) == sorted(set(module.__all__))


HEAVY = (
    "azure.core",
    "boto3",
    "jsonschema_rs",
    "langchain_core",
    "llama_index",
    "numpy",
    "openai",
    "opentelemetry.exporter",
    "opentelemetry.sdk",
    "presidio_analyzer",
    "presidio_anonymizer",
    "py3langid",
    "pydantic",
    "pyexpat",
    "rapidfuzz",
    "re2",
    "spacy",
    "yaml",
)


@pytest.mark.parametrize("module", [*PUBLIC, *DEFINING])
def test_an_import_loads_nothing_heavy(module: str) -> None:
    """Importing any public module loads no framework, no SDK and none of what only some guards need."""
    program = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("\n", "")


def test_an_import_starts_nothing() -> None:
    """Importing starts no thread, opens no socket and sets no global provider."""
    program = """
import sys, threading
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.exit(event))
import llmguard_middleware, llmguard_middleware.scorers, llmguard_middleware.telemetry, llmguard_middleware.testing
from opentelemetry import trace
print(threading.active_count(), type(trace.get_tracer_provider()).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("1 ProxyTracerProvider\n", "")
