"""What telemetry says of calls, verdicts, scores and errors: pure functions to attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from .._call import Call
from .._leaves import texts_in
from .._packed import rows
from .._score import Score
from .._verdict import Verdict, worst
from ..errors import GuardrailViolation
from . import _names as names

__all__ = [
    "ASKS_PROVIDER",
    "INFERENCE",
    "TOOL_TYPE",
    "error_type",
    "request_attributes",
    "response_attributes",
    "score_attributes",
    "texts_of",
    "title",
    "verdict_attributes",
]

_MOST = 40  # attributes that are not the conventions' own: of the call, and again of its answer
_NAME_KEYS = {"invoke_agent": names.AGENT, "invoke_workflow": names.WORKFLOW, "execute_tool": names.TOOL}
# What frameworks give as another kind of number or of sequence is told as the conventions want it.
_SETTINGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "temperature": (names.REQUEST_TEMPERATURE, float),
    "top_p": (names.REQUEST_TOP_P, float),
    "top_k": (names.REQUEST_TOP_K, int),
    "seed": (names.REQUEST_SEED, int),
    "frequency_penalty": (names.REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (names.REQUEST_PRESENCE_PENALTY, float),
    "max_tokens": (names.REQUEST_MAX_TOKENS, int),
    "stop": (names.REQUEST_STOP, lambda stop: (stop,) if isinstance(stop, str) else tuple(stop)),
    "choices": (names.REQUEST_CHOICES, int),
    "output_type": (names.OUTPUT_TYPE, str),
}
TOOL_TYPE = "function"  # what runs in the application, where a provider runs its own "extension"s
INFERENCE = frozenset(("chat", "text_completion", "generate_content"))
ASKS_PROVIDER = INFERENCE | {"embeddings"}
# What runs in this process has no provider and no server of its own, and a workflow or a tool no model.
_LOCAL = frozenset(("invoke_workflow", "invoke_agent", "execute_tool"))
_NO_MODEL = _LOCAL - {"invoke_agent"}
_UNKNOWN = "unknown"  # the conventions want a name, and let it be any where they know none
# In the order of `Usage`.
_USAGE = (
    names.INPUT_TOKENS,
    names.OUTPUT_TOKENS,
    names.CACHE_READ_TOKENS,
    names.CACHE_WRITE_TOKENS,
    names.REASONING_TOKENS,
)
_NO_MORE = [None, None, None]
# How many of these belong on a span that is no inference.
_COUNTS_TOKENS = {"invoke_agent": 2, "embeddings": 1}
# A label is the name of a class. What looks like a sentence, an address or a number may be content, and stays here; so
# does all that the scored text holds, except plain words that are not long, which are how classes are called.
_LABEL = re.compile(r"(?!.*\d{5})[^\W\d][\w.,:/-]{0,99}\Z")
_WORDS = re.compile(r"[^\W_]+")
_LONG_WORD, _SHORT_WORD = 16, 3
_PLAIN = re.compile(r"(?=.{1,100}\Z)(?:[a-z]+(?:[_,-][a-z]+)*|[A-Z]+(?:[_,][A-Z]+)*)\Z")
_MOST_KINDS = 20  # a scorer of somebody's own may invent one for each span


def request_attributes(call: Call, guard: str, digest: str) -> dict[str, Any]:
    """What a call asks, as its span tells it from the start, and under which rules of which guard."""
    attributes: dict[str, Any] = {names.OPERATION: call.operation, names.GUARD: guard, names.DIGEST: digest}
    if call.operation not in _LOCAL:
        if provider := call.provider or (_UNKNOWN if call.operation in ASKS_PROVIDER else ""):
            attributes[names.PROVIDER] = provider
        if call.server_address:
            attributes[names.SERVER_ADDRESS] = call.server_address
            if call.server_port:
                attributes[names.SERVER_PORT] = call.server_port
    if call.streamed and call.operation in INFERENCE:
        attributes[names.REQUEST_STREAM] = True
    if call.model and call.operation not in _NO_MODEL:
        attributes[names.REQUEST_MODEL] = _whole(call.model)
    if call.operation == "execute_tool":
        attributes[names.TOOL_TYPE] = TOOL_TYPE
    if call.name and call.operation in _NAME_KEYS:
        attributes[_NAME_KEYS[call.operation]] = _whole(call.name)
    if call.conversation:
        attributes[names.CONVERSATION] = _whole(call.conversation)
    attributes.update(_set(call.settings))
    _add(attributes, call.attributes)
    return attributes


def _set(settings: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for setting, value in settings.items():
        if value is not None and setting in _SETTINGS:
            name, of = _SETTINGS[setting]
            if type(value) is not of:
                with suppress(TypeError, ValueError, OverflowError):  # what is no number is not told
                    told[name] = of(value)
            else:
                told[name] = value
    return told


def response_attributes(operation: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """How a call of this operation was answered, by the fields of `Call`."""
    attributes: dict[str, Any] = {}
    if operation in INFERENCE:
        _inferred(attributes, answer)
    elif operation in _COUNTS_TOKENS and (usage := answer.get("usage")) is not None:
        count = _COUNTS_TOKENS[operation]
        counted = zip(_USAGE[:count], usage[:count], strict=True)
        attributes |= {name: tokens for name, tokens in counted if tokens is not None}
    if more := answer.get("answer_attributes"):
        _add(attributes, more)
    return attributes


def _inferred(attributes: dict[str, Any], answer: Mapping[str, Any]) -> None:
    """Written out, since every call of a model does this."""
    if answer.get("streamed"):
        attributes[names.REQUEST_STREAM] = True
    if identity := answer.get("response_id"):
        attributes[names.RESPONSE_ID] = _whole(identity)
    if model := answer.get("response_model"):
        attributes[names.RESPONSE_MODEL] = _whole(model)
    if reasons := answer.get("finish_reasons"):
        attributes[names.RESPONSE_FINISH] = reasons
    if (usage := answer.get("usage")) is not None:
        asked, answered, *rest = usage
        if asked is not None:
            attributes[names.INPUT_TOKENS] = asked
        if answered is not None:
            attributes[names.OUTPUT_TOKENS] = answered
        if rest != _NO_MORE:  # which few tell
            attributes |= {name: tokens for name, tokens in zip(_USAGE[2:], rest, strict=True) if tokens is not None}


def _add(attributes: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add what an application or an adapter says, up to a bound.

    At its limit of 128 OpenTelemetry's SDK drops the oldest attributes, which are the operation's name and the like.
    """
    for name, value in islice(more.items(), _MOST):
        attributes[name] = _whole(value)
    if len(more) > _MOST:
        attributes[names.DROPPED] = len(more) - _MOST


