"""Scorers that come with the library: local, fast, without a network."""

from ._load import load
from .deny_list import deny_list
from .embedding_similarity import embedding_similarity
from .exact_match import exact_match
from .invisible_text import invisible_text
from .json_schema import json_schema
from .length import length
from .levenshtein import levenshtein
from .pii import pii
from .prompt_injection import prompt_injection
from .provider_block import provider_block
from .pydantic_model import pydantic_model
from .secrets import secrets
from .valid_json import valid_json
from .valid_xml import valid_xml

__all__ = [
    "deny_list",
    "embedding_similarity",
    "exact_match",
    "invisible_text",
    "json_schema",
    "length",
    "levenshtein",
    "load",
    "pii",
    "prompt_injection",
    "provider_block",
    "pydantic_model",
    "secrets",
    "valid_json",
    "valid_xml",
]
