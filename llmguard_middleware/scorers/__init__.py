"""Scorers that come with the library: local, fast, without a network."""

from .pii import pii
from .prompt_injection import prompt_injection
from .secrets import secrets

__all__ = ["pii", "prompt_injection", "secrets"]
