"""Pseudonyms: placeholders that stand for values within one outermost call, and the originals put back in."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import count

from ._actions import Pseudonymize
from ._edits import swap
from ._placeholders import put_back, unfinished

__all__ = ["Pseudonyms", "Restorer"]


class Pseudonyms:
    """Values and their placeholders, numbered by first appearance.

    Each placeholder carries a token of its own that nobody can guess: one that a user types is plain text, and whoever
    was told one cannot name another. Threads below one call
    may ask at once: each step is one that Python makes whole, so that there is no lock for a fork to leave held.
    """

    def __init__(self) -> None:
        self._placeholders: dict[tuple[str, str], str] = {}
        self._counts: dict[str, Iterator[int]] = {}
        self.known: dict[str, str] = {}  # placeholder to original
        self._for_tools: set[str] = set()

    def placeholder(self, kind: str, value: str, action: Pseudonymize) -> str:
        """The placeholder of a value, a new one if it has none yet."""
        known = self._placeholders.get((kind, value))
        if known is None:
            number = next(self._counts.setdefault(kind, count(1)))
            name = f"<{kind}_{number}_{secrets.token_hex(4)}>"
            self.known[name] = value  # first, so that nobody is given what cannot be put back yet
            known = self._placeholders.setdefault((kind, value), name)  # another thread may have been faster
            if action.vault is not None:
                action.vault[known] = value
        if action.restore_tools:
            self._for_tools.add(known)
        return known

    def restorable(self, *, tools: bool = False) -> dict[str, str]:
        """Placeholder to original, of those that are put back."""
        return {name: value for name, value in self.known.copy().items() if not tools or name in self._for_tools}

    def restore(self, text: str, *, tools: bool = False) -> str:
        """`text` with the originals back in, also where a model wrote a placeholder in its own way."""
        return put_back(text, self.restorable(tools=tools)) if self.known else text

    def hide(self, text: str) -> str:
        """`text` with the placeholders back in: what telemetry and monitors may see of a restored text."""
        return swap(text, {value: name for name, value in self.restorable().items()}) if self.known else text


class Restorer:
    """`Pseudonyms.restore` for a text that arrives in pieces: holds back what may be the start of a placeholder."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self._held = ""

    @property
    def held(self) -> bool:
        """Whether some text is held."""
        return bool(self._held)

    def feed(self, text: str) -> str:
        """What may leave now."""
        if not self._held and (not self._pseudonyms.known or "<" not in text):
            return text
        text = self._held + text
        at = unfinished(text, self._pseudonyms.restorable())
        self._held = text[at:]
        return self._pseudonyms.restore(text[:at])

    def finish(self) -> str:
        """The rest."""
        rest, self._held = self._held, ""
        return self._pseudonyms.restore(rest)
