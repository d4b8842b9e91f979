"""Root: what one outermost guarded call shares with every guarded call below it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import replace

from ._call import Stage
from ._pseudonyms import Pseudonyms
from ._score import Score
from ._verdict import Finding
from .errors import GuardrailViolation

__all__ = ["Conversations", "Root"]

_TEXTS = 4096  # that one root remembers, so that an agent which runs for days does not grow


class Root:
    """One outermost call under one guard.

    Attributes:
        violation: what stopped a call below. It sticks: a fallback, a retry or an agent that swallows it does not get
            away with it, since every later call below and the outermost call's own end raise it again.
        documents: texts retrieved below, for scorers that ask for `context`.
        provider_failed: whether it was told of a call below that its provider stopped it by an exception.
    """

    violation: GuardrailViolation | None = None
    documents: tuple[str, ...] = ()
    provider_failed = False
    _pseudonyms: Pseudonyms | None = None
    _outgoing: Pseudonyms | None = None
    _conversation = ""
    _conversations: Conversations | None = None
    _findings: OrderedDict[tuple[str, Stage, str], dict[str, Finding]] | None = None

    def __init__(self, conversation: str = "", conversations: Conversations | None = None) -> None:
        if conversation:
            self._conversation, self._conversations = conversation, conversations

    # Every call has a root, and few need more than one of these: they are made when they are wanted, once, whichever
    # thread wants them.

    @property
    def pseudonyms(self) -> Pseudonyms:
        """The placeholders that the model was given; answers get the originals back."""
        return self._pseudonyms or self.__dict__.setdefault("_pseudonyms", Pseudonyms())

    @property
    def hides(self) -> bool:
        """Whether the model was given placeholders."""
        return self._pseudonyms is not None and bool(self._pseudonyms.known)

    @property
    def outgoing(self) -> Pseudonyms:
        """The placeholders that the caller was given."""
        return self._outgoing or self.__dict__.setdefault("_outgoing", Pseudonyms())

    def findings(self, digest: str, stage: Stage, text: str) -> dict[str, Finding]:
        """What the rules of this policy and stage found in this text so far: a text is scored once by each."""
        key = (digest, stage, text)
        findings = self._findings
        if findings is None:
            findings = self.__dict__.setdefault("_findings", OrderedDict())
        found = findings.get(key)
        if found is None:
            found = findings[key] = {}
            if self._conversations is not None:
                found.update(self._conversations.passed(self._conversation, digest, stage, text))
            if len(findings) > _TEXTS:
                with suppress(KeyError):  # another thread was faster
                    findings.popitem(last=False)
        return found

    def keep(self, digest: str, stage: Stage, text: str, findings: tuple[Finding, ...]) -> None:
        """Remember beyond this root what passed, if it belongs to a conversation."""
        if self._conversations is not None:
            self._conversations.keep(self._conversation, digest, stage, text, findings)

    def note(self, error: BaseException) -> None:
        """Have a violation stick that an adapter is told of, be it of another guard."""
        if self.violation is None and isinstance(error, GuardrailViolation) and error._sticks:  # noqa: SLF001 - for this
            self.violation = error

    def check(self) -> None:
        """Raise what stopped a call below, if anything did.

        Raises:
            GuardrailViolation: the one that was raised before.
        """
        if self.violation is not None:
            raise self.violation


class Conversations:
    """Which texts of a conversation passed which rules, so that its history is not scored again at every turn.

    Kept by policy and hash: no text stays, nor what a scorer may have quoted of it. Only what passed is kept; a text
    that was blocked or edited is judged again.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._passed: MutableMapping[bytes, dict[str, Finding]] = OrderedDict()

    def passed(self, conversation: str, digest: str, stage: Stage, text: str) -> dict[str, Finding]:
        """The rules that let this text pass before, with what they found."""
        return self._passed.get(_key(conversation, digest, stage, text), {})

    def keep(self, conversation: str, digest: str, stage: Stage, text: str, findings: tuple[Finding, ...]) -> None:
        """Remember the rules that let this text pass."""
        passed = {finding.rule: _bare(finding) for finding in findings if finding.outcome == "passed"}
        if not passed:
            return
        self._passed[_key(conversation, digest, stage, text)] = passed
        while len(self._passed) > self._size:
            with suppress(KeyError, RuntimeError):  # another thread was faster
                del self._passed[next(iter(self._passed))]


def _key(*what: str) -> bytes:
    return hashlib.blake2b(repr(what).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _bare(finding: Finding) -> Finding:
    score = finding.score
    assert score is not None
    return replace(finding, score=Score(score.value, label=score.label))
