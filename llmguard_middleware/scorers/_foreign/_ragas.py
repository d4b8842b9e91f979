"""Ragas' metrics (https://docs.ragas.io): those of single turns, those of `ragas.metrics.collections`, one's own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from copy import copy
from importlib import import_module
from typing import Any, Final

from ...errors import ConfigurationError
from ._foreign import Foreign, judged
from ._given import Asks, slug, text_of, texts_of
from ._quiet import ragas_reports_nothing

__all__ = ["Ragas"]

_LISTS: Final = frozenset({"retrieved_contexts", "reference_contexts"})
_TEXTS: Final = frozenset({"user_input", "response", "reference"})
_PASS_OR_FAIL: Final = ["pass", "fail"]


class Ragas(Foreign):
    """A metric; flagged on the wrong side of the threshold, or by its label if it gives one."""

    library = "ragas"

    def __init__(
        self,
        metric: Any,
        *,
        threshold: float,
        lower_is_better: bool,
        flagged_labels: Sequence[str],
        llm: Any,
        name: str | None,
        column_map: Mapping[str, str] | None,
    ) -> None:
        ragas_reports_nothing()
        self.threshold, self.lower_is_better, self.llm = threshold, lower_is_better, llm
        allowed = getattr(metric, "allowed_values", None)
        self.flagged_labels = frozenset(flagged_labels or (("fail",) if allowed == _PASS_OR_FAIL else ()))
        self.of_samples = callable(getattr(metric, "single_turn_ascore", None))
        super().__init__(
            metric,
            _of_samples(metric) if self.of_samples else _asks(metric, llm),
            name=name or slug(getattr(metric, "name", "")) or "ragas",
            column_map=column_map,
            later=True,
            options=f"{threshold:g},{lower_is_better},{sorted(self.flagged_labels)}",
        )

    async def measure_later(self, values: dict[str, Any]) -> Any:
        """Measured with a copy: some metrics keep on themselves what they were given."""
        metric = copy(self.evaluator)
        fields = {
            field: texts_of(value) if field in _LISTS else text_of(value) if field in _TEXTS else value
            for field, value in values.items()
        }
        if self.of_samples:
            sample = import_module("ragas.dataset_schema").SingleTurnSample(**fields)
            return self._read(await metric.single_turn_ascore(sample))
        return self._read(await metric.ascore(**fields, **({} if self.llm is None else {"llm": self.llm})))

    def _read(self, result: Any) -> Any:
        value, reason = getattr(result, "value", result), getattr(result, "reason", None)
        metadata = {"threshold": None if isinstance(value, str) else self.threshold}
        if isinstance(value, str):
            flagged = value in self.flagged_labels if self.flagged_labels else None
            return judged(None, value, reason, metadata, flagged=flagged)
        number = isinstance(value, (int, float))
        bad = number and (value > self.threshold if self.lower_is_better else value < self.threshold)
        return judged(value, "", reason, metadata, flagged=bad)


def _of_samples(metric: Any) -> Asks:
    required = metric.required_columns.get("SINGLE_TURN", set())
    wanted = metric.get_required_columns(with_optional=True).get("SINGLE_TURN", set())
    return Asks(tuple(sorted(required)), tuple(sorted(wanted - required)))


def _asks(metric: Any, llm: Any) -> Asks:
    if not callable(getattr(metric, "ascore", None)):
        msg = f"from_ragas() takes metrics of one question and answer; {type(metric).__name__} has no ascore(...)"
        raise ConfigurationError(msg)
    if callable(variables := getattr(metric, "get_variables", None)):  # of a prompt
        if llm is None:
            msg = f"{type(metric).__name__} asks a model; write from_ragas(metric, llm=llm_factory(...))"
            raise ConfigurationError(msg)
        return Asks(tuple(dict.fromkeys(variables())))
    made_of = getattr(metric, "_func", None) or metric.ascore  # a function that was made a metric
    parameters = inspect.signature(made_of).parameters.values()
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return Asks(
        tuple(one.name for one in named if one.default is one.empty),
        tuple(one.name for one in named if one.default is not one.empty),
    )
