"""Guardrail and Monitor: a scorer and what to do with its score."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ._actions import Action, as_action
from ._breaker import Breaker, Circuit
from ._cache import ScoreCache, VerdictCache
from ._call import STAGES, Call, Stage
from ._checks import expect_bool, expect_count, expect_kind, expect_known, expect_seconds, expect_text, is_number
from ._conditions import AllowList, Condition
from ._edits import MAX_HOLD
from ._score import Score
from ._scorer import BoundScorer, bind, check_name
from ._where import Where, compile_where, describe_where
from .errors import ConfigurationError

__all__ = ["Guardrail", "Monitor", "OnError", "is_of_model"]

OnError = Literal["block", "allow"]
Streaming = Literal["hold", "window"]
On = Literal["outermost", "every"]

DEFAULT_TIMEOUT = 10.0
DEFAULT_MONITOR_TIMEOUT = 60.0
_BREAKER = Breaker()  # this very object stands for "not said"
_log = logging.getLogger("llmguard.guardrails")


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What both kinds of rule share: a scorer, a name and a time limit in seconds."""

    scorer: Any = field(kw_only=False)
    name: str = ""
    timeout: float = DEFAULT_TIMEOUT
    active: bool = True
    description: str = ""
    bound: BoundScorer = field(init=False, repr=False, compare=False)

    def described(self) -> tuple[Any, ...]:
        """What tells this rule from another, the same in every process: what a guard's digest is made of."""
        return type(self).__name__, self.name, self.bound.name, self.bound.described, self.timeout

    def __post_init__(self) -> None:
        bound = bind(self.scorer, self.name)
        object.__setattr__(self, "bound", bound)
        object.__setattr__(self, "name", check_name(self.name or bound.name, "rule"))
        expect_seconds(self.timeout, f'timeout of rule "{self.name}"')
        where = f'{type(self).__name__.lower()} "{self.name}"'
        expect_bool(self.active, f"active of {where}")
        expect_text(self.description, f"description of {where}")


