"""embedding_similarity: how like an answer is to the one that was expected, by meaning as an embedding model has it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from .._fingerprint import fingerprint
from .._parameters import is_async
from .._score import Score
from .._scorer import Scorer
from ._similarity._embedders import Embed, embedder, expect_local, load_local, ready
from ._similarity._references import NO_REFERENCE, expect_between, expect_reference, references
from ._similarity._vectors import UnlikeError, cosine, unit

__all__ = ["AsyncEmbeddingSimilarity", "EmbeddingSimilarity", "embedding_similarity"]

_KEPT = 256  # vectors of references, by a hash: no text stays


class _Similarity(Scorer):
    """What a score is made of, as a generator of the texts to embed: one for sync and for async models."""

    def __init__(
        self, embed: Any, reference: tuple[str, ...], least: float, column_map: Mapping[str, str] | None
    ) -> None:
        super().__init__(name="embedding_similarity", column_map=column_map)
        self._embed: Embed | str = embed if isinstance(embed, str) else embedder(embed)
        self._reference, self.least = reference, least
        self.options = f"{fingerprint(embed)},{least}:{reference!r}"
        self._known: OrderedDict[bytes, Sequence[float]] = OrderedDict()

    def _compared(self, text: str, reference: Any) -> Generator[str, Any, Score]:
        expected = references(reference, self._reference)
        if not expected:
            return NO_REFERENCE
        try:
            said = unit((yield text))
            value = -1.0
            for one in expected:
                value = max(value, cosine(said, (yield from self._vector(one))))
        except UnlikeError as error:
            return Score.not_scored(str(error))
        if value >= self.least:
            return Score(value=value)
        why = f"{value:.2f} like the expected text in meaning, where {self.least:g} is the least"
        return Score(value=value, flagged=True, label="different", explanation=why)

    def _vector(self, text: str) -> Generator[str, Any, Sequence[float]]:
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        vector = self._known.get(key)
        if vector is None:
            vector = self._known[key] = unit((yield text))
            if len(self._known) > _KEPT:
                with suppress(KeyError):  # another thread was faster
                    self._known.popitem(last=False)
        return vector


class EmbeddingSimilarity(_Similarity):
    """Flags texts that are too far from all references; value is the cosine to the nearest, -1 to 1, label "different".

    A vector of zeros, of another size or with a number that is none cannot be compared: then nothing is scored.
    """

    def setup(self) -> None:
        """Load the local model, if that is what embeds."""
        if isinstance(self._embed, str):
            self._embed = load_local(self._embed)

    def score(self, text: str, reference: Any = None) -> Score:
        """How like `text` is to a reference: one that is given here, else one that the scorer was made with."""
        self.setup()
        embed: Any = self._embed
        steps = self._compared(text, reference)
        vector: Any = None
        try:
            while True:
                vector = ready(embed(steps.send(vector)))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # the generator's


class AsyncEmbeddingSimilarity(_Similarity):
    """The same with an async model."""

    async def score(self, text: str, reference: Any = None) -> Score:
        """How like `text` is to a reference: one that is given here, else one that the scorer was made with."""
        embed: Any = self._embed
        steps = self._compared(text, reference)
        vector: Any = None
        while True:
            try:
                wanted = steps.send(vector)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # the generator's
            vector = await embed(wanted)


def embedding_similarity(
    embed: Any,
    *,
    reference: str | Sequence[str] | None = None,
    least: float = 0.7,
    column_map: Mapping[str, str] | None = None,
) -> EmbeddingSimilarity | AsyncEmbeddingSimilarity:
    """Measure how like a text is to the expected one in meaning: the cosine of their embeddings.

    Args:
        embed: what embeds a text: a function, sync or async, that gives a vector; LangChain's `Embeddings`,
            LlamaIndex's `BaseEmbedding` or a `SentenceTransformer`, which run on a thread of the guard (their async
            methods are functions: `embed=model.aembed_query`); or the name or path of a local model, which
            sentence-transformers loads before the first score.
        reference: the expected text, or several of which the nearest counts. One that the call has under the name
            `reference`, or that is given to `apply_scorer`, is taken instead. Without any, nothing is scored. The
            vectors of the last 256 references are kept.
        least: flagged below. What is like depends on the model: measure yours.
        column_map: another name in the call for `reference` or `text`.

    Raises:
        ConfigurationError: for an option of the wrong kind, or a local model without sentence-transformers.
    """
    if isinstance(embed, str):
        expect_local()
    expected = expect_reference(reference, "embedding_similarity")
    least = expect_between(least, -1, 1, "least of embedding_similarity()")
    kind = AsyncEmbeddingSimilarity if is_async(embed) else EmbeddingSimilarity
    return kind(embed, expected, least, column_map)
