"""Evaluators of Arize Phoenix (https://arize.com/docs/phoenix, package arize-phoenix-evals)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as otel

from ...errors import ConfigurationError
from ._foreign import Foreign, judged
from ._given import Asks, slug, text_of, texts_of

__all__ = ["Phoenix"]

_SUPPRESS = getattr(otel, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")


class Phoenix(Foreign):
    """An evaluator; flagged on the wrong side of the threshold, by its own direction, or by its label.

    Of several scores the first counts; the others are in the metadata.
    """

    library = "phoenix"

    def __init__(
        self,
        evaluator: Any,
        *,
        threshold: float,
        flagged_labels: Sequence[str],
        name: str | None,
        column_map: Mapping[str, str] | None,
    ) -> None:
        schema = getattr(evaluator, "input_schema", None)
        if schema is None or getattr(evaluator, "_input_mapping", None):
            msg = (
                "from_phoenix() takes an evaluator with an input_schema and without a mapping; "
                'rename with column_map={"its field": "name in the call"}'
            )
            raise ConfigurationError(msg)
        self.threshold, self.flagged_labels = threshold, frozenset(flagged_labels)
        self.types = {field: _types(shape) for field, shape in schema.model_json_schema().get("properties", {}).items()}
        needed = {field: one.is_required() for field, one in schema.model_fields.items()}
        super().__init__(
            evaluator,
            Asks(
                tuple(field for field, required in needed.items() if required),
                tuple(field for field, required in needed.items() if not required),
            ),
            name=name or slug(evaluator.name) or "phoenix",
            column_map=column_map,
            # What has no async form of its own would be run on a thread that knows nothing of the call.
            later=evaluator.kind == "llm" or inspect.iscoroutinefunction(getattr(evaluator, "_fn", None)),
            options=f"{threshold:g},{sorted(flagged_labels)}",
        )

    def measure(self, values: dict[str, Any]) -> Any:
        """What the evaluator says."""
        with _without_spans():
            return self._read(self.evaluator.evaluate(self._record(values)))

    async def measure_later(self, values: dict[str, Any]) -> Any:
        """The same, awaited."""
        with _without_spans():
            return self._read(await self.evaluator.async_evaluate(self._record(values)))

    def _record(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {field: _as(self.types.get(field, frozenset()), value) for field, value in values.items()}

    def _read(self, scores: Sequence[Any]) -> Any:
        first, *others = scores
        label = first.label or ""
        metadata = {
            **first.metadata,
            "kind": first.kind,
            "direction": first.direction,
            "threshold": None if first.score is None else self.threshold,
            "scores": {other.name: other.score for other in others} or None,
        }
        return judged(first.score, label, first.explanation, metadata, flagged=self._flags(first))

    def _flags(self, score: Any) -> bool | None:
        if self.flagged_labels:
            return score.label in self.flagged_labels
        if score.score is None or score.direction not in ("maximize", "minimize"):
            return None
        too_low: bool = score.score < self.threshold
        too_high: bool = score.score > self.threshold
        return too_low if score.direction == "maximize" else too_high


def _types(shape: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(one["type"] for one in (shape, *shape.get("anyOf", ())) if "type" in one)


def _as(types: frozenset[str], value: Any) -> Any:
    """Documents as a list or as one text, whatever the field takes."""
    if "array" in types:
        return texts_of(value)
    if "string" in types:
        return "\n\n".join(texts_of(value)) if isinstance(value, (list, tuple)) else text_of(value)
    return value


@contextmanager
def _without_spans() -> Iterator[None]:
    """Phoenix would write what is asked and answered on spans of the application's own tracer provider."""
    token = otel.attach(otel.set_value(_SUPPRESS, True))
    try:
        yield
    finally:
        otel.detach(token)
