"""Scorers that come with the library: local, fast, without a network."""

from ._load import load
from .deny_list import deny_list
from .foreign import (
    evaluator,
    from_deepeval,
    from_llm_guard,
    from_phoenix,
    from_presidio,
    from_ragas,
    from_transformers,
)
from .invisible_text import invisible_text
from .length import length
from .names import names
from .pii import pii
from .prompt_injection import prompt_injection
from .secrets import secrets
from .valid_json import valid_json

__all__ = [
    "deny_list",
    "evaluator",
    "from_deepeval",
    "from_llm_guard",
    "from_phoenix",
    "from_presidio",
    "from_ragas",
    "from_transformers",
    "invisible_text",
    "length",
    "load",
    "names",
    "pii",
    "prompt_injection",
    "secrets",
    "valid_json",
]
