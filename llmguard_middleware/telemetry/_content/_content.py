"""Content: what one call was given and gave, as its adapter tells it, or as far as the call itself knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..._call import Call
from .. import _names as names
from ._fit import dumped
from ._parts import message, output, text
from ._plain import plain

__all__ = ["Content"]


class Content:
    """What an adapter tells of a call besides what the `Call` holds, after the guardrails.

    Attributes:
        messages: what goes to the model, as `_parts.message` makes it; system messages too, which are told apart.
        answers: what came back, as `_parts.output` makes it.
        definitions: of the tools that the model may ask for.
    """

    __slots__ = ("answers", "definitions", "messages")

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] | None = None
        self.answers: list[dict[str, Any]] | None = None
        self.definitions: list[dict[str, Any]] | None = None

    def asked(self, call: Call) -> dict[str, Any]:
        """By attribute, what the call was given."""
        if call.operation == "execute_tool":
            return {names.TOOL_ARGUMENTS: dict(call.inputs)}
        if call.operation == "retrieval":
            query = call.messages[-1].text if call.messages else call.inputs.get("query")
            return {names.RETRIEVAL_QUERY: query} if isinstance(query, str) else {}
        if call.operation not in _SAYING:
            return {}
        told: dict[str, Any] = {}
        found = self.messages
        if found is None:
            found = [message(one.role, [text(one.text)]) for one in call.messages]
            if not found and call.inputs:
                found = [message("user", [text(_said(_asked(call.inputs)))])]
        system = [part for one in found if one["role"] == "system" for part in one["parts"]]
        if system and call.operation != "invoke_workflow":
            told[names.SYSTEM_INSTRUCTIONS] = system
            found = [one for one in found if one["role"] != "system"]
        if found:
            told[names.INPUT_MESSAGES] = found
        if self.definitions and call.operation != "invoke_workflow":
            told[names.TOOL_DEFINITIONS] = self.definitions
        return told

    def gave(self, call: Call) -> dict[str, Any]:
        """By attribute, what came of it."""
        if call.operation == "execute_tool":
            given = call.output
            return {} if given is None else {names.TOOL_RESULT: given if _is_object(given) else {"result": given}}
        if call.operation == "retrieval":
            return _documents(call)
        if call.operation not in _SAYING:
            return {}
        if self.answers is not None:
            return {names.OUTPUT_MESSAGES: self.answers} if self.answers else {}
        if call.output is None:
            return {}
        reason = call.finish_reasons[0] if call.finish_reasons else ""
        return {names.OUTPUT_MESSAGES: [output([text(_said(call.output))], reason)]}


_SAYING = frozenset(("chat", "text_completion", "generate_content", "invoke_agent", "invoke_workflow"))
_ALIASES = frozenset(("prompt", "question", "input", "query"))


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _asked(inputs: Mapping[str, Any]) -> Any:
    """What was asked, once if it is there under several names."""
    values = list(inputs.values())
    if inputs.keys() <= _ALIASES and all(value == values[0] for value in values):
        return values[0]
    return inputs


def _said(value: Any) -> str:
    """A value as the text of a message."""
    return value if isinstance(value, str) else dumped(plain(value))


def _documents(call: Call) -> dict[str, Any]:
    texts = call.output
    if not isinstance(texts, (list, tuple)):
        return {}
    named: Any = call.answer_attributes.get(names.RETRIEVAL_DOCUMENTS)
    known = json.loads(named) if isinstance(named, str) else []
    known += [{}] * (len(texts) - len(known))
    return {names.RETRIEVAL_DOCUMENTS: [{**one, "content": text} for one, text in zip(known, texts, strict=False)]}
