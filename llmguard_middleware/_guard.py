"""Guard: a set of guardrails and monitors; the one object that adapters hold."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from opentelemetry._logs import LoggerProvider
from opentelemetry.context import Context
from opentelemetry.trace import TracerProvider

from ._call import STAGES, Call, Stage
from ._drive import adrive, drive
from ._edits import with_texts
from ._judge import Plan, judge
from ._monitors import Monitors
from ._queue import MonitorQueue, MonitorStats
from ._rules import Guardrail, Monitor
from ._scorer import check_name
from ._verdict import Verdict
from ._workers import Workers
from .errors import ConfigurationError, UnenforceableError, nearest
from .telemetry._emitter import Emitter

__all__ = ["Guard", "expect_guard"]

Unenforceable = Literal["raise", "warn"]

_NO_CALL: Mapping[str, Any] = MappingProxyType({})


class Guard:
    """Guardrails and monitors that are put around calls together.

    Args:
        rules: `Guardrail` and `Monitor` objects; names must be unique.
        name: how verdicts and telemetry call this guard.
        tracer_provider: the OpenTelemetry provider of spans; the global one if None.
        logger_provider: the OpenTelemetry provider of evaluation records; the global one if None.
        unenforceable: what an adapter does when a guardrail cannot be enforced where it was attached: `raise` an
            `UnenforceableError`, or `warn` and go on without it.
        queue: how many scores of monitors may be pending, and what happens to one more.
        executor: runs the sync scorers of monitors in the place of the guard's own threads; a ProcessPoolExecutor, say,
            for those that are CPU-bound. Scorer, inputs and score are then pickled. The guard never shuts it down.

    Raises:
        ConfigurationError: for something that is no rule, a name used twice or an unusable name.
    """

    def __init__(
        self,
        *rules: Guardrail | Monitor,
        name: str = "default",
        tracer_provider: TracerProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        unenforceable: Unenforceable = "raise",
        queue: MonitorQueue | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.name = check_name(name, "guard")
        self.unenforceable = unenforceable
        _check(rules, unenforceable)
        _provider(tracer_provider, "tracer_provider", "get_tracer")
        _provider(logger_provider, "logger_provider", "get_logger")
        self.guardrails = tuple(rule for rule in rules if isinstance(rule, Guardrail))
        self.monitors = tuple(rule for rule in rules if isinstance(rule, Monitor))
        self.digest = _digest(rules)
        self._by_stage: dict[Stage, tuple[Guardrail, ...]] = {
            stage: tuple(rule for rule in self.guardrails if rule.stage == stage) for stage in STAGES
        }
        self._editing = {stage: tuple(rule for rule in rules if rule.edits) for stage, rules in self._by_stage.items()}
        self.workers = Workers(8, "llmguard-guardrail")
        self.emitter = Emitter(self.name, self.digest, tracer_provider, logger_provider)
        self._monitoring = Monitors(self.monitors, self.emitter, self._without_personal_data, queue, executor)

    def __repr__(self) -> str:
        rules = ", ".join([*(rule.name for rule in self.guardrails), *(monitor.name for monitor in self.monitors)])
        return f"Guard({rules}, name={self.name!r})"

    def rules(self, stage: Stage, *, role: str = "user") -> tuple[Guardrail, ...]:
        """The guardrails for a text of this role: redaction covers every message, blocking what users and tools say."""
        return self._by_stage[stage] if stage != "input" or role in ("user", "tool") else self._editing[stage]

    def without(self, rules: Sequence[Guardrail]) -> Guard:
        """This guard without some of its guardrails: same name, digest, telemetry and monitors."""

        def kept(by_stage: Mapping[Stage, Sequence[Guardrail]]) -> dict[Stage, tuple[Guardrail, ...]]:
            return {stage: tuple(rule for rule in those if rule not in rules) for stage, those in by_stage.items()}

        rest = copy.copy(self)
        rest._by_stage, rest._editing = kept(self._by_stage), kept(self._editing)  # noqa: SLF001 - a copy of this one
        return rest

    def refuse(self, rules: Iterable[Guardrail], where: str, instead: str) -> None:
        """Refuse the acting ones of these rules, which `where` cannot enforce: an adapter never skips a rule silently.

        Raises:
            UnenforceableError: for the first of them, naming what to do `instead`; only warns if the guard says so.
        """
        for rule in rules:
            if not rule.acts:
                continue
            msg = (
                f'{where} cannot enforce guardrail "{rule.name}" ({rule.action} at the {rule.stage} stage): {instead}, '
                'or build the guard with unenforceable="warn" to go on without it'
            )
            if self.unenforceable == "raise":
                raise UnenforceableError(msg)
            warnings.warn(msg, stacklevel=3)

    def plan(
        self,
        text: str,
        stage: Stage,
        *,
        rules: Sequence[Guardrail] | None = None,
        available: Mapping[str, Any] = _NO_CALL,
    ) -> Plan[Verdict]:
        """The decision about one text, to be run by `drive` or `adrive`."""
        return judge(self._by_stage[stage] if rules is None else rules, text, stage, available, self.name, self.digest)

    def check(self, text: str, *, stage: Stage, inputs: Mapping[str, Any] = _NO_CALL) -> Verdict:
        """Judge one text directly, with no framework; `inputs` are what its scorers may ask for besides `text`."""
        return drive(self.plan(_text(text), _stage(stage), available=inputs), self.workers)

    async def acheck(self, text: str, *, stage: Stage, inputs: Mapping[str, Any] = _NO_CALL) -> Verdict:
        """`check`, for async callers."""
        return await adrive(self.plan(_text(text), _stage(stage), available=inputs), self.workers)

    def observe(self, call: Call, context: Context | None = None, *, outermost: bool = True) -> None:
        """Give an answered call to the monitors; `context` holds the span that was scored. Never raises.

        Waits only if the `queue` says so. `outermost` is whether no other call is around this one.
        """
        self._monitoring.observe(call, context, outermost=outermost)

    @property
    def dropped(self) -> int:
        """How many scores of monitors were dropped; `monitoring` says what became of the others."""
        return self._monitoring.stats.dropped

    @property
    def monitoring(self) -> MonitorStats:
        """What became of all scores of the monitors so far, at this moment."""
        return self._monitoring.stats

    def flush(self, timeout: float = 5.0) -> int:
        """Wait until the monitors are done, at most `timeout` seconds; return how many scores are still pending."""
        return self._monitoring.flush(timeout)

    def shutdown(self, timeout: float = 5.0) -> int:
        """Take no more calls for the monitors, then flush. Guardrails go on working."""
        return self._monitoring.shutdown(timeout)

    def _without_personal_data(self, call: Call) -> Call:
        """The call as a monitor may see it: what the redacting guardrails of either end remove is removed here too."""

        def clean(value: Any, stage: Stage) -> Any:
            rules = self._editing[stage]
            return with_texts(value, partial(self._redacted, stage=stage, rules=rules)) if rules else value

        return call.but(
            inputs=clean(call.inputs, "input"),
            messages=tuple(replace(m, text=clean(m.text, "input")) for m in call.messages),
            context=clean(call.context, "input"),
            output=clean(call.output, "output"),
        )

    def _redacted(self, text: str, stage: Stage, rules: Sequence[Guardrail]) -> str:
        verdict = drive(self.plan(text, stage, rules=rules), self.workers)
        return "" if verdict.stops else verdict.guarded


def _check(rules: Sequence[Any], unenforceable: str) -> None:
    seen: set[str] = set()
    for rule in rules:
        if not isinstance(rule, (Guardrail, Monitor)):
            given = type(rule).__name__
            msg = f'{given} is not a rule: wrap a scorer as Guardrail(scorer, stage="input") or Monitor(scorer)'
            raise ConfigurationError(msg)
        if rule.name in seen:
            msg = f'two rules are called "{rule.name}"; give one of them another name, for example name="{rule.name}-2"'
            raise ConfigurationError(msg)
        seen.add(rule.name)
    if unenforceable not in ("raise", "warn"):
        msg = f'unknown unenforceable="{unenforceable}": {nearest(str(unenforceable), ("raise", "warn"))}'
        raise ConfigurationError(msg)


def expect_guard(value: Any, where: str) -> None:
    """Say what an adapter's function takes, if it was given something else for a guard.

    Raises:
        ConfigurationError: if `value` is no Guard.
    """
    if not isinstance(value, Guard):
        msg = f"{where} takes a Guard and was given {type(value).__name__}; build one of your rules: Guard(rule, ...)"
        raise ConfigurationError(msg)


def _text(text: str) -> str:
    if not isinstance(text, str):
        msg = f"check() judges a text and was given {type(text).__name__}"
        raise ConfigurationError(msg)
    return text


def _provider(provider: Any, what: str, method: str) -> None:
    if provider is not None and not callable(getattr(provider, method, None)):
        given = type(provider).__name__
        msg = f"{what}= takes an OpenTelemetry provider and was given {given}; of configure()'s result pass .{what}"
        raise ConfigurationError(msg)


def _stage(stage: Stage) -> Stage:
    if stage not in STAGES:
        msg = f'unknown stage "{stage}": {nearest(str(stage), STAGES)}'
        raise ConfigurationError(msg)
    return stage


def _digest(rules: Sequence[Guardrail | Monitor]) -> str:
    """Twelve hex digits that change with the policy: the rules in order, with their options."""
    policy = [
        (type(rule).__name__, rule.name, rule.bound.name, rule.bound.described, rule.timeout)
        + ((rule.stage, rule.action, rule.on_error) if isinstance(rule, Guardrail) else (rule.sample,))
        for rule in rules
    ]
    return hashlib.sha256(repr(policy).encode()).hexdigest()[:12]
