"""The calls of models, known by what they are told with: the same question makes the same `Call`, as it mostly is."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from llmguard_middleware import Call

from ._convert import model_call

__all__ = ["KnownCalls"]

_TOLD = ("model", "model_name", "temperature", "top_p", "max_tokens", "stop", "api_base", "base_url", "azure_endpoint")
_MOST = 1000  # models and their options that are known by heart


class KnownCalls:
    """Remembers the last call of each model: the emitter makes the attributes of the same `Call` once."""

    def __init__(self) -> None:
        self._calls: dict[tuple[int, bool], tuple[Any, list[Any], dict[str, Any], Call]] = {}

    def call(self, llm: Any, given: Mapping[str, Any], *, streamed: bool) -> Call:
        """`model_call` of this model with these options."""
        of = llm.__dict__
        told = [of.get(name) for name in _TOLD]
        if extra := of.get("additional_kwargs"):
            told.append(dict(extra))
        key = id(llm), streamed
        found = self._calls.get(key)
        try:
            if found is not None and found[0]() is llm and found[1] == told and found[2] == given:
                return found[3]
        except Exception:  # noqa: BLE001, S110 - what an application sets may refuse to be compared
            pass
        call = model_call(llm, given, streamed=streamed)
        if call.model and call.model not in told[:2]:  # what its metadata say may change unseen
            return call
        if len(self._calls) >= _MOST:
            self._calls.clear()
        self._calls[key] = weakref.ref(llm), told, dict(given), call
        return call