def verdict_attributes(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What the guardrails found, as the span of the call tells it."""
    attributes: dict[str, Any] = {names.VERDICT: worst([verdict.outcome for verdict in verdicts])}
    flagged = sorted({f.rule for v in verdicts for f in v.findings if f.outcome not in ("passed", "skipped")})
    if flagged:
        attributes[names.FLAGGED_BY] = flagged
    redactions = sum(len(verdict.edits) for verdict in verdicts)
    if redactions:
        attributes[names.REDACTIONS] = redactions
        if kinds := _redacted_kinds(verdicts):
            attributes[names.REDACTED_KINDS] = kinds
    return attributes


def _redacted_kinds(verdicts: Sequence[Verdict]) -> list[str]:
    """What was redacted, by the kinds that scorers gave (`EMAIL_ADDRESS`): never one that quotes what it stands for."""
    kinds: set[str] = set()
    for verdict in verdicts:
        for finding in verdict.findings:
            if finding.outcome == "redacted" and finding.score is not None:
                for start, end, kind in rows(finding.score.spans):
                    if kind not in kinds and _LABEL.match(kind):
                        stands_for = verdict.text[start:end].casefold()
                        if kind.casefold() not in stands_for and stands_for not in kind.casefold():
                            kinds.add(kind)
    return sorted(kinds)[:_MOST_KINDS]


def score_attributes(
    name: str, score: Score | None, error: BaseException | None, scored: Callable[[], Iterable[str]]
) -> dict[str, Any]:
    """One evaluation result; `scored` gives the texts that its label must not quote."""
    attributes: dict[str, Any] = {names.EVALUATION_NAME: name}
    if score is not None and score.value is not None:
        attributes[names.EVALUATION_VALUE] = float(score.value)
    if score is not None and _names_a_class(score.label, scored):
        attributes[names.EVALUATION_LABEL] = score.label
    elif error is not None or (score is not None and score.unscored):
        attributes[names.EVALUATION_LABEL] = "unscored"
    if error is not None:
        attributes[names.ERROR_TYPE] = error_type(error)
    return attributes


def _names_a_class(label: str, scored: Callable[[], Iterable[str]]) -> bool:
    plain = bool(_PLAIN.match(label))
    # A name of classes is made of short words; what is longer than words are may be a key.
    doubtful = [word for word in _WORDS.findall(label) if len(word) > (_LONG_WORD if plain else _SHORT_WORD)]
    if plain and not doubtful:
        return True
    if not _LABEL.match(label):
        return False
    try:
        return not any(word.casefold() in text.casefold() for text in scored() for word in (label, *doubtful))
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


def title(call: Call) -> str:
    """The name of a call's span."""
    operation = call.operation
    if operation in ASKS_PROVIDER:
        subject = call.model
    elif operation in _NAME_KEYS or operation == "retrieval":
        subject = call.name
    else:
        subject = call.model or call.name
    return f"{operation} {_whole(subject)}" if subject else operation


def _whole(text: Any) -> Any:
    """A text without halves of characters, for which an exporter loses an attribute, and for a name the whole batch."""
    if not isinstance(text, str) or text.isascii():
        return text
    return text.encode(errors="replace").decode()
