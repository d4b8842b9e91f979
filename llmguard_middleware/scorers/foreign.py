"""Evaluators of other libraries as scorers: DeepEval, LLM Guard, Phoenix, Presidio, Ragas, text classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..errors import ConfigurationError
from ._foreign._deepeval import DeepEval
from ._foreign._foreign import Foreign, named, threshold_in
from ._foreign._llm_guard import LLMGuard
from ._foreign._phoenix import Phoenix
from ._foreign._presidio import Presidio
from ._foreign._ragas import Ragas
from ._foreign._text_classification import TextClassification

__all__ = [
    "evaluator",
    "from_deepeval",
    "from_llm_guard",
    "from_phoenix",
    "from_presidio",
    "from_ragas",
    "from_transformers",
]

_LEAST: Final = 4  # characters, of which a quarter overlaps
Renamed = Mapping[str, str] | None


def from_deepeval(metric: Any, *, name: str | None = None, column_map: Renamed = None) -> DeepEval:
    """A metric of DeepEval as a scorer.

    It is asked with what it requires: `question` (its `input`), `output`, `context` (its `context` and
    `retrieval_context`), `reference` (its `expected_output`). Flagged when it is not successful, by its own threshold
    and direction; the reason is the explanation; threshold, model, cost and tokens are in the metadata. DeepEval's
    reports to its makers are switched off in this process, unless DEEPEVAL_TELEMETRY_OPT_OUT is set.

    Args:
        metric: of one question and answer, or the path of one, as "package.module:name".
        name: of the scorer; the metric's own in lower case if it is not given.
        column_map: which of the call's names a parameter stands for.

    Raises:
        ConfigurationError: if this is no such metric.
    """
    metric = named(metric, "from_deepeval", "a metric")
    _expect(metric, "measure", "from_deepeval", "a metric of DeepEval")
    return DeepEval(metric, name=name, column_map=column_map)


def from_llm_guard(scanner: Any, *, name: str | None = None, column_map: Renamed = None) -> LLMGuard:
    """A scanner of LLM Guard as a scorer.

    It is asked with `text`, at any stage; a scanner of outputs with `question`, too. Flagged when the text is not
    valid; the value is the scanner's risk score, and what it made of the text is proposed as `modified`, which a
    redaction puts in the text's place.

    Args:
        scanner: for inputs or for outputs, or the path of one, as "package.module:name".
        name: of the scorer; the scanner's own in lower case if it is not given.
        column_map: which of the call's names a parameter stands for.

    Raises:
        ConfigurationError: if this is no such scanner.
    """
    scanner = named(scanner, "from_llm_guard", "a scanner")
    _expect(scanner, "scan", "from_llm_guard", "a scanner of llm-guard")
    return LLMGuard(scanner, name=name, column_map=column_map)


def from_phoenix(
    evaluator: Any,
    *,
    threshold: float = 0.5,
    flagged_labels: Sequence[str] = (),
    name: str | None = None,
    column_map: Renamed = None,
) -> Phoenix:
    """An evaluator of Arize Phoenix as a scorer.

    It is asked with the fields of its input schema, by the names that calls have for them (`input` is `question`,
    documents are `context`). Spans that Phoenix would write, with what is asked and answered, are not written.

    Args:
        evaluator: or the path of one, as "package.module:name".
        threshold: flagged below it where the evaluator maximises, above it where it minimises. One that does neither,
            or gives no number, is a measurement alone unless there are flagged labels.
        flagged_labels: the labels that are flagged, whatever the number.
        name: of the scorer; the evaluator's own if it is not given.
        column_map: which of the call's names a parameter stands for.

    Raises:
        ConfigurationError: if this is no such evaluator.
    """
    evaluator = named(evaluator, "from_phoenix", "an evaluator")
    _expect(evaluator, "evaluate", "from_phoenix", "an evaluator of arize-phoenix-evals")
    return Phoenix(
        evaluator,
        threshold=threshold_in(threshold),
        flagged_labels=_labels(flagged_labels),
        name=name,
        column_map=column_map,
    )


def from_presidio(
    recognizer: Any,
    *,
    entities: Sequence[str] = (),
    language: str = "en",
    threshold: float = 0.5,
    name: str | None = None,
    column_map: Renamed = None,
) -> Presidio:
    """A recogniser of Presidio, or an AnalyzerEngine with all of its recognisers, as a scorer with spans.

    The recogniser for e-mail judges domains by the list that tldextract brings along, and does not fetch a newer one.
    An AnalyzerEngine that is made without an NLP engine downloads a model while it is made, before it gets here.

    Args:
        recognizer: or the path of one, as "package.module:name".
        entities: look for these only; all that it knows if none is named.
        language: in which an AnalyzerEngine analyses.
        threshold: what Presidio is less certain of than this, from 0 to 1, is left out. A recogniser alone sees no
            words around what it finds, which is what makes an AnalyzerEngine more certain of weak patterns.
        name: of the scorer.
        column_map: which of the call's names `text` stands for.

    Raises:
        ConfigurationError: if this is no such recogniser, or it does not know an entity or the language.
    """
    recognizer = named(recognizer, "from_presidio", "a recogniser or an AnalyzerEngine")
    _expect(recognizer, "analyze", "from_presidio", "a recogniser or an AnalyzerEngine of Presidio")
    return Presidio(
        recognizer,
        entities=_labels(entities),
        language=language,
        threshold=threshold_in(threshold),
        name=name,
        column_map=column_map,
    )


def from_ragas(
    metric: Any,
    *,
    threshold: float = 0.5,
    lower_is_better: bool = False,
    flagged_labels: Sequence[str] = (),
    llm: Any = None,
    name: str | None = None,
    column_map: Renamed = None,
) -> Ragas:
    """A metric of Ragas as a scorer: of single turns, of `ragas.metrics.collections`, of a prompt or of a function.

    It is asked with its columns, by the names that calls have for them: `question` (its `user_input`), `output` (its
    `response`), `context` (its `retrieved_contexts`), `reference`. Ragas' reports to its makers are switched off in
    this process, unless RAGAS_DO_NOT_TRACK is set.

    Args:
        metric: or the path of one, as "package.module:name".
        threshold: flagged below it.
        lower_is_better: flagged above it (noise sensitivity, for example). Ragas does not say which.
        flagged_labels: which labels are flagged, of a metric that gives labels; "fail", if it gives "pass" and "fail".
        llm: for a metric of a prompt, whose own `score` asks for it, too.
        name: of the scorer; the metric's own if it is not given.
        column_map: which of the call's names a parameter stands for.

    Raises:
        ConfigurationError: if this is no such metric, or ragas has begun to report.
    """
    metric = named(metric, "from_ragas", "a metric")
    if not hasattr(metric, "single_turn_ascore"):
        _expect(metric, "ascore", "from_ragas", "a metric of one question and answer of ragas")
    return Ragas(
        metric,
        threshold=threshold_in(threshold),
        lower_is_better=lower_is_better,
        flagged_labels=_labels(flagged_labels),
        llm=llm,
        name=name,
        column_map=column_map,
    )


def from_transformers(
    pipeline: Any,
    *,
    flagged_labels: Sequence[str] = (),
    threshold: float = 0.5,
    window: int | None = None,
    name: str | None = None,
    column_map: Renamed = None,
) -> TextClassification:
    """A Hugging Face `text-classification` pipeline as a scorer, or any callable with its output.

    Args:
        pipeline: takes a text and gives a list of {"label": ..., "score": ...}, or the path of such a thing.
        flagged_labels: which labels are bad; the value is the highest probability of these. If none is named, it is a
            measurement alone: the most certain label and its probability.
        threshold: flagged from this probability on.
        window: characters that are looked at together; longer texts are looked at in stretches, which overlap by a
            quarter. If it is not given, as many tokens as the model takes, or 1,000 characters where the pipeline has
            no fast tokenizer. What of a stretch does not fit the model is not seen.
        name: of the scorer; "text_classification" if it is not given.
        column_map: which of the call's names `text` stands for.

    Raises:
        ConfigurationError: if this is no such thing, or the model has no such label.
    """
    pipeline = named(pipeline, "from_transformers", "a pipeline")
    if not callable(pipeline):
        msg = f"from_transformers() takes a pipeline, which can be called with a text, not {type(pipeline).__name__}"
        raise ConfigurationError(msg)
    given: object = window
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < _LEAST):
        msg = f"window is {window!r}; it must be a whole number of characters, for example 1000"
        raise ConfigurationError(msg)
    return TextClassification(
        pipeline,
        flagged_labels=_labels(flagged_labels),
        threshold=threshold_in(threshold),
        window=window,
        name=name,
        column_map=column_map,
    )


# What only the evaluators of one library have, in the order in which they are told apart.
_SIGNS: Final[tuple[tuple[tuple[str, ...], Callable[..., Foreign]], ...]] = (
    (("measure", "a_measure"), from_deepeval),
    (("single_turn_ascore",), from_ragas),
    (("ascore", "allowed_values"), from_ragas),
    (("scan",), from_llm_guard),
    (("evaluate", "async_evaluate"), from_phoenix),
    (("analyze", "get_supported_entities"), from_presidio),
    (("task", "tokenizer", "model"), from_transformers),
)


def evaluator(evaluator: Any, **options: Any) -> Foreign:
    """An evaluator of another library as a scorer, whichever library it is of.

    Args:
        evaluator: a metric of DeepEval or Ragas, a scanner of LLM Guard, an evaluator of Phoenix, a recogniser or
            AnalyzerEngine of Presidio, a Hugging Face pipeline; or the path of one, as "package.module:name".
        options: of the function for this library: `from_deepeval`, `from_llm_guard`, `from_phoenix`, `from_presidio`,
            `from_ragas`, `from_transformers`.

    Raises:
        ConfigurationError: if it is none of these.
    """
    evaluator = named(evaluator, "evaluator", "an evaluator")
    for signs, make in _SIGNS:
        if all(hasattr(evaluator, sign) for sign in signs):
            return make(evaluator, **options)
    known = ", ".join(sorted({f"{make.__name__}()" for _, make in _SIGNS}))
    msg = f"{type(evaluator).__name__} looks like no evaluator of a library that is known; say which it is: {known}"
    raise ConfigurationError(msg)


def _expect(evaluator: Any, method: str, maker: str, what: str) -> None:
    if not callable(getattr(evaluator, method, None)):
        msg = f"{maker}() takes {what}, not {type(evaluator).__name__}: it has no {method}(...)"
        raise ConfigurationError(msg)


def _labels(labels: Any) -> tuple[str, ...]:
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        msg = f'{labels!r} is no list of texts; write ["{labels if isinstance(labels, str) else "a label"}"]'
        raise ConfigurationError(msg)
    return tuple(labels)
