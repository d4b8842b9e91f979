"""The shape of the file, as pydantic models: they validate and make the JSON schema; the data itself stays as it is.

A tag of a union is written in parentheses, which tells it from a key in the place of an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from .._actions import KEYED
from .._call import Stage

__all__ = [
    "GUARDRAIL_FIELDS",
    "MONITOR_FIELDS",
    "GuardFile",
    "GuardrailSpec",
    "MonitorSpec",
    "Override",
    "TenantSpec",
    "TenantsSpec",
]


def _unsaid() -> Any:
    """Not None, which is a value that may be given, but nothing: the schema has no default then."""
    return None


def _kind(value: Any) -> str:
    if isinstance(value, (Mapping, BaseModel)):
        return "(mapping)"
    if isinstance(value, list):
        return "(list)"
    return "(switch)" if isinstance(value, bool) else "(word)"


def _by_kind(expected: str) -> Discriminator:
    return Discriminator(_kind, custom_error_type="expected", custom_error_message=expected)


_EXPECTED: Any = "expected"
_ONE: Any = (_EXPECTED, "one action, such as mask: with keep_last: 4 below it")
_REGULAR: Any = "a regular expression ({why})"
_SENTENCE: Any = "sentence"
_KEYLESS: Any = "{action} needs a secret key; write {action}: with key_env: NAME below it"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _regular(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise PydanticCustomError(_EXPECTED, _REGULAR, {"why": str(error)}) from None
    return pattern


class PatternSpec(_Strict):
    """A text that matches this regular expression from end to end."""

    pattern: Annotated[str, AfterValidator(_regular)]


class NoOptions(_Strict):
    """An action without options."""


class MaskSpec(_Strict):
    """`char` in the place of each character but the last `keep_last`."""

    char: str = Field(default="*", min_length=1, max_length=1)
    keep_last: int = Field(default=0, ge=0)


class HashSpec(_Strict):
    """`key_env` names the environment variable that holds the secret key, 16 bytes or more."""

    key_env: str = Field(min_length=1)


class EncryptSpec(_Strict):
    """`key_env` names the environment variable that holds the secret key, 16, 24 or 32 bytes."""

    key_env: str = Field(min_length=1)


class PseudonymizeSpec(_Strict):
    """Whether arguments of tools get the originals back."""

    restore_tools: bool = False


class ReplaceSpec(_Strict):
    """What takes the place of the whole text."""

    text: str = "[removed]"


class ReaskSpec(_Strict):
    """What the model is told, and how often it is asked again."""

    feedback: str = "Your last answer is not acceptable. Answer again."
    attempts: int = Field(default=1, ge=1)


class ActionSpec(_Strict):
    """One action with its options."""

    block: NoOptions | None = None
    redact: NoOptions | None = None
    mask: MaskSpec | None = None
    hash: HashSpec = Field(default_factory=_unsaid)
    encrypt: EncryptSpec = Field(default_factory=_unsaid)
    pseudonymize: PseudonymizeSpec | None = None
    replace: ReplaceSpec | None = None
    reask: ReaskSpec | None = None
    log: NoOptions | None = None

    @model_validator(mode="after")
    def _one(self) -> ActionSpec:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError(*_ONE)
        return self


def _keyless(action: str) -> str:
    if action in KEYED:
        raise PydanticCustomError(_SENTENCE, _KEYLESS, {"action": action})
    return action


ActionWord = Literal["block", "redact", "mask", "hash", "encrypt", "pseudonymize", "replace", "reask", "log"]
ActionField = Annotated[
    Annotated[ActionWord, AfterValidator(_keyless), Tag("(word)")] | Annotated[ActionSpec, Tag("(mapping)")],
    _by_kind("an action, or one action with its options"),
]
StageField = Annotated[
    Annotated[Stage, Tag("(word)")] | Annotated[list[Stage], Field(min_length=1), Tag("(list)")],
    _by_kind("a stage or a list of stages"),
]
AllowField = Annotated[
    Annotated[str, Tag("(word)")] | Annotated[PatternSpec, Tag("(mapping)")],
    _by_kind('a text or {pattern: "..."}'),
]
Seconds = Annotated[float, Field(gt=0)]
Role = Literal["system", "user", "assistant", "tool"]


class BreakerSpec(_Strict):
    """After so many `failures` in a row the scorer is left alone for `cooldown` seconds."""

    failures: int = Field(default=5, ge=1)
    cooldown: Seconds = 30.0


class CacheSpec(_Strict):
    """Keep `size` scores for `ttl` seconds."""

    size: int = Field(default=1024, ge=1)
    ttl: Seconds = 300.0


Off = Annotated[Literal[False], Tag("(switch)")]
BreakerField = Annotated[Off | Annotated[BreakerSpec, Tag("(mapping)")], _by_kind("failures: and cooldown:, or false")]
CacheField = Annotated[Off | Annotated[CacheSpec, Tag("(mapping)")], _by_kind("size: and ttl:, or false")]


class _Common(_Strict):
    scorer: str = Field(
        default_factory=_unsaid, min_length=1, description="entry-point name, or package.module:attribute"
    )
    options: dict[str, Any] = Field(default_factory=_unsaid, description="keyword arguments of what makes the scorer")
    args: list[Any] = Field(default_factory=_unsaid, description="its positional arguments")
    timeout: Seconds = Field(default_factory=_unsaid, description="seconds")
    where: dict[str, Any] | None = Field(default=None, min_length=1, description="which calls it is for")
    active: bool = Field(default=True)
    description: str = Field(default="", description="for people")
    locked: bool = Field(default=False, description="it cannot be removed or weakened from elsewhere")


class _GuardrailFields(_Strict):
    stage: StageField = Field(default_factory=_unsaid)
    action: ActionField = Field(default="block")
    above: float | None = Field(default=None, description="flag values greater than this")
    below: float | None = Field(default=None, description="flag values less than this")
    on_error: Literal["block", "allow"] = Field(default_factory=_unsaid)
    roles: list[Role] | None = Field(default=None, min_length=1)
    allow: list[AllowField] = Field(default_factory=_unsaid, description="texts that are never flagged")
    race: bool = Field(default=False)
    stream: Literal["hold", "window"] = Field(default="hold")
    cache: CacheField = Field(default_factory=_unsaid)
    breaker: BreakerField = Field(default_factory=_unsaid)


class _MonitorFields(_Strict):
    sample: float = Field(default=1.0, ge=0, le=1, description="the share of calls to score")
    on: Literal["outermost", "every"] = Field(default="outermost")
    batch_size: int = Field(default=16, ge=1)
    batch_wait: float = Field(default=0.05, ge=0)


class GuardrailSpec(_GuardrailFields, _Common):
    """A guardrail, or what changes in the one of this name in the base."""

    name: str = Field(default_factory=_unsaid, description="by default that of the scorer")


class MonitorSpec(_MonitorFields, _Common):
    """A monitor, or what changes in the one of this name in the base."""

    name: str = Field(default_factory=_unsaid, description="by default that of the scorer")


class Override(_GuardrailFields, _MonitorFields, _Common):
    """What changes in a rule."""


class _Part(_Strict):
    disable: list[str] = Field(default_factory=_unsaid, description="names of rules to remove")
    override: dict[str, Override] = Field(default_factory=_unsaid, description="what changes, by name of the rule")
    guardrails: list[GuardrailSpec] = Field(default_factory=_unsaid)
    monitors: list[MonitorSpec] = Field(default_factory=_unsaid)


class TenantSpec(_Part):
    """What is different for one tenant."""


class TenantsSpec(BaseModel):
    """Tenants by name; `attribute` is the call attribute that holds the name."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, TenantSpec]
    attribute: str = Field(default_factory=_unsaid, min_length=1)


