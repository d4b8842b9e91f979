"""What the scorers around evaluators of other libraries share: parameters by name, sync or async, failures unscored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any, ClassVar

from ..._fingerprint import fingerprint
from ..._score import Score
from ..._scorer import Scorer
from ...errors import ConfigurationError
from .._load import find
from ._given import Asks

__all__ = ["Foreign", "judged", "named", "threshold_in"]


class Foreign(Scorer):
    """An evaluator of another library. `score` takes what it asks for by the names that calls have for it.

    What fails inside the evaluator is unscored: its explanation names the exception's type and quotes nothing.
    """

    library: ClassVar[str]

    def __init__(
        self,
        evaluator: Any,
        asks: Asks,
        *,
        name: str,
        column_map: Mapping[str, str] | None,
        later: bool = False,
        options: str = "",
    ) -> None:
        super().__init__(name=name, column_map=column_map)
        self.evaluator = evaluator
        self.asks = asks
        self.options = f"{type(evaluator).__qualname__},{fingerprint(evaluator)},{options}"
        self.score = (_Later if later else _Now)(self)

    def measure(self, values: dict[str, Any]) -> Any:
        """The score of these values, by the evaluator's own names."""
        raise NotImplementedError

    async def measure_later(self, values: dict[str, Any]) -> Any:
        """The same, if the evaluator is async."""
        raise NotImplementedError

    def failed(self, error: Exception) -> Score:
        """The score of what could not be scored. The exception's text may quote what was judged."""
        return Score.not_scored(f"{self.library} failed: {type(error).__name__}")


class _Now:
    """`score(...)` of an evaluator, with its parameters."""

    def __init__(self, scorer: Foreign) -> None:
        self.scorer = scorer
        self.__signature__ = Signature(
            [
                Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=Parameter.empty if needed else None)
                for name, needed in sorted(scorer.asks.parameters.items(), key=lambda item: not item[1])
            ]
        )

    def __call__(self, *positional: Any, **given: Any) -> Any:
        """Raises TypeError if something that is required is not given."""
        values = self.values(positional, given)
        if isinstance(values, Score):
            return values
        try:
            return self.scorer.measure(values)
        except Exception as error:  # noqa: BLE001 - foreign code
            return self.scorer.failed(error)

    def values(self, positional: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any] | Score:
        """What is given, by the evaluator's names. To judge nothing, or without documents, is to make a score up."""
        values = self.scorer.asks.values(self.__signature__.bind(*positional, **given).arguments)
        if lacking := self.scorer.asks.lacks(values):
            return Score.not_scored(f"the call has no {lacking}")
        return values


class _Later(_Now):
    """The same, to be awaited."""

    async def __call__(self, *positional: Any, **given: Any) -> Any:
        """Raises TypeError if something that is required is not given."""
        values = self.values(positional, given)
        if isinstance(values, Score):
            return values
        try:
            return await self.scorer.measure_later(values)
        except Exception as error:  # noqa: BLE001 - foreign code
            return self.scorer.failed(error)


def named(evaluator: Any, maker: str, what: str) -> Any:
    """The evaluator itself, or the one that a path names: a text in a file cannot be an object.

    Raises:
        ConfigurationError: for a class, and for a text that is no path.
    """
    if isinstance(evaluator, str):
        if ":" not in evaluator:
            msg = f'{maker}() takes {what} or the path of one, for example "package.module:name"'
            raise ConfigurationError(msg)
        evaluator = find(evaluator)
    if isinstance(evaluator, type):
        msg = f"{maker}() takes {what}, not its class; write {maker}({evaluator.__name__}(...))"
        raise ConfigurationError(msg)
    return evaluator


def threshold_in(threshold: Any) -> float:
    """The threshold, if it is one.

    Raises:
        ConfigurationError: if it is no finite number.
    """
    if not isinstance(threshold, (int, float)) or isinstance(threshold, bool) or not math.isfinite(threshold):
        msg = f"threshold is {threshold!r}; it must be a number"
        raise ConfigurationError(msg)
    return float(threshold)


def judged(
    value: Any, label: str, reason: Any, metadata: Mapping[str, Any], *, flagged: bool | None
) -> Score | dict[str, Any]:
    """The score of a value and its label; unscored where there is neither.

    Where nobody said what is bad (`flagged` is None) it is a measurement: a guardrail then has to say above= or below=,
    which it would not be asked for by a Score.
    """
    number = float(value) if isinstance(value, (int, float)) else None
    if (number is None or math.isnan(number)) and not label:
        return Score.not_scored("the evaluator gave no score")
    if number is not None and math.isnan(number):
        number = None
    told = {key: one for key, one in metadata.items() if one is not None}
    explanation = reason if isinstance(reason, str) else ""
    if flagged is None:
        return {"score": number, "label": label, "explanation": explanation, "metadata": told}
    return Score(value=number, flagged=flagged, label=label, explanation=explanation, metadata=told)
