"""Scorers that come with the library: local, fast, without a network."""

from ._load import load
from .pii import pii
from .prompt_injection import prompt_injection
from .secrets import secrets

__all__ = ["load", "pii", "prompt_injection", "secrets"]
