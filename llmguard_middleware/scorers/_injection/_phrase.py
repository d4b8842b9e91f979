"""One way to say what a family of attacks says, written for an outline."""

from __future__ import annotations

import re
from typing import Final

from ._outline import letters_of

__all__ = ["SAID", "TOLD", "Phrase", "phrases"]

# Not "attempts to ignore the rules", "how do I bypass a filter", "do not forget": people who speak of it, and warnings.
SAID: Final = "(?<!<to|i|they|not|user>.)"  # after the word
TOLD: Final = "<you|ai|model> ~3 <to> ~1"  # "I want you to ..."

_CARET: Final = re.compile(r"(?<!\[)\^")
_BEGINS: Final = "[|/]"
_PIECE: Final = re.compile(r"<([a-z0-9_|]+)>|~(\d+)|(\s+)")
_SYNTAX: Final = re.compile(r"<([a-z0-9_|]+)>|\[[^\]]*\]|\((?:\?<?[:=!])?|\)|\|")
_CHOICES: Final = ("(?:", "(?=", "(")


class Phrase:
    """One way to say what a family says.

    Attributes:
        name: the family, the label of a score.
        weight: how much it says; those of a text's families are added up.
        needed: without a letter of each of these the phrase is not there.
    """

    __slots__ = ("_pattern", "_wording", "name", "needed", "weight")

    def __init__(self, name: str, weight: float, wording: str) -> None:
        self.name, self.weight, self._wording = name, weight, wording
        self.needed = _needed(wording)
        self._pattern: re.Pattern[str] | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        """How it is said, in letters of an outline; compiled when it is first looked for: most never are."""
        if self._pattern is None:
            self._pattern = re.compile(_outlined(self._wording))
        return self._pattern


def phrases(name: str, weight: float, *wordings: str) -> list[Phrase]:
    """The wordings of a family.

    In a wording, `<drop|lift>` is a word of one of these meanings, `~3` up to three words of one sentence, `^` the
    beginning of a sentence or line; all else is as in regular expressions. Words that follow each other may be parted
    by a new line.
    """
    return [Phrase(name, weight, wording) for wording in wordings]


def _outlined(wording: str) -> str:
    """The pattern of a wording, for the letters of an outline."""
    built, at = [], 0
    for match in _PIECE.finditer(wording):
        built.append(_CARET.sub(_BEGINS, wording[at : match.start()]))
        at = match.end()
        meanings, gap, space = match.groups()
        if meanings:
            built.append(f"[{''.join(sorted(letters_of(meanings.split('|'))))}]")
        elif gap:
            built.append(f"[^|]{{0,{gap}}}?")
        elif space and not wording[at:].startswith("~") and not wording[: match.start()].endswith(tuple("0123456789")):
            built.append("/?")
    return "".join([*built, _CARET.sub(_BEGINS, wording[at:])])


def _needed(wording: str) -> tuple[frozenset[str], ...]:
    """For each word that is not optional its letters; for each choice those of the first words of its branches."""
    needed: list[frozenset[str]] = []
    depth, branches, kind = 0, [frozenset[str]()], ""
    for match in _SYNTAX.finditer(wording):
        sign, follows = match[0], wording[match.end() : match.end() + 1]
        optional = follows in ("?", "*", "{")
        if sign.startswith("("):
            depth += 1
            if depth == 1:
                kind, branches = sign, [frozenset()]
        elif sign == ")":
            depth -= 1
            if depth == 0 and kind in _CHOICES and not optional and all(branches):
                needed.append(frozenset().union(*branches))
        elif sign == "|" and depth == 1:
            branches.append(frozenset())
        elif match[1] and not optional:
            letters = letters_of(match[1].split("|"))
            if depth == 0:
                needed.append(letters)
            elif depth == 1 and not branches[-1]:
                branches[-1] = letters
    return tuple(needed)
