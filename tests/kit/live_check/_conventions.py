"""The conventions as data: the vendored ones of OpenTelemetry, and the tables of our own names in the README."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import llmguard_middleware.telemetry

__all__ = ["OURS", "OWN_OPERATIONS", "THEIRS", "Ours", "read_ours", "schema"]

DATA = Path(__file__).parents[2] / "data" / "semconv"
README = Path(llmguard_middleware.telemetry.__file__).with_name("README.md")

THEIRS: dict[str, Any] = json.loads((DATA / "genai.json").read_text())
# Of neighbouring conventions, which are stable.
THEIRS["attributes"] |= {
    "error.type": {"type": "string"},
    "server.address": {"type": "string"},
    "server.port": {"type": "int"},
    "user.id": {"type": "string"},
}
# Of the draft #427, which are told where somebody asks for them.
DRAFT = {
    f"gen_ai.guardrail.{name}": {"type": "double" if name == "risk.score" else "string"}
    for name in (
        *("component.name", "policy.id", "policy.version", "source"),
        *("result.type", "result.value", "risk.score"),
    )
}
THEIRS["attributes"] |= DRAFT
THEIRS["events"]["gen_ai.guardrail.result"] = {
    "attributes": {
        name: {"requirement_level": "recommended" if name.endswith("score") else "required"} for name in DRAFT
    }
}
OWN_OPERATIONS = frozenset({"rerank", "synthesize", "apply_guardrail"})  # the operation's name is an open enumeration

_PART = re.compile(r"^## ([^\n]+)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|", re.MULTILINE)


@dataclass(frozen=True)
class Ours:
    """What our README says: attributes' types, names of events, metrics' (instrument, unit, attributes)."""

    attributes: dict[str, str]
    events: frozenset[str]
    metrics: dict[str, tuple[str, str, frozenset[str]]]


def read_ours(text: str) -> Ours:
    """The tables of a README, by their headings."""
    parts = dict(_PART.findall(text))
    metrics = {}
    for line in parts["Metrics"].splitlines():
        if line.startswith("| `"):
            name, instrument, unit, attributes = (cell.strip() for cell in line.strip("|").split("|")[:4])
            metrics[name.strip("`")] = (instrument, unit.strip("`"), frozenset(re.findall("`([^`]+)`", attributes)))
    return Ours(
        {name: kind.strip() for name, kind in _ROW.findall(parts["Attributes"])},
        frozenset(name for name, _ in _ROW.findall(parts["Events"])),
        metrics,
    )


OURS = read_ours(README.read_text())


@cache
def schema(file: str) -> Any:
    """A vendored JSON schema of messages, as a validator."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import, and rarely needed

    return Draft202012Validator(json.loads((DATA / "schemas" / file).read_text()))