@dataclass(frozen=True, kw_only=True)
class Guardrail(_Rule):
    """A scorer that runs inline and may stop or change what passes.

    Args:
        scorer: a function, an object with `score(...)`, or what `@scorer` made.
        stage: which text it judges: input, output, retrieval, tool_call, tool_result or embedding.
        action: what happens when the score is flagged: a word (block, redact, mask, pseudonymize, replace, reask, log)
            or an `Action` with options, such as `Mask(keep_last=4)`, `Hash(key=...)` or `Encrypt(key=...)`.
        above: flag values greater than this, instead of what the scorer says.
        below: flag values less than this, likewise; with `above`, either flags.
        when: flag scores for which this function returns True, likewise.
        on_error: what happens when the scorer fails or is out of time: `block` (the default for rules that act)
            or `allow` (the default for `log`).
        name: how verdicts and telemetry call it; the scorer's name if not given.
        timeout: seconds; a `cheap` scorer runs inline and has none.
        roles: whose messages it judges at the input stage; by default all of them if it edits, else user and tool.
        where: for which calls: a mapping such as `{"model": "gpt-*", "tenant.id": ["acme", "beta"]}` of shell patterns
            or values by `operation`, `name`, `provider`, `model` or attribute, or a function of a `Call`.
        allow: texts, and compiled patterns of texts, that are never flagged (the firm's own address, say).
        race: at the input stage, judge while the model already works and hold the answer until the verdict is there
            (block and log only).
        stream: `window` lets an answer leave while it is judged, which means that a prefix is out when a blocking rule
            flags; `hold` (the default) holds it until the verdict, except where a local scorer edits spans.
        cache: keep scores, by a hash of what was scored.
        breaker: when to leave alone a scorer whose service is away; None never does. Where it is not given, rules whose
            `on_error` is `block` have a `Breaker()` and those with `allow` none, since an open circuit would let all
            calls pass unjudged. A `cheap` scorer has none.
        active: False switches the rule off and keeps it in its place.
        description: for people who read the policy.

    Raises:
        ConfigurationError: for an unknown stage or action, an unusable name, or a scorer that cannot serve the stage.
    """

    stage: Stage
    action: str | Action = "block"
    above: float | None = None
    below: float | None = None
    when: Callable[[Score], bool] | None = None
    on_error: OnError | None = None
    roles: Sequence[str] | None = None
    where: Where | None = None
    allow: Sequence[Any] = ()
    race: bool = False
    stream: Streaming = "hold"
    cache: VerdictCache | None = None
    breaker: Breaker | None = _BREAKER
    filter: Callable[[Call], bool] | None = field(init=False, repr=False, compare=False)
    failing: Callable[[Call], bool] | None = field(init=False, repr=False, compare=False)  # for calls that failed
    remedy: Action = field(init=False, repr=False, compare=False)
    condition: Condition = field(init=False, repr=False, compare=False)
    allowed: AllowList = field(init=False, repr=False, compare=False)
    circuit: Circuit | None = field(init=False, repr=False, compare=False)
    scores: ScoreCache | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_known(self.stage, STAGES, "stage", f'rule "{self.name}"')
        expect_bool(self.race, f'race of rule "{self.name}"')
        expect_kind(self.cache, VerdictCache, f'cache of rule "{self.name}"')
        expect_kind(self.breaker, Breaker, f'breaker of rule "{self.name}"')
        remedy = as_action(self.action, self.name)
        derived: dict[str, Any] = {"remedy": remedy, "action": remedy.name}
        derived["roles"] = _roles(self.roles, self.name)
        derived["on_error"] = self.on_error or ("allow" if remedy.name == "log" else "block")
        expect_known(derived["on_error"], get_args(OnError), "on_error", f'rule "{self.name}"')
        expect_known(self.stream, get_args(Streaming), "stream", f'rule "{self.name}"')
        derived["condition"] = Condition(self.above, self.below, self.when)
        derived["condition"].check(self.name)
        filter_ = _sure(compile_where(self.where, self.name))
        derived["failing"] = filter_
        derived["filter"] = _of_models(filter_) if self.bound.of_call else filter_
        derived["allowed"] = AllowList(self.allow, self.name)
        derived["allow"] = tuple(self.allow)
        breaker = None if self.breaker is _BREAKER and derived["on_error"] == "allow" else self.breaker
        derived["breaker"] = breaker
        derived["circuit"] = Circuit(breaker) if breaker is not None and not self.inline else None
        derived["scores"] = ScoreCache(self.cache, self.bound) if self.cache is not None else None
        for name, value in derived.items():
            object.__setattr__(self, name, value)
        self._check()
        remedy.load()

    def _check(self) -> None:
        if self.stage != "output" and self.bound.requires("output"):
            msg = (
                f'scorer "{self.bound.name}" asks for "output", which the {self.stage} stage does not have: ask '
                'for "text" (the text under judgement at any stage) or map it: column_map={"output": "text"}'
            )
            raise ConfigurationError(msg)
        if self.bound.of_call and (self.stage != "output" or self.action not in ("block", "log") or not self.inline):
            msg = (
                f'scorer "{self.bound.name}" is about how a call ended, so rule "{self.name}" is for the output stage, '
                "and for block or log"
            )
            raise ConfigurationError(msg)
        if self.race and (self.stage != "input" or self.action not in ("block", "log")):
            msg = (
                f'race=True of rule "{self.name}" is for block and log at the input stage: the model has read the text'
            )
            raise ConfigurationError(msg)
        if self.action == "reask" and self.stage != "output":
            msg = f'rule "{self.name}" cannot reask at the {self.stage} stage: only an answer can be asked for again'
            raise ConfigurationError(msg)
        if self.stream == "window" and (self.stage != "output" or self.action not in ("block", "log")):
            msg = f'stream="window" of rule "{self.name}" is for block at the output stage; edits of spans need no word'
            raise ConfigurationError(msg)

    def described(self) -> tuple[Any, ...]:
        """As for every rule."""
        condition = (self.above, self.below, describe_where(self.when))
        allowed = [one if isinstance(one, str) else (one.pattern, one.flags) for one in self.allow]
        scope = (self.roles, describe_where(self.where), allowed)
        how = (self.race, self.stream, self.active, repr(self.cache), repr(self.breaker))
        return (*super().described(), self.stage, self.remedy.described(), self.on_error, condition, scope, how)

    @property
    def acts(self) -> bool:
        """Whether this guardrail may stop or change a call; one that only logs may by failing, if it is told to."""
        return self.action != "log" or self.on_error == "block"

    @property
    def edits(self) -> bool:
        """Whether this guardrail changes text rather than stopping the call."""
        return bool(self.remedy.edits)

    @property
    def inline(self) -> bool:
        """Whether its scorer runs on the calling thread."""
        return self.bound.cheap and not self.bound.is_async

    @property
    def window(self) -> int | None:
        """How many characters of a stream must be held back for this rule; None if it needs the whole answer."""
        local = self.inline and self.bound.reach is not None and self.bound.reach <= MAX_HOLD // 2
        windowed = self.remedy.edits == "spans" or (self.remedy.stops and self.stream == "window")
        return self.bound.reach if local and windowed and not self.condition else None

    @property
    def holds(self) -> bool:
        """Whether nothing of a streamed answer may leave before this rule has judged all of it."""
        return self.acts and self.window is None and self.stream != "window"

    def covers(self, role: str) -> bool:
        """Whether it judges input messages of this role."""
        if self.roles is not None:
            return role in self.roles
        return self.edits or role in ("user", "tool")


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
    batch_size: int = 16
    batch_wait: float = 0.05
    batch: BoundScorer | None = field(init=False, repr=False, compare=False)
    matches: Callable[[Call], bool] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_number(self.sample) and 0 <= self.sample <= 1):
            msg = f'sample of monitor "{self.name}" is {self.sample!r}; give a share between 0 and 1'
            raise ConfigurationError(msg)
        where = f'monitor "{self.name}"'
        expect_known(self.on, get_args(On), "on", where)
        expect_count(self.batch_size, f"batch_size of {where}", 1)
        if not (is_number(self.batch_wait) and 0 <= self.batch_wait < math.inf):
            msg = f"batch_wait of {where} is {self.batch_wait!r}; give seconds, 0 or more"
            raise ConfigurationError(msg)
        object.__setattr__(self, "matches", compile_where(self.where, self.name))
        score_batch = getattr(self.scorer, "score_batch", None)
        batch = BoundScorer(self.scorer, score_batch, self.bound.name) if callable(score_batch) else None
        object.__setattr__(self, "batch", batch)

    def described(self) -> tuple[Any, ...]:
        """As for every rule."""
        batch = (self.batch_size, self.batch_wait) if self.batch is not None else ()
        return (*super().described(), self.sample, describe_where(self.where), self.on, self.active, *batch)

    def takes(self, trace_id: int) -> bool:
        """Whether the call in this trace is in the sample (the rule of OTel's TraceIdRatioBased)."""
        return self.sample >= 1 or (trace_id & _LOW_64_BITS) < self.sample * (_LOW_64_BITS + 1)


