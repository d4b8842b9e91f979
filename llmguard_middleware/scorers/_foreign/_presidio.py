"""Presidio's recognisers and its engine (https://microsoft.github.io/presidio), without the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cache
from importlib import import_module
from typing import Any, Final

from ..._edits import merge_spans
from ..._fingerprint import fingerprint
from ..._score import Score, TextSpan
from ...errors import ConfigurationError, nearest
from ._foreign import Foreign
from ._given import Asks, plain, slug

__all__ = ["Presidio", "score_of", "spans_in"]

_PIECE: Final = 20_000  # characters; the models behind an engine need some ten KB of memory for each


class Presidio(Foreign):
    """A recogniser or an engine; value is how many spans, label the kinds found."""

    library = "presidio"

    def __init__(
        self,
        recognizer: Any,
        *,
        entities: Sequence[str],
        language: str,
        threshold: float,
        name: str | None,
        column_map: Mapping[str, str] | None,
    ) -> None:
        self.language, self.threshold = language, threshold
        self.whole = hasattr(recognizer, "registry")
        if any(kind.__name__ == "SpacyRecognizer" for kind in type(recognizer).__mro__):
            msg = (
                f"{type(recognizer).__name__} reads what a language model found; give the AnalyzerEngine that has both"
            )
            raise ConfigurationError(msg)  # or it would never find anything
        if self.whole and language not in recognizer.supported_languages:
            known = nearest(language, recognizer.supported_languages)
            msg = f'the engine does not know the language "{language}": {known}'
            raise ConfigurationError(msg)
        supported = recognizer.get_supported_entities(*([language] if self.whole else []))
        for entity in entities:
            if entity not in supported:
                msg = f'nothing recognises "{entity}" here: {nearest(entity, sorted(supported))}'
                raise ConfigurationError(msg)
        self.entities = tuple(entities or sorted(supported))
        super().__init__(
            _offline_engine(recognizer) if self.whole else _offline(recognizer),
            Asks(("text",)),
            name=name or ("presidio" if self.whole else slug(recognizer.name)),
            column_map=column_map,
        )
        told = [_told(one) for one in (recognizer.registry.recognizers if self.whole else [recognizer])]
        self.options = f"{self.entities},{language},{threshold:g},{sorted(told)}"

    def measure(self, values: dict[str, Any]) -> Score:
        """The spans found in the text, in order, without overlap."""
        text = plain(values["text"])
        if self.whole:
            return score_of(spans_in(self.evaluator, text, self.entities, self.language, self.threshold))
        found = self.evaluator.analyze(text, list(self.entities), None)
        return score_of(_spans(found, 0, self.entities, self.threshold))


def spans_in(engine: Any, text: str, entities: Sequence[str], language: str, threshold: float) -> list[TextSpan]:
    """What an engine finds in a text, a piece of it after the other."""
    found: list[TextSpan] = []
    for start, piece in _pieces(text):
        results = engine.analyze(piece, language=language, entities=list(entities), score_threshold=threshold)
        found += _spans(results, start, entities, threshold)
    return found


def _spans(results: Any, start: int, entities: Sequence[str], threshold: float) -> list[TextSpan]:
    return [
        TextSpan(start + one.start, start + one.end, one.entity_type)
        for one in results or ()
        if one.score >= threshold and one.end > one.start and one.entity_type in entities
    ]


def score_of(found: Sequence[TextSpan]) -> Score:
    """The score of a text with these spans, which may overlap."""
    if not found:
        return Score(value=0.0)
    spans = tuple(merge_spans(found))
    return Score(
        value=float(len(spans)), flagged=True, label=",".join(sorted({span.kind for span in spans})), spans=spans
    )


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Where each piece starts, and the piece: cut at the end of a line, else of a word."""
    start = 0
    while len(text) - start > _PIECE:
        middle, last = start + _PIECE // 2, start + _PIECE
        ends = (text.rfind(separator, middle, last) + 1 for separator in "\n ")
        end = next(filter(None, ends), last)
        yield start, text[start:end]
        start = end
    yield start, text[start:]


def _told(recognizer: Any) -> str:
    """What it was given, but for its id, in which Presidio writes where in memory it is."""
    given = {name: value for name, value in vars(recognizer).items() if name != "_id"}
    patterns = [(one.regex, one.score) for one in getattr(recognizer, "patterns", None) or ()]
    return f"{type(recognizer).__qualname__},{fingerprint(given, patterns)}"


def _offline_engine(engine: Any) -> Any:
    """A copy of the engine with the recognisers that ask nobody."""
    copied = copy(engine)
    copied.registry = copy(engine.registry)
    copied.registry.recognizers = [_offline(one) for one in engine.registry.recognizers]
    return copied


def _offline(recognizer: Any) -> Any:
    """The recogniser; of the one for e-mail a copy: it would have tldextract fetch a list of domains on first use."""
    validate = getattr(type(recognizer), "validate_result", None)
    if getattr(validate, "__qualname__", "") != "EmailRecognizer.validate_result":
        return recognizer
    copied = copy(recognizer)
    copied.validate_result = _in_a_known_domain
    return copied


def _in_a_known_domain(address: str) -> bool:
    return bool(_domains()(address).fqdn)


@cache
def _domains() -> Any:
    """With the list that tldextract brings along."""
    return import_module("tldextract").TLDExtract(suffix_list_urls=(), cache_dir=None)
