"""names: people, places and organisations by a model of spaCy and Presidio's analyzer; addresses by their form."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from .._score import Score, TextSpan
from .._scorer import Scorer
from ..errors import ConfigurationError, nearest
from ._foreign._given import plain
from ._foreign._presidio import score_of, spans_in
from ._names._addresses import addresses

__all__ = ["Names", "names"]

_OF_MODELS: Final = ("PERSON", "LOCATION", "ORGANIZATION", "NRP")
_KINDS: Final = ("ADDRESS", *_OF_MODELS)
# What spaCy's models call them, that Presidio does not know: those of ko_core_news.
_LABELS: Final = {"FAC": "LOCATION", "PS": "PERSON", "LC": "LOCATION", "OG": "ORGANIZATION"}
_SIZES: Final = ("lg", "md", "sm", "trf")
_UNUSED: Final = ("parser", "tagger", "lemmatizer", "attribute_ruler", "senter", "morphologizer")


class Names(Scorer):
    """Flags texts that name people, places or organisations; value is how many spans, label the kinds found.

    `model` is None if only addresses are looked for.
    """

    def __init__(self, kinds: Sequence[str], language: str, model: Any) -> None:
        super().__init__(name="names")
        self._addresses = "ADDRESS" in kinds
        self._kinds, self._language, self._model = tuple(kind for kind in kinds if kind != "ADDRESS"), language, model
        self._engine: Any = None
        told = model if isinstance(model, (str, type(None))) else model.meta
        self.options = f"{','.join(kinds)};{language};{told}"

    def setup(self) -> None:
        """Load the model: a second or two, once."""
        if (nlp := self._model) is None:
            return
        if isinstance(nlp, str):
            nlp = import_module("spacy").load(nlp, exclude=_UNUSED)
        engines = import_module("presidio_analyzer.nlp_engine")
        presidio = import_module("presidio_analyzer")
        recognizers = import_module("presidio_analyzer.predefined_recognizers")
        mapping = {**engines.NerModelConfiguration().model_to_presidio_entity_mapping, **_LABELS}
        labels = {label for pipe in nlp.pipe_labels.values() for label in pipe}
        configuration = engines.NerModelConfiguration(
            model_to_presidio_entity_mapping=mapping,
            labels_to_ignore=[label for label in labels if mapping.get(label) not in self._kinds],
        )
        models = [{"lang_code": self._language, "model_name": nlp.meta.get("name", "")}]
        engine = engines.SpacyNlpEngine(models=models, ner_model_configuration=configuration)
        engine.nlp = {self._language: nlp}  # loaded, so that Presidio neither loads nor downloads
        recognizer = recognizers.SpacyRecognizer(
            supported_language=self._language, supported_entities=list(self._kinds)
        )
        # No other recogniser: those for patterns are what pii() is for, and some of them ask the network.
        registry = presidio.RecognizerRegistry(recognizers=[recognizer], supported_languages=[self._language])
        self._engine = presidio.AnalyzerEngine(
            registry=registry, nlp_engine=engine, supported_languages=[self._language]
        )

    def score(self, text: str) -> Score:
        """The spans found in `text`, in order, without overlap."""
        if self._engine is None:  # asked without a guard
            self.setup()
        text = plain(text)
        found = [TextSpan(start, end, "ADDRESS") for start, end in addresses(text)] if self._addresses else []
        if self._engine is not None:
            found += spans_in(self._engine, text, self._kinds, self._language, 0.0)
        return score_of(found)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}  # another process loads its own


def names(*kinds: str, language: str = "en", model: Any = None) -> Names:
    """Find names, which no pattern finds, by a model of spaCy that is installed; nothing is ever downloaded.

    Needs the extra `[ner]` and a model, unless it is for ADDRESS alone. It takes tens of milliseconds per KB, and so
    runs on a thread. Beside `pii()` as another guardrail, the spans of both are edited together.

    Args:
        kinds: PERSON, LOCATION, ORGANIZATION, NRP (nationalities, religions, political groups), and ADDRESS: streets
            with their numbers as they are written in English, Korean and some other languages. PERSON, LOCATION and
            ADDRESS if none is named.
        language: the model's, as "en" or "ko".
        model: the name of an installed model, the folder of one, or a pipeline of spaCy with entities; the largest
            model of spaCy's that is installed for the language, if it is not given.

    Raises:
        ConfigurationError: if a kind or the language is no such, or Presidio's analyzer or the model is not installed.
    """
    for kind in kinds:
        if kind not in _KINDS:
            msg = f'names() knows no kind "{kind}": {nearest(str(kind), _KINDS)}'
            raise ConfigurationError(msg)
    given: object = language  # a setting in a file may be anything
    if not isinstance(given, str) or not given.isidentifier():
        msg = f'language is {language!r}; it must be a code, for example "en" or "ko"'
        raise ConfigurationError(msg)
    kinds = kinds or ("PERSON", "LOCATION", "ADDRESS")
    if set(kinds) == {"ADDRESS"}:
        return Names(kinds, language, None)
    if find_spec("presidio_analyzer") is None:
        msg = "names() needs Presidio's analyzer: pip install 'llmguard-middleware[ner]'"
        raise ConfigurationError(msg)
    return Names(kinds, language, _installed(language) if model is None else _given(model))


def _installed(language: str) -> str:
    family = f"{language}_core_{'web' if language in ('en', 'zh') else 'news'}"
    for size in _SIZES:
        if find_spec(f"{family}_{size}") is not None:
            return f"{family}_{size}"
    msg = f'names() needs a spaCy model of language "{language}": python -m spacy download {family}_sm'
    raise ConfigurationError(msg)


def _given(model: Any) -> Any:
    if hasattr(model, "pipe_labels"):
        return model
    name = str(model)
    if Path(name).exists() or (name.isidentifier() and find_spec(name) is not None):
        return name
    msg = f'names() has no spaCy model "{name}": python -m spacy download {name}, or give the folder of one'
    raise ConfigurationError(msg)
