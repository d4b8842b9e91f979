"""DeepEval's metrics of one turn (https://deepeval.com/docs/metrics-introduction)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from importlib import import_module
from typing import Any, Final

from ...errors import ConfigurationError
from ._foreign import Foreign, judged
from ._given import Asks, slug, text_of, texts_of
from ._quiet import deepeval_reports_nothing

__all__ = ["DeepEval"]

_OFFERED: Final = ("input", "actual_output", "retrieval_context", "context", "expected_output")
_LISTS: Final = frozenset({"retrieval_context", "context"})
_TEXTS: Final = frozenset({"input", "actual_output", "expected_output"})


class DeepEval(Foreign):
    """A metric; flagged when the metric is not successful, by its own threshold and direction."""

    library = "deepeval"

    def __init__(self, metric: Any, *, name: str | None, column_map: Mapping[str, str] | None) -> None:
        if _is_of("BaseConversationalMetric", metric) or _is_of("BaseArenaMetric", metric):
            msg = f"from_deepeval() takes metrics of one question and answer; {type(metric).__name__} judges several"
            raise ConfigurationError(msg)
        deepeval_reports_nothing()
        required = _required(metric)
        super().__init__(
            metric,
            Asks(required, tuple(one for one in _OFFERED if one not in required)),
            name=name or slug(type(metric).__name__.removesuffix("Metric")) or "deepeval",
            column_map=column_map,
            later=bool(getattr(metric, "async_mode", True)) and _has_async(metric),
        )

    def measure(self, values: dict[str, Any]) -> Any:
        """Measured with a copy, since a metric keeps its score on itself."""
        metric = copy(self.evaluator)
        metric.measure(_case(values), **_silently(metric.measure))
        return _read(metric)

    async def measure_later(self, values: dict[str, Any]) -> Any:
        """The same, awaited."""
        metric = copy(self.evaluator)
        await metric.a_measure(_case(values), **_silently(metric.a_measure))
        return _read(metric)


def _is_of(base: str, metric: Any) -> bool:
    return any(kind.__name__ == base for kind in type(metric).__mro__)


def _has_async(metric: Any) -> bool:
    """Whether `a_measure` is more than what the base class has, which says that there is none."""
    owner = next((kind for kind in type(metric).__mro__ if "a_measure" in vars(kind)), None)
    return owner is not None and owner.__name__ != "BaseMetric"


def _required(metric: Any) -> tuple[str, ...]:
    """What it says that it asks for, else the answer alone."""
    for said in (getattr(metric, "evaluation_params", None), getattr(metric, "_required_params", None)):
        if isinstance(said, (list, tuple)) and said:
            return tuple(str(getattr(one, "value", one)) for one in said)
    return ("actual_output",)


def _silently(measure: Callable[..., Any]) -> dict[str, Any]:
    """Without the spinner on the console, if the metric has one."""
    return {"_show_indicator": False} if "_show_indicator" in inspect.signature(measure).parameters else {}


def _case(values: Mapping[str, Any]) -> Any:
    fields = {
        name: texts_of(value) if name in _LISTS else text_of(value) if name in _TEXTS else value
        for name, value in values.items()
    }
    fields.setdefault("input", "")  # a test case has one, also for metrics that do not look at it
    return import_module("deepeval.test_case").LLMTestCase(**fields)


def _read(metric: Any) -> Any:
    metadata = {
        "threshold": getattr(metric, "threshold", None),
        "model": getattr(metric, "evaluation_model", None),
        "cost": getattr(metric, "evaluation_cost", None),
        "input_tokens": getattr(metric, "input_tokens", None),
        "output_tokens": getattr(metric, "output_tokens", None),
        "breakdown": getattr(metric, "score_breakdown", None),
    }
    failed = getattr(metric, "error", None) is not None or getattr(metric, "skipped", False)
    success = None if failed else metric.is_successful()
    return judged(
        None if failed else metric.score,
        "",
        getattr(metric, "reason", None),
        metadata,
        flagged=None if success is None else not success,
    )
