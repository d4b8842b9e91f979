"""Guardrail and Monitor: a scorer and what to do with its score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ._call import STAGES, Call, Stage
from ._edits import placeholder
from ._scorer import BoundScorer, bind, check_name
from ._where import Where, compile_where, describe_where
from .errors import ConfigurationError, nearest

__all__ = ["ACTIONS", "Action", "Guardrail", "Monitor", "OnError", "is_number"]

Action = Literal["block", "redact", "log"]
ACTIONS: tuple[Action, ...] = get_args(Action)
OnError = Literal["block", "allow"]
On = Literal["outermost", "every"]

DEFAULT_TIMEOUT = 10.0
DEFAULT_MONITOR_TIMEOUT = 60.0


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What both kinds of rule share: a scorer, a name and a time limit in seconds."""

    scorer: Any = field(kw_only=False)
    name: str = ""
    timeout: float = DEFAULT_TIMEOUT
    bound: BoundScorer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bound = bind(self.scorer, self.name)
        object.__setattr__(self, "bound", bound)
        object.__setattr__(self, "name", check_name(self.name or bound.name, "rule"))
        if not (is_number(self.timeout) and self.timeout > 0):
            msg = f'timeout of rule "{self.name}" is {self.timeout!r}; give seconds greater than 0'
            raise ConfigurationError(msg)


@dataclass(frozen=True, kw_only=True)
class Guardrail(_Rule):
    """A scorer that runs inline and may stop or change what passes.

    Args:
        scorer: a function, an object with `score(...)`, or what `@scorer` made.
        stage: which text it judges: input, output, retrieval, tool_call, tool_result or embedding.
        action: what happens when the score is flagged. `block` raises `GuardrailViolation`, `redact` puts
            `<KIND>` in the place of each span (of the whole text, if the score has none), `log` records only.
        on_error: what happens when the scorer fails or is out of time: `block` (the default for rules that act)
            or `allow` (the default for `log`).
        name: how verdicts and telemetry call it; the scorer's name if not given.
        timeout: seconds; a `cheap` scorer runs inline and has none.

    Raises:
        ConfigurationError: for an unknown stage or action, an unusable name, or a scorer that cannot serve the stage.
    """

    stage: Stage
    action: Action = "block"
    on_error: OnError | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _known(self.stage, STAGES, "stage", self.name)
        _known(self.action, ACTIONS, "action", self.name)
        on_error = self.on_error or ("allow" if self.action == "log" else "block")
        _known(on_error, get_args(OnError), "on_error", self.name)
        object.__setattr__(self, "on_error", on_error)
        if self.stage != "output" and self.bound.requires("output"):
            msg = (
                f'scorer "{self.bound.name}" asks for "output", which the {self.stage} stage does not have: ask '
                'for "text" (the text under judgement at any stage) or map it: column_map={"output": "text"}'
            )
            raise ConfigurationError(msg)
        if self.edits:
            placeholder("")  # loads presidio-anonymizer now, so that the first redaction is as fast as the rest

    @property
    def acts(self) -> bool:
        """Whether this guardrail may stop or change a call; one that only logs may by failing, if it is told to."""
        return self.action != "log" or self.on_error == "block"

    @property
    def edits(self) -> bool:
        """Whether this guardrail changes text rather than stopping the call."""
        return self.action == "redact"

    @property
    def window(self) -> int | None:
        """How many characters of a stream must be held back for this rule; None if it needs the whole answer."""
        return self.bound.reach if self.edits and self.bound.cheap and not self.bound.is_async else None


