"""What was asked of a model, a chain or an engine, and what came back: frozen values that scorers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from .errors import ConfigurationError, nearest

__all__ = ["STAGES", "Call", "Message", "Stage", "Usage", "expect_stage"]

Stage = Literal["input", "output", "retrieval", "tool_call", "tool_result", "embedding"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation: `role` is system, user, assistant or tool; `text` its text parts, joined."""

    role: str
    text: str = field(repr=False)  # or a log line that shows a message would show what a user said


class Usage(NamedTuple):
    """Tokens as the provider counted them; None where it did not say.

    `input_tokens` include those that were read from the provider's cache and those that were written to it,
    `output_tokens` those of reasoning. Usages add up; what only one of them knows is kept.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: Any) -> Usage:
        return Usage(
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            _sum(self.cache_read_tokens, other.cache_read_tokens),
            _sum(self.cache_write_tokens, other.cache_write_tokens),
            _sum(self.reasoning_tokens, other.reasoning_tokens),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


@dataclass(frozen=True)
class Call:
    """One call: what was asked and, once `answered`, what came back.

    `operation` is a value of `gen_ai.operation.name` (chat, invoke_workflow, retrieval, ...). `inputs` are the
    caller's values by name. `conversation` tells which calls belong together (a thread or session id).
    `finish_reasons` are the provider's words for why it stopped; `block_reason` is its word for why there is no answer,
    where it says so elsewhere (a refusal beside the text, a prompt that was turned down).
    `started` and `ended` are nanoseconds since the epoch; `trace_id` and `span_id` are
    the OpenTelemetry integers, 0 where nothing is traced. `attributes` are on its span from the start, and rules may
    be chosen by them; `answer_attributes` are what else its answer tells (the ids of documents, say).
    """

    operation: str
    name: str = ""
    provider: str = ""
    model: str = ""
    server_address: str = ""
    server_port: int | None = None
    messages: tuple[Message, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    context: tuple[str, ...] = field(default=(), repr=False)
    conversation: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    streamed: bool = False
    answered: bool = False
    output: Any = field(default=None, repr=False)
    usage: Usage | None = None
    response_id: str = ""
    response_model: str = ""
    finish_reasons: tuple[str, ...] = ()
    block_reason: str = ""
    started: int = 0
    ended: int = 0
    trace_id: int = 0
    span_id: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    answer_attributes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def made(cls, operation: str, **given: Any) -> Call:
        """A call with these fields, made at a fifth of the cost: those that are not given stay with the class."""
        call = object.__new__(cls)
        call.__dict__.update(given, operation=operation)
        return call

    def but(self, **changes: Any) -> Call:
        """A copy with some fields changed: `dataclasses.replace` at a tenth of its cost, since every call does this."""
        copy = object.__new__(Call)
        copy.__dict__.update(self.__dict__, **changes)
        return copy

    def available(self) -> dict[str, Any]:
        """Everything a scorer may ask for, by name.

        A model call gives its last user text as `prompt`, `question` and `input`, and its `system` text. The
        caller's own `inputs` win over these. `output` is there once the call is answered.
        """
        names: dict[str, Any] = {}
        if self.messages:
            asked = next((m.text for m in reversed(self.messages) if m.role == "user"), None)
            if asked is not None:
                names["prompt"] = names["question"] = names["input"] = asked
            system = [m.text for m in self.messages if m.role == "system"]
            if system:
                names["system"] = "\n".join(system)
        names.update(self.inputs)
        names.update(inputs=self.inputs, messages=self.messages, context=self.context, call=self)
        if self.answered:
            names["output"] = self.output
        return names


# A dataclass keeps on the class the defaults that it does not make anew for each object. `Call.made` relies on it.
for _field in ("inputs", "settings", "attributes", "answer_attributes"):
    setattr(Call, _field, MappingProxyType({}))


def expect_stage(stage: Stage) -> Stage:
    """The stage, if it is one.

    Raises:
        ConfigurationError: naming the nearest.
    """
    if stage not in STAGES:
        msg = f'unknown stage "{stage}": {nearest(str(stage), STAGES)}'
        raise ConfigurationError(msg)
    return stage
