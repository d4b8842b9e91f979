"""What telemetry says of calls, verdicts, scores and errors: pure functions to attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .._call import Call
from .._leaves import texts_in
from .._score import Score
from .._verdict import Verdict, worst
from ..errors import GuardrailViolation
from . import _names as names

__all__ = [
    "error_type",
    "request_attributes",
    "response_attributes",
    "score_attributes",
    "texts_of",
    "verdict_attributes",
]

_NAME_KEYS = {"invoke_agent": names.AGENT, "invoke_workflow": names.WORKFLOW, "execute_tool": names.TOOL}
_SETTINGS = {
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "top_k": names.REQUEST_TOP_K,
    "seed": names.REQUEST_SEED,
    "frequency_penalty": names.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.REQUEST_PRESENCE_PENALTY,
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "stop": names.REQUEST_STOP,
    "choices": names.REQUEST_CHOICES,
}
_ANSWER = (
    ("response_id", names.RESPONSE_ID),
    ("response_model", names.RESPONSE_MODEL),
    ("finish_reasons", names.RESPONSE_FINISH),
)
# In the order of `Usage`.
_USAGE = (
    names.INPUT_TOKENS,
    names.OUTPUT_TOKENS,
    names.CACHE_READ_TOKENS,
    names.CACHE_WRITE_TOKENS,
    names.REASONING_TOKENS,
)
# A label is the name of a class. What looks like a sentence, an address or a number may be content, and stays here; so
# does all that the scored text holds, except plain words, which are how classes are called and say little.
_LABEL = re.compile(r"(?!.*\d{5})[^\W\d][\w.,:/-]{0,99}\Z")
_PLAIN = re.compile(r"(?=.{1,100}\Z)(?:[a-z]+(?:[_,-][a-z]+)*|[A-Z]+(?:[_,][A-Z]+)*)\Z")


def request_attributes(call: Call, guard: str, digest: str) -> dict[str, Any]:
    """What a call asks, as its span tells it from the start, and under which rules of which guard."""
    attributes: dict[str, Any] = {names.OPERATION: call.operation, names.GUARD: guard, names.DIGEST: digest}
    if call.provider:
        attributes[names.PROVIDER] = call.provider
    if call.model:
        attributes[names.REQUEST_MODEL] = call.model
    if call.name and call.operation in _NAME_KEYS:
        attributes[_NAME_KEYS[call.operation]] = call.name
    if call.conversation:
        attributes[names.CONVERSATION] = call.conversation
    if call.server_address:
        attributes[names.SERVER_ADDRESS] = call.server_address
        if call.server_port:
            attributes[names.SERVER_PORT] = call.server_port
    for setting, value in call.settings.items():
        if value is not None and setting in _SETTINGS:
            attributes[_SETTINGS[setting]] = value
    attributes.update(call.attributes)
    return attributes


def response_attributes(answer: Mapping[str, Any]) -> dict[str, Any]:
    """How a call was answered, by the fields of `Call`."""
    attributes: dict[str, Any] = {}
    if answer.get("streamed"):
        attributes[names.REQUEST_STREAM] = True
    for field, name in _ANSWER:
        if value := answer.get(field):
            attributes[name] = value
    if (usage := answer.get("usage")) is not None:
        attributes.update({name: told for name, told in zip(_USAGE, usage, strict=True) if told is not None})
    if more := answer.get("answer_attributes"):
        attributes.update(more)
    return attributes


def verdict_attributes(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What the guardrails found, as the span of the call tells it."""
    attributes: dict[str, Any] = {names.VERDICT: worst([verdict.outcome for verdict in verdicts])}
    flagged = sorted({f.rule for v in verdicts for f in v.findings if f.outcome not in ("passed", "skipped")})
    if flagged:
        attributes[names.FLAGGED_BY] = flagged
    redactions = sum(len(verdict.edits) for verdict in verdicts)
    if redactions:
        attributes[names.REDACTIONS] = redactions
    return attributes


def score_attributes(
    name: str, score: Score | None, error: BaseException | None, scored: Callable[[], Iterable[str]]
) -> dict[str, Any]:
    """One evaluation result; `scored` gives the texts that its label must not quote."""
    attributes: dict[str, Any] = {names.EVALUATION_NAME: name}
    if score is not None and score.value is not None:
        attributes[names.EVALUATION_VALUE] = score.value
    if score is not None and _names_a_class(score.label, scored):
        attributes[names.EVALUATION_LABEL] = score.label
    elif error is not None or (score is not None and score.unscored):
        attributes[names.EVALUATION_LABEL] = "unscored"
    if error is not None:
        attributes[names.ERROR_TYPE] = error_type(error)
    return attributes


def _names_a_class(label: str, scored: Callable[[], Iterable[str]]) -> bool:
    if _PLAIN.match(label):
        return True
    if not _LABEL.match(label):
        return False
    try:
        return not any(label.casefold() in text.casefold() for text in scored())
    except Exception:  # noqa: BLE001 - what a call holds is foreign; then nobody can tell
        return False


def texts_of(call: Call) -> list[str]:
    """All that a call holds of its users' and its model's texts."""
    return [*texts_in((call.output, call.inputs, call.context)), *(message.text for message in call.messages)]


def error_type(error: BaseException | None) -> str:
    """What `error.type` says of an exception: a violation's code, or the name of its class."""
    if isinstance(error, GuardrailViolation):
        return error.code
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
