"""What a guardrail does with a flagged text: a small class for each action, which a word such as "redact" stands for.

Some change spans of the text (redact, mask, hash, encrypt, pseudonymize), one the whole text (replace), some stop the
call (block, reask), and log only records.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

from ._checks import expect_count, expect_text
from .errors import ConfigurationError, nearest

__all__ = [
    "ACTIONS",
    "KEYED",
    "Action",
    "Block",
    "Encrypt",
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
        return _bytes(self.key)


_KEY = 16


def _bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key


@dataclass(frozen=True)
class Encrypt(Operator):
    """Put `<KIND:ciphertext>` in the place of each span; who has the key gets the original back with `decrypt`.

    By presidio-anonymizer's operator: AES (FIPS 197) in CBC mode with padding and a random start, so that the same
    value looks different each time. It is written in the letters a to p, two for a byte: no scan takes it for a number.

    Args:
        key: secret bytes, 16, 24 or 32.
    """

    name = "encrypt"
    rank = 2
    key: bytes | str = field(repr=False)

    def __post_init__(self) -> None:
        given: Any = self.key
        if not isinstance(given, (str, bytes)) or len(_bytes(given)) not in _AES_KEYS:
            msg = 'action "encrypt" needs a secret key of 16, 24 or 32 bytes: action=Encrypt(key=...)'
            raise ConfigurationError(msg)

    def load(self) -> None:
        super().load()
        self.replacement("", "", None)

    def replacement(self, kind: str, text: str, pseudonyms: Any) -> str:
        from presidio_anonymizer.operators import Encrypt as Presidio  # noqa: PLC0415 - as in placeholder()

        # With its kind, which tells whether the key was right; JSON writes any text, half a surrogate pair as well.
        told = Presidio().operate(json.dumps([kind, text]), {"key": _bytes(self.key)})
        return f"<{kind}:{base64.urlsafe_b64decode(told).hex().translate(_LETTERS)}>"

    def decrypt(self, text: str) -> str:
        """`text` with the originals back in, in one pass. What is of another key, or of none, stays as it is."""
        return _ENCRYPTED.sub(self._original, text)

    def described(self) -> str:
        return f"Encrypt({hashlib.sha256(_bytes(self.key)).hexdigest()[:8]})"

    def _original(self, match: re.Match[str]) -> str:
        from presidio_anonymizer.operators import Decrypt as Presidio  # noqa: PLC0415 - as in placeholder()

        told = base64.urlsafe_b64encode(bytes.fromhex(match[2].translate(_DIGITS))).decode()
        try:
            kind, original = json.loads(Presidio().operate(told, {"key": _bytes(self.key)}))
        except (ValueError, TypeError):
            return match[0]
        return str(original) if kind == match[1] else match[0]


_AES_KEYS = (16, 24, 32)
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_DIGITS = str.maketrans("abcdefghijklmnop", "0123456789abcdef")
_ENCRYPTED = re.compile("<([^<>]{0,100}):((?:[a-p]{32}){2,})>")  # the start, and at least one block


@dataclass(frozen=True)
class Pseudonymize(Operator):
    """Put a numbered placeholder in the place of each span; answers get the originals back.

    The mapping lives for one outermost call, unless `vault` keeps it.

    Args:
        vault: keeps placeholder -> original beyond the call: any mutable mapping of texts.
        restore_tools: whether arguments of tools get the originals back too.
    """

    name = "pseudonymize"
    rank = 3
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
    rank = 4
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
    kind.name: kind for kind in (Block, Redact, Mask, Hash, Encrypt, Pseudonymize, Replace, Reask, Log)
}


KEYED: dict[str, type[Hash | Encrypt]] = {"hash": Hash, "encrypt": Encrypt}


def as_action(action: Any, rule: str) -> Action:
    """An action from a word or an Action.

    Raises:
        ConfigurationError: for an unknown word, or `hash` and `encrypt`, which cannot do without a key.
    """
    if isinstance(action, Action):
        return action
    if not isinstance(action, str) or action not in ACTIONS:
        msg = f'unknown action "{action}" in rule "{rule}": {nearest(str(action), ACTIONS)}'
        raise ConfigurationError(msg)
    if action in KEYED:
        msg = f'action "{action}" of rule "{rule}" needs a secret key: action={action.title()}(key=...)'
        raise ConfigurationError(msg)
    return ACTIONS[action]()