_LOW_64_BITS = (1 << 64) - 1


def _roles(roles: Any, rule: str) -> tuple[str, ...] | None:
    if roles is None:
        return None
    if not isinstance(roles, (list, tuple)) or not roles or not all(role in _ROLES for role in roles):
        msg = f'roles of rule "{rule}" is {roles!r}; give a list of some of {", ".join(_ROLES)}'
        raise ConfigurationError(msg)
    return tuple(roles)


_ROLES = ("system", "user", "assistant", "tool")


def is_of_model(call: Call) -> bool:
    """Whether a model is asked for an answer."""
    return call.operation in ("chat", "text_completion", "generate_content")


def _of_models(filter_: Callable[[Call], bool] | None) -> Callable[[Call], bool]:
    """This filter for calls of models; all other calls are not taken."""
    return lambda call: is_of_model(call) and (filter_ is None or filter_(call))


def _sure(filter_: Callable[[Call], bool] | None) -> Callable[[Call], bool] | None:
    """A filter that takes a call if it cannot tell: a guardrail is never skipped because of a mistake."""
    if filter_ is None:
        return None

    def takes(call: Call) -> bool:
        try:
            return filter_(call)
        except Exception as error:  # noqa: BLE001 - a filter is foreign code
            _log.warning("a filter of a guardrail failed (%s), so the guardrail applies", type(error).__name__)
            return True

    return takes
