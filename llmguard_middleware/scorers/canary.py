"""canary: a system prompt that leaks, told by a token in it or by its own words."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from typing import Final, NamedTuple

from .._edits import merge_spans
from .._score import Score
from ..errors import ConfigurationError
from ._canary._forms import LONGEST, REACH, Forms
from ._canary._shingles import GAP, shared
from ._patterns import PatternScorer, Span

__all__ = ["Canary", "canary"]

_TOKEN, _PROMPT = "CANARY", "SYSTEM_PROMPT"  # what spans are called
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another
_SIZE: Final = 16  # some 79 bits: no text has it by chance
_LEAST = 8
_FEWEST, _MOST = 16, 1000


class _Kind(NamedTuple):
    name: str


class Canary(PatternScorer[_Kind]):
    """Flags texts that hold a token of `tokens`, or much of the system prompt; label is CANARY or SYSTEM_PROMPT."""

    def __init__(self, tokens: tuple[str, ...], least: int | None, *, told: str) -> None:
        reach = max(REACH, (least or 0) * (GAP + 1))
        super().__init__("canary", [_Kind(_TOKEN), _Kind(_PROMPT)], reach)
        self.options = f"{told},{least}"
        self.tokens, self._least = tokens, least
        self._forms = Forms(tokens)

    def __repr__(self) -> str:
        return f"canary(least={self._least!r})"

    def add(self, prompt: str) -> str:
        """`prompt` with the first token in it: give this one to the model."""
        return f"[{self.tokens[0]}]\n{prompt}"

    def found(self, text: str) -> Iterator[Span]:
        """Each token, however it is written."""
        return ((start, end, _TOKEN) for start, end in self._forms.find(text))

    def score(self, text: str, system: str = "") -> Score:
        """The tokens in `text`, and the stretches of it that stand in the call's system prompt."""
        spans = list(self.found(text))
        if self._least is not None and system:
            spans += [(start, end, _PROMPT) for start, end in shared(text, system, self._least)]
        return self.joined(merge_spans(spans))


def canary(*tokens: str, least: int | None = 48) -> Canary:
    """Find leaks of the system prompt in what the model says.

        trap = canary()
        system = trap.add("You are the assistant of ...")      # the prompt, with a token that nobody can know
        guard = Guard(Guardrail(trap, stage="output"))

    The token is found in any case, backwards, with signs between its letters, in Base64, hexadecimal, ROT13 and as
    numbers. Without any token, words of the prompt give it away: stretches that stand in the call's system messages.

    Args:
        tokens: those in your prompts, 8 to 32 letters and digits each; a new one, made by chance, if none is given.
            Where several processes share a prompt, give them the same.
        least: letters and digits in a row, a Korean syllable counts as two, that make a stretch of the prompt a leak,
            from 16 to 1,000; None to look for tokens only.

    Raises:
        ConfigurationError: if a token or `least` is not usable.
    """
    given: tuple[object, ...] = tokens
    for token in given:
        if not isinstance(token, str) or not re.fullmatch(f"[A-Za-z0-9]{{{_LEAST},{LONGEST}}}", token):
            msg = f"canary() takes tokens of {_LEAST} to {LONGEST} letters and digits of ASCII, or none to make one"
            raise ConfigurationError(msg)
    fewest: object = least
    if fewest is not None and (
        isinstance(fewest, bool) or not isinstance(fewest, int) or not _FEWEST <= fewest <= _MOST
    ):
        msg = f"least is {least!r}; it must be a whole number of letters from {_FEWEST} to {_MOST}, or None"
        raise ConfigurationError(msg)
    if not tokens:
        return Canary(("".join(secrets.choice(_LETTERS) for _ in range(_SIZE)),), least, told="new")
    # Enough to tell one from another, and too little to guess a token by.
    return Canary(tokens, least, told=hashlib.sha256(" ".join(tokens).encode()).hexdigest()[:4])
