"""What a chat engine's memory may keep: refused when attached where a guard could not keep its promise."""

from __future__ import annotations

from typing import Any

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware._policy import Policy

from .._memory_llms import llms_of
from .._seal import guards_of

__all__ = ["check_memory"]


def check_memory(engine: Any, guard: Guard, state: str) -> None:
    """Refuse what cannot be kept as `state` says.

    Raises:
        ConfigurationError: for pseudonyms that would be stored, and for a memory that nobody can see.
        UnenforceableError: for a memory whose own LLM would be told what an input guardrail acts on.
    """
    memory = vars(engine).get("_memory")
    if state == "raw" and memory is None:
        msg = f'{type(engine).__name__} shows no memory, so state="raw" cannot be kept: leave it out'
        raise ConfigurationError(msg)

    def check(policy: Policy) -> None:
        stored = [rule.name for rule in policy.at("input") if rule.remedy.name == "pseudonymize"]
        if state == "redacted" and stored and memory is not None:
            msg = (
                f'rule "{stored[0]}" gives placeholders that only one call can put back, and state="redacted" would '
                'store them: use attach(engine, guard, state="raw"), or action="redact"'
            )
            raise ConfigurationError(msg)
        if state == "raw" and any(guard not in guards_of(llm) for llm in llms_of(memory)):
            where = f'attach(state="raw"), with a {type(memory).__name__} that has an LLM of its own,'
            guard.refuse(policy.at("input"), where, "build the memory with llm=protect(llm, guard)")

    guard.require(f"attach(state={state!r})", check)