class DefaultsSpec(_Strict):
    """For the guardrails of this file."""

    timeout: Seconds = Field(default_factory=_unsaid)
    on_error: Literal["block", "allow"] = Field(default_factory=_unsaid)
    cache: CacheField = Field(default_factory=_unsaid)
    breaker: BreakerField = Field(default_factory=_unsaid)


class QueueSpec(_Strict):
    """How many scores of monitors may be pending, and what happens to one more."""

    size: int = Field(default=1000, ge=1)
    drop: Literal["newest", "oldest", "block"] = "newest"
    wait: float = Field(default=0.05, ge=0)


class GuardFile(_Part):
    """The rules of one guard."""

    version: Literal[1] = 1
    name: str = Field(default_factory=_unsaid)
    extends: str = Field(
        default_factory=_unsaid, min_length=1, description="a file with the base policy, relative to this one"
    )
    unenforceable: Literal["raise", "warn"] = Field(default="raise")
    refusal: str | None = Field(default=None, description="what a stopped call answers with, in place of an exception")
    queue: QueueSpec = Field(default_factory=_unsaid)
    defaults: DefaultsSpec = Field(default_factory=_unsaid)
    tenants: TenantsSpec = Field(default_factory=_unsaid)


GUARDRAIL_FIELDS = frozenset(GuardrailSpec.model_fields)
MONITOR_FIELDS = frozenset(MonitorSpec.model_fields)
