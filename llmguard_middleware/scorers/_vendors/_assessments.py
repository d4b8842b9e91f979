"""Assessments: what Amazon Bedrock Guardrails says it found in a text, without the text.

Source: the API reference of ApplyGuardrail, bedrock-runtime 2023-09-30.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from ._failures import answer_is_none, unjudged

__all__ = ["WHO", "Answer", "Found", "read"]

WHO: Final = "Amazon Bedrock Guardrails"

_ACTIONS: Final = ("NONE", "GUARDRAIL_INTERVENED")

# policy, its list, what names one of it ("" if only its match does, which is content), and the kind of all of them
_POLICIES: Final = (
    ("topicPolicy", "topics", "name", "DENIED_TOPIC"),
    ("contentPolicy", "filters", "type", ""),
    ("wordPolicy", "customWords", "", "CUSTOM_WORD"),
    ("wordPolicy", "managedWordLists", "type", ""),
    ("sensitiveInformationPolicy", "piiEntities", "type", ""),
    ("sensitiveInformationPolicy", "regexes", "name", "CUSTOM_REGEX"),
    ("contextualGroundingPolicy", "filters", "type", ""),
)


class Found(NamedTuple):
    """One finding; `match` is content, all else is the guardrail's own words."""

    policy: str
    kind: str
    name: str
    action: str
    confidence: str
    match: str

    def told(self) -> dict[str, str]:
        """It without content."""
        told = {"policy": self.policy, "kind": self.kind, "action": self.action}
        if self.name != self.kind:
            told["name"] = self.name
        if self.confidence:
            told["confidence"] = self.confidence
        return told


class Answer(NamedTuple):
    """One answer of ApplyGuardrail; `text` is what the guardrail puts in the place of the one it was given."""

    intervened: bool
    text: str | None
    found: tuple[Found, ...]
    usage: Mapping[str, int]

    @property
    def acted(self) -> tuple[Found, ...]:
        """What the guardrail acted on; findings that it only detects have the action NONE."""
        return tuple(one for one in self.found if one.action not in ("", "NONE"))

    @property
    def blocked(self) -> bool:
        """Whether the text is to go; if not all that was found is masked, it is."""
        return self.intervened and not (self.acted and all(one.action == "ANONYMIZED" for one in self.acted))


def read(raw: Any) -> Answer:
    """What the client gave back.

    Raises:
        ScorerServiceError: if it is no such answer.
        ScorerError: if it says that a part of the text was not looked at.
    """
    if not isinstance(raw, Mapping) or raw.get("action") not in _ACTIONS:
        raise answer_is_none(WHO, 'it has no "action"')
    coverage = _mapping(_mapping(raw.get("guardrailCoverage")).get("textCharacters"))
    guarded, total = coverage.get("guarded"), coverage.get("total")
    if isinstance(guarded, int) and isinstance(total, int) and guarded < total:
        raise unjudged(WHO, f"{guarded} of {total} characters")
    outputs = [one["text"] for one in _rows(raw.get("outputs")) if isinstance(one.get("text"), str)]
    usage = {str(name): int(units) for name, units in _mapping(raw.get("usage")).items() if isinstance(units, int)}
    intervened = raw["action"] == "GUARDRAIL_INTERVENED"
    found = tuple(one for assessment in _rows(raw.get("assessments")) for one in _found(assessment))
    return Answer(intervened, "".join(outputs) if intervened and outputs else None, found, usage)


def _found(assessment: Mapping[str, Any]) -> Iterator[Found]:
    for policy, several, naming, kind in _POLICIES:
        for one in _rows(_mapping(assessment.get(policy)).get(several)):
            name = str(one.get(naming) or kind) if naming else kind
            action, confidence, match = (str(one.get(word) or "") for word in ("action", "confidence", "match"))
            yield Found(policy, kind or name, name, action, confidence, match)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rows(value: Any) -> Iterable[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
