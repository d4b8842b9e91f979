"""What CPU a score may take: so much for each megabyte, on a quiet machine."""

from __future__ import annotations

__all__ = ["FLOOR", "MEGABYTE", "limit"]

MEGABYTE = 1024 * 1024
FLOOR = 0.005  # seconds, whatever the size: first uses, and what the clock and the machine add
_SECONDS = 0.1  # for each megabyte of UTF-8

# What is over that on a text that is made of nothing but finds, or of what each has to be looked at for, and ordinary
# text is not: the dearest that was found (their pages tell which), and a sixth to a third more.
_DEARER = {
    "code_injection": 0.15,
    "deny_list": 0.2,  # a word of one letter, and nothing else in the text
    "invisible_text": 0.15,  # every other character
    "pii": 0.5,  # tables of numbers that may be cards, and cards
    "prompt_injection": 0.35,  # ordinary text, too, takes up to 0.2; some repeats more (1.4: seed 302, text 319127)
    "regex": 0.4,  # a pattern of the user's that matches every nine characters; it has a limit of its own
    "secrets": 0.15,
    "url_allow_list": 0.6,  # URLs that lead elsewhere, each ended by a sign, and nothing else
}


def limit(scorer: str, size: int) -> float:
    """Seconds of CPU for a text of so many bytes; `scorer` may be one of several ways in which it is made."""
    return FLOOR + _DEARER.get(scorer.partition("#")[0], _SECONDS) * size / MEGABYTE
