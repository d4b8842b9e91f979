"""Scorers that come with the library: local and fast, but for those that ask a vendor's service or a model."""

from . import judges
from ._load import load
from .azure_content_safety import azure_content_safety
from .azure_prompt_shield import azure_prompt_shield
from .bedrock_guardrail import bedrock_guardrail
from .canary import canary
from .code_injection import code_injection
from .deny_list import deny_list
from .embedding_similarity import embedding_similarity
from .exact_match import exact_match
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
from .json_schema import json_schema
from .judge import judge
from .language import language
from .length import length
from .levenshtein import levenshtein
from .names import names
from .openai_moderation import openai_moderation
from .pii import pii
from .prompt_injection import prompt_injection
from .provider_block import provider_block
from .pydantic_model import pydantic_model
from .regex import regex
from .secrets import secrets
from .topics import topics
from .url_allow_list import url_allow_list
from .valid_json import valid_json
from .valid_xml import valid_xml

__all__ = [
    "azure_content_safety",
    "azure_prompt_shield",
    "bedrock_guardrail",
    "canary",
    "code_injection",
    "deny_list",
    "embedding_similarity",
    "evaluator",
    "exact_match",
    "from_deepeval",
    "from_llm_guard",
    "from_phoenix",
    "from_presidio",
    "from_ragas",
    "from_transformers",
    "invisible_text",
    "json_schema",
    "judge",
    "judges",
    "language",
    "length",
    "levenshtein",
    "load",
    "names",
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
]
