"""Scorers that come with the library: local, fast, without a network; and `judge`, which asks a model."""

from . import judges
from ._load import load
from .deny_list import deny_list
from .invisible_text import invisible_text
from .judge import judge
from .length import length
from .pii import pii
from .prompt_injection import prompt_injection
from .secrets import secrets
from .valid_json import valid_json

__all__ = [
    "deny_list",
    "invisible_text",
    "judge",
    "judges",
    "length",
    "load",
    "pii",
    "prompt_injection",
    "secrets",
    "valid_json",
]
