"""prompt_injection: attempts to override the instructions of an application, by phrase."""

from __future__ import annotations

import re

from .._score import Score
from .._scorer import Scorer

__all__ = ["PromptInjection", "prompt_injection"]

# Phrases of the public jailbreak collections, as families; ASCII-insensitive, and the same claims in Korean.
_GAP = r"[^.\n]"  # within one sentence
_FAMILIES = {
    "override": (
        rf"\b(?:ignore|disregard|forget|override|bypass)\b{_GAP}{{0,40}}"
        r"\b(?:instruction|prompt|rule|direction|guideline|polic|command)"
    ),
    "override_ko": (
        rf"(?:이전|위의|앞의|기존|모든|지금까지의){_GAP}{{0,20}}(?:지시|명령|지침|규칙|프롬프트|설정)"
        rf"{_GAP}{{0,12}}(?:무시|잊|따르지)"
    ),
    "reveal": (
        rf"\b(?:reveal|show|print|repeat|output|tell me|what is)\b{_GAP}{{0,30}}"
        rf"\b(?:system|hidden|initial|original)\b{_GAP}{{0,15}}\b(?:prompt|instruction|message)"
    ),
    "reveal_ko": rf"시스템\s{{0,10}}(?:프롬프트|메시지|지시){_GAP}{{0,15}}(?:보여|알려|출력|공개|말해)",
    "persona": (
        rf"\b(?:you are now|act as|pretend to be|roleplay as)\b{_GAP}{{0,40}}"
        r"\b(?:dan|jailbroken|unrestricted|unfiltered|uncensored|evil)\b"
    ),
    "mode": r"\b(?:developer|god|jailbreak|sudo|dan|admin) mode\b",
    "no_limits": r"\bwithout (?:any )?(?:restrictions?|filters?|limitations?|censorship|ethical)",
}
_PATTERN = re.compile("|".join(f"(?P<{family}>{pattern})" for family, pattern in _FAMILIES.items()), re.IGNORECASE)


class PromptInjection(Scorer):
    """Flags a text that tries to override instructions; label is the family of the phrase."""

    name = "prompt_injection"
    cheap = True
    extent = 200

    def score(self, text: str) -> Score:
        """Value 1 if such a phrase is found, else 0."""
        match = _PATTERN.search(text)
        if match is None:
            return Score(value=0.0)
        return Score(value=1.0, flagged=True, label=match.lastgroup or "")


def prompt_injection() -> PromptInjection:
    """Find attempts to override the application's instructions (phrases in English and Korean, no model)."""
    return PromptInjection()