@dataclass(frozen=True, kw_only=True)
class Monitor(_Rule):
    """A scorer that runs in the background on a sample of answered calls and never touches them.

    A scorer that also has a method `score_batch`, sync or async, is given batches: its parameters are filled by name as
    those of `score`, each with a list of one entry per call (None where a call does not have what is optional), and it
    returns a sequence of what `score` would return, one for each call, in order.

    Args:
        scorer: as for `Guardrail`.
        sample: the share of calls to score, 0 to 1; decided by the trace id, so that every process decides alike.
        where: which calls to score: a mapping of `operation`, `name`, `provider`, `model` or attributes of the call to
            a shell pattern, a plain value or a list of those, all of which must match, such as
            `{"model": ["gpt-*", "claude-*"], "tenant.id": "acme"}`; or a function of a Call that returns a bool, which
            runs on the caller's thread. A call for which it raises is not scored.
        on: `outermost` scores the outermost guarded call only, `every` each guarded call.
        active: whether it scores at all.
        name: how telemetry calls it; the scorer's name if not given.
        description: for people.
        timeout: seconds from when the scorer starts to run, or from when it is handed to the guard's `executor`. An
            async scorer is then cancelled; a sync one is left to itself, and another thread takes its place.
        batch_size: calls in a batch, at most; for `score_batch` only.
        batch_wait: seconds that the first call of a batch waits for others, at most; for `score_batch` only.

    Raises:
        ConfigurationError: for an option of the wrong kind or an unusable name.
    """

    sample: float = 1.0
    timeout: float = DEFAULT_MONITOR_TIMEOUT
    where: Where | None = field(default=None, hash=False)
    on: On = "outermost"
    active: bool = True
    description: str = ""
    batch_size: int = 16
    batch_wait: float = 0.05
    batch: BoundScorer | None = field(init=False, repr=False, compare=False)
    matches: Callable[[Call], bool] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_number(self.sample) and 0 <= self.sample <= 1):
            msg = f'sample of monitor "{self.name}" is {self.sample!r}; give a share between 0 and 1'
            raise ConfigurationError(msg)
        _known(self.on, get_args(On), "on", self.name)
        if not isinstance(self.active, bool):
            msg = f'active of monitor "{self.name}" is {self.active!r}; give True or False'
            raise ConfigurationError(msg)
        if not isinstance(self.description, str):
            msg = f'description of monitor "{self.name}" is {type(self.description).__name__}; give a text'
            raise ConfigurationError(msg)
        if not (is_number(self.batch_size, int) and self.batch_size >= 1):
            msg = f'batch_size of monitor "{self.name}" is {self.batch_size!r}; give a number of calls, 1 or more'
            raise ConfigurationError(msg)
        if not (is_number(self.batch_wait) and 0 <= self.batch_wait < math.inf):
            msg = f'batch_wait of monitor "{self.name}" is {self.batch_wait!r}; give seconds, 0 or more'
            raise ConfigurationError(msg)
        object.__setattr__(self, "matches", compile_where(self.where, self.name))
        score_batch = getattr(self.scorer, "score_batch", None)
        batch = BoundScorer(self.scorer, score_batch, self.bound.name) if callable(score_batch) else None
        object.__setattr__(self, "batch", batch)

    @property
    def policy(self) -> tuple[object, ...]:
        """What decides which calls are scored and how, the same in every process; for the digest of a guard."""
        batch = (self.batch_size, self.batch_wait) if self.batch is not None else ()
        return (self.sample, describe_where(self.where), self.on, self.active, *batch)

    def takes(self, trace_id: int) -> bool:
        """Whether the call in this trace is in the sample (the rule of OTel's TraceIdRatioBased)."""
        return self.sample >= 1 or (trace_id & _LOW_64_BITS) < self.sample * (_LOW_64_BITS + 1)


_LOW_64_BITS = (1 << 64) - 1


def is_number(value: object, kinds: type | tuple[type, ...] = (int, float)) -> bool:
    """Whether it is a number, and neither True nor False."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def _known(value: str, known: tuple[str, ...], what: str, rule: str) -> None:
    if value not in known:
        msg = f'unknown {what} "{value}" in rule "{rule}": {nearest(str(value), known)}'
        raise ConfigurationError(msg)
