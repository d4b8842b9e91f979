"""Scorers that come with the library: local, fast, without a network."""

from ._load import load
from .canary import canary
from .code_injection import code_injection
from .deny_list import deny_list
from .invisible_text import invisible_text
from .language import language
from .length import length
from .pii import pii
from .prompt_injection import prompt_injection
from .regex import regex
from .secrets import secrets
from .topics import topics
from .url_allow_list import url_allow_list
from .valid_json import valid_json

__all__ = [
    "canary",
    "code_injection",
    "deny_list",
    "invisible_text",
    "language",
    "length",
    "load",
    "pii",
    "prompt_injection",
    "regex",
    "secrets",
    "topics",
    "url_allow_list",
    "valid_json",
]
