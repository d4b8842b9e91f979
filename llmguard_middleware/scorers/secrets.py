"""secrets: credentials by their issuers' formats, private keys, and values that the words before them give away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from ._lower import lower
from ._patterns import PatternScorer, Span, select
from ._secrets import _blocks as blocks
from ._secrets import _context as context
from ._secrets import _formats as formats

__all__ = ["Secrets", "secrets"]

Find = Callable[[str], Iterator[tuple[int, int]]]
_WRITTEN: Final = "".join(map(chr, range(ord("!"), 127)))
_PRIVATE_KEY: Final = "PRIVATE_KEY"
_LONG: Final = 2000  # characters


class _Kind(NamedTuple):
    """One kind of secret: by how it is written, by what is written before it, or a block of lines."""

    name: str
    formats: tuple[formats.Format, ...] = ()
    contexts: tuple[context.Context, ...] = ()
    find: Find | None = None

    @property
    def reach(self) -> int:
        """Characters of the longest."""
        if self.find is not None:
            return blocks.REACH
        return formats.REACH if self.formats else context.LONGEST + context.BEHIND


_KINDS: Final = (
    *(_Kind(name, formats.of(name)) for name in dict.fromkeys(one.kind for one in formats.FORMATS)),
    *(_Kind(one.kind, contexts=(one,)) for one in context.CONTEXTS),
    _Kind(_PRIVATE_KEY, find=blocks.private_keys),
)


class Secrets(PatternScorer[_Kind]):
    """Flags texts that hold credentials; value is how many spans, label the kinds found."""

    behind = context.BEHIND  # what tells a kind may stand before it

    def __init__(self, kinds: Sequence[_Kind]) -> None:
        super().__init__("secrets", kinds, max(kind.reach for kind in kinds))
        self._formats = [one for kind in kinds for one in kind.formats]
        self._contexts = [one for kind in kinds for one in kind.contexts]
        self._urls = any(one.kind == context.URL for one in self._contexts)
        self._blocks = [(kind.name, kind.find) for kind in kinds if kind.find is not None]

    def found(self, text: str) -> Iterator[Span]:
        """Each credential; of one that has a format and a word before it, the kind is that of the format."""
        written: dict[int, str] = {}
        # Keys hold no spaces, and few words are so long: signs are looked for in those.
        words = " ".join([word for word in text.split() if len(word) >= formats.LEAST]) if self._formats else ""
        # A long text may be one word, in which a hundred signs are quickly told by the characters that it has.
        characters = frozenset(words) if len(words) > _LONG else None
        for one in self._formats if words else ():
            if (characters is None or characters.issuperset(one.sign)) and one.sign in words:
                for start, end in one.find(text):
                    written[start] = one.kind
                    yield (start, end, one.kind)
        for kind, find in self._blocks:
            for start, end in find(text):
                yield (start, end, kind)
        low = lower(text) if self._contexts else ""
        for told in self._contexts:
            for start, end in told.find(text, low):
                yield (start, end, written.get(start, told.kind))

    def open_tail(self, text: str) -> int:
        """How many characters at the end of `text` may belong to a match that is not complete yet (at most `reach`)."""
        assert self.reach is not None
        given = text[-self.reach :]
        tail = len(given) - len(given.rstrip(_WRITTEN))
        if self._urls:
            tail = max(tail, context.begun(given))
        return min(len(given), max(tail, blocks.begun(given)) if self._blocks else tail)


def secrets(*kinds: str) -> Secrets:
    """Find credentials, in code, configuration and sentences.

    By format: the keys and tokens of some eighty issuers (AWS_ACCESS_KEY, GITHUB_TOKEN, OPENAI_API_KEY, SLACK_TOKEN,
    STRIPE_KEY, JWT, ...). PRIVATE_KEY: the whole block, also where its end is missing. By the words before them, in
    English and Korean: API_KEY, ACCESS_TOKEN, BEARER_TOKEN and PASSWORD, where the value looks like chance made it;
    CONNECTION_STRING: the password in a URL.

    Args:
        kinds: look for these only; all if none is named.

    Raises:
        ConfigurationError: if a kind is unknown.
    """
    return Secrets(select(_KINDS, kinds, "secrets"))
