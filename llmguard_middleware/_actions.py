"""What a guardrail does with a flagged text: a small class for each action, which a word such as "redact" stands for.

Some change spans of the text (redact, mask, hash, pseudonymize), one the whole text (replace), some stop the call
(block, reask), and log only records.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

from ._checks import expect_count, expect_text
from .errors import ConfigurationError, nearest

__all__ = [
    "ACTIONS",
    "Action",
    "Block",
    "Hash",
    "Log",
    "Mask",
    "Operator",
    "Pseudonymize",
    "Reask",
    "Redact",
    "Replace",
    "as_action",
    "placeholder",
]


@cache
def placeholder(kind: str) -> str:
    """What stands in the place of a redacted span of this kind: presidio-anonymizer's `<KIND>`."""
    from presidio_anonymizer.operators import Replace as Presidio  # noqa: PLC0415 - 65 ms that only redacting guards pay

    return str(Presidio().operate("", {"entity_type": kind}))


@dataclass(frozen=True)
class Action:
    """Base of all actions.

    Class attributes:
        name: the word for it in rules, verdicts and telemetry.
        stops: whether the call does not go on.
        edits: what of the text it changes.
    """

    name: ClassVar[str]
    stops: ClassVar[bool] = False
    edits: ClassVar[Literal["", "spans", "whole"]] = ""

    def load(self) -> None:
        """Load what the first use needs, so that it is as fast as the rest."""

    def described(self) -> str:
        """What tells this action from another of its kind, without secrets: part of a guard's digest."""
        return repr(self)


@dataclass(frozen=True)
class Block(Action):
    """Stop the call: `GuardrailViolation`."""

    name = "block"
    stops = True


@dataclass(frozen=True)
class Log(Action):
    """Record only: a shadow rule, which tells what would have been flagged."""

    name = "log"


@dataclass(frozen=True)
class Reask(Action):
    """Tell the model what was wrong with its answer and ask again; block once `attempts` are used up.

    Args:
        feedback: what the model is told; the score's explanation, if there is one, follows it.
        attempts: how often it is asked again, at least 1.
    """

    name = "reask"
    stops = True
    feedback: str = "Your last answer is not acceptable. Answer again."
    attempts: int = 1

    def __post_init__(self) -> None:
        expect_text(self.feedback, "feedback of Reask")
        expect_count(self.attempts, "attempts of Reask", 1)


@dataclass(frozen=True)
class Replace(Action):
    """Put a fixed text in the place of the whole text."""

    name = "replace"
    edits = "whole"
    text: str = "[removed]"

    def __post_init__(self) -> None:
        expect_text(self.text, "text of Replace")


@dataclass(frozen=True)
class Operator(Action):
    """Base of the actions on spans. Where spans of several rules overlap, the one of the lowest `rank` acts on all."""

    edits = "spans"
    rank: ClassVar[int]
    reversible: ClassVar[bool] = False

    def load(self) -> None:
        placeholder("")

    def replacement(self, kind: str, text: str, pseudonyms: Any) -> str:
        """What takes the place of `text`, a span of this kind; `pseudonyms` are those of the run it belongs to."""
        raise NotImplementedError


@dataclass(frozen=True)
class Redact(Operator):
    """Put `<KIND>` in the place of each span."""

    name = "redact"
    rank = 0

    def replacement(self, kind: str, text: str, pseudonyms: Any) -> str:
        return placeholder(kind)


@dataclass(frozen=True)
class Hash(Operator):
    """Put `<KIND:digest>` in the place of each span: the same value gives the same digest, and only with the key.

    The digest is HMAC-SHA256 (RFC 2104), its first 80 bits in base32 (RFC 4648), so that no run of digits in it looks
    like a number to a later scan.

    Args:
        key: secret bytes, 16 or more; without them short values could be found by trying all.
    """

    name = "hash"
    rank = 1
    key: bytes | str = field(repr=False)

    def __post_init__(self) -> None:
        given: Any = self.key
        if not isinstance(given, (str, bytes)) or len(self._key) < _KEY:
            msg = f'action "hash" needs a secret key of at least {_KEY} bytes: action=Hash(key=...)'
            raise ConfigurationError(msg)

    def replacement(self, kind: str, text: str, pseudonyms: Any) -> str:
        digest = hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()[:10]
        return f"<{kind}:{base64.b32encode(digest).decode().lower()}>"

    def described(self) -> str:
        return f"Hash({hashlib.sha256(self._key).hexdigest()[:8]})"

    @property
    def _key(self) -> bytes:
        return self.key.encode() if isinstance(self.key, str) else self.key


_KEY = 16


@dataclass(frozen=True)
class Pseudonymize(Operator):
    """Put a numbered placeholder in the place of each span; answers get the originals back.

    The mapping lives for one outermost call, unless `vault` keeps it.

    Args:
        vault: keeps placeholder -> original beyond the call: any mutable mapping of texts.
        restore_tools: whether arguments of tools get the originals back too.
    """

    name = "pseudonymize"
    rank = 2
    reversible = True
    vault: MutableMapping[str, str] | None = field(default=None, repr=False, compare=False, hash=False)
    restore_tools: bool = False

    def described(self) -> str:
        return f"{self!r}{'' if self.vault is None else ' with a vault'}"

    def replacement(self, kind: str, text: str, pseudonyms: Any) -> str:
        return str(pseudonyms.placeholder(kind, text, self))


@dataclass(frozen=True)
class Mask(Operator):
    """Put `char` in the place of each character of a span, except the last `keep_last`.

    A span of which `keep_last` characters are half or more is masked whole.
    """

    name = "mask"
    rank = 3
    char: str = "*"
    keep_last: int = 0

    def __post_init__(self) -> None:
        expect_text(self.char, "char of Mask")
        if len(self.char) != 1:
            msg = f"char of Mask is {self.char!r}; give one character"
            raise ConfigurationError(msg)
        expect_count(self.keep_last, "keep_last of Mask", 0)

    def replacement(self, kind: str, text: str, pseudonyms: Any) -> str:
        from presidio_anonymizer.operators import Mask as Presidio  # noqa: PLC0415 - as in placeholder()

        shown = self.keep_last if 2 * self.keep_last < len(text) else 0
        how = {"masking_char": self.char, "chars_to_mask": len(text) - shown, "from_end": False}
        return str(Presidio().operate(text, how))


ACTIONS: dict[str, type[Action]] = {
    kind.name: kind for kind in (Block, Redact, Mask, Hash, Pseudonymize, Replace, Reask, Log)
}


def as_action(action: Any, rule: str) -> Action:
    """An action from a word or an Action.

    Raises:
        ConfigurationError: for an unknown word, or `hash`, which cannot do without a key.
    """
    if isinstance(action, Action):
        return action
    if not isinstance(action, str) or action not in ACTIONS:
        msg = f'unknown action "{action}" in rule "{rule}": {nearest(str(action), ACTIONS)}'
        raise ConfigurationError(msg)
    if action == "hash":
        msg = f'action "hash" of rule "{rule}" needs a secret key: action=Hash(key=...)'
        raise ConfigurationError(msg)
    return ACTIONS[action]()
