"""Guard: a set of guardrails and monitors; the one object that adapters hold."""

from __future__ import annotations

import logging
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from functools import partial
from operator import attrgetter
from os import PathLike
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from opentelemetry._logs import LoggerProvider
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from . import _scope
from ._call import Call, Stage, expect_stage
from ._checks import expect_kind, expect_known, expect_mapping, expect_provider, expect_text, expect_wait
from ._drive import adrive, drive, inside_scorer
from ._judge import Case, Plan, Spanned, judge
from ._monitoring import MonitorQueue, Monitors, MonitorStats, without_personal_data
from ._nesting import nested
from ._pickled import Reference, guard_like, known
from ._policies import InForce, Policies
from ._policy import Policy
from ._root import Conversations, Root
from ._rules import Guardrail, Monitor
from ._scorer import check_name
from ._verdict import Finding, Verdict
from ._workers import Workers
from .errors import ConfigurationError, UnenforceableError
from .telemetry._emitter import Emitter
from .telemetry._options import TelemetryOptions
from .telemetry._records import Providers

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._op import AsyncOp, AsyncStreamOp, StreamOp, SyncOp
    from .config._loader import Loader
    from .config._reload import Watch

__all__ = ["Guard", "expect_guard"]

P = ParamSpec("P")
R = TypeVar("R")

Unenforceable = Literal["raise", "warn"]

_audit = logging.getLogger("llmguard.audit")
_NO_CALL: Mapping[str, Any] = MappingProxyType({})


class Guard:
    """Guardrails and monitors that are put around calls together.

    Args:
        rules: `Guardrail` and `Monitor` objects; names must be unique.
        name: how verdicts and telemetry call this guard.
        tracer_provider: the OpenTelemetry provider of spans; the global one if None.
        logger_provider: the OpenTelemetry provider of evaluation records; the global one if None.
        meter_provider: the OpenTelemetry provider of metrics; the global one if None.
        telemetry: what telemetry tells (content, which metrics); what the environment says if None.
        unenforceable: what an adapter does when a guardrail cannot be enforced where it was attached: `raise` an
            `UnenforceableError`, or `warn` and go on without it.
        refusal: refusal mode: what a stopped call answers with, in place of raising `GuardrailViolation`.
        queue: how many scores of monitors may be pending, and what happens to one more.
        executor: runs the sync scorers of monitors in the place of the guard's own threads; a ProcessPoolExecutor, say,
            for those that are CPU-bound. Scorer, inputs and score are then pickled. The guard never shuts it down.

    Raises:
        ConfigurationError: for something that is no rule, a name used twice or an unusable name.
    """

    source: Loader | None = None  # what `from_config` read the rules from
    watching: Watch | None = None  # what looks whether that has changed
    left_out: tuple[Guardrail, ...] = ()  # of the rules in force, those that this guard is without

    def __init__(
        self,
        *rules: Guardrail | Monitor,
        name: str = "default",
        tracer_provider: TracerProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        telemetry: TelemetryOptions | None = None,
        unenforceable: Unenforceable = "raise",
        refusal: str | None = None,
        queue: MonitorQueue | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.name = check_name(name, "guard")
        expect_known(unenforceable, ("raise", "warn"), "unenforceable", "Guard")
        self.unenforceable = unenforceable
        if refusal is not None:
            expect_text(refusal, "refusal of Guard")
        self.refusal = refusal
        expect_provider(tracer_provider, "tracer_provider", "get_tracer")
        expect_provider(logger_provider, "logger_provider", "get_logger")
        expect_provider(meter_provider, "meter_provider", "get_meter")
        expect_kind(telemetry, TelemetryOptions, "telemetry")
        told = telemetry or TelemetryOptions.from_environment()
        self._signals: list[Callable[[BaseException], bool]] = []
        self._covered: set[Stage | Literal["ends"]] = set()
        self.identity = object()  # what copies of this guard share
        self.workers = Workers(8, "llmguard-guardrail")
        self._heeds = told.content != "NO_CONTENT"
        self._policies = Policies(Policy(rules).heeding() if self._heeds else Policy(rules))
        providers = Providers(tracer_provider, logger_provider, meter_provider)
        self.emitter = Emitter(self.name, self.digest, providers, told)
        self._monitoring = Monitors(self.monitors, self.emitter, self._for_monitors, queue, executor)
        self.emitter.metering.watch(self)
        self._mark = known(self)

    @classmethod
    def from_config(
        cls,
        source: str | PathLike[str] | Mapping[str, Any],
        *,
        environ: Mapping[str, str] | None = None,
        reload: float | None = None,
        **options: Any,
    ) -> Self:
        """A guard with the rules of a file; `llmguard_middleware.config` describes it.

        Args:
            source: the path of a YAML file, or a mapping of the same shape.
            environ: the environment, for overrides and `${NAME}`; that of the process if not given.
            reload: seconds between two looks at the file, whose changes are put in force as `config.watch` says. The
                handle is `guard.watching`.
            options: of `Guard` itself (providers, executor, ...); they win over the file's.

        Raises:
            ConfigurationError: if anything is wrong, with a line `file:line:column: sentence` for each problem.
        """
        from .config._reload import start  # noqa: PLC0415 - only who has a file pays for pydantic and YAML

        return start(cls, source, environ, reload, options)

    def __repr__(self) -> str:
        rules = ", ".join([*(rule.name for rule in self.guardrails), *(monitor.name for monitor in self.monitors)])
        return f"Guard({rules}, name={self.name!r})"

    def __reduce__(self) -> tuple[Callable[..., Guard], Reference]:
        return guard_like, (self._mark, self.name, tuple(policy.digest for policy in self.policies))

    def __copy__(self) -> Guard:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Guard:
        return self

    @property
    def policy(self) -> Policy:
        """The rules in force; a call keeps those that it began with."""
        return self._policies.now.default

    @property
    def guardrails(self) -> tuple[Guardrail, ...]:
        """The active guardrails, in order."""
        return self.policy.guardrails

    @property
    def monitors(self) -> tuple[Monitor, ...]:
        """The monitors, in order."""
        return self.policy.monitors

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with the rules."""
        return self.policy.digest

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Every policy in force: the common one and those for some calls."""
        now = self._policies.now
        return (now.default, *(policy for _, policy in now.variants))

    def has_rules(self, stage: Stage) -> bool:
        """Whether any call may meet a guardrail of this stage."""
        return any(policy.at(stage) for policy in self.policies)

    @property
    def idle(self) -> bool:
        """Whether no call meets any rule or monitor."""
        return self._policies.now.idle

    # Every call asks several times: this property costs no frame of Python's.
    in_force: InForce = property(  # type: ignore[assignment]  # of what it gives
        attrgetter("_policies.now"),
        doc="The rules in force at this moment, of which a call keeps to what it began with.",
    )

    def policy_for(self, call: Call | None) -> Policy:
        """The rules for this call: those of the first variant that is for it, else the common ones."""
        return self._policies.now.choose(call)

    def swap(self, policy: Policy, variants: Sequence[tuple[Callable[[Call], bool], Policy]] = ()) -> None:
        """Put other rules in force, all at once; calls under way keep theirs.

        Args:
            policy: the rules.
            variants: other rules for some calls (a tenant's, say): the first whose filter takes the call.
        """
        for check in list(self._policies.checks.values()):
            check(policy)
            for _, variant in variants:
                check(variant)
        if self._heeds:
            policy, variants = policy.heeding(), [(takes, variant.heeding()) for takes, variant in variants]
        self._policies.now = InForce(policy, tuple(variants))
        self._policies.conversations = Conversations()
        self.emitter.digest = policy.digest
        everywhere = (policy, *(variant for _, variant in variants))
        self._monitoring.swap(list(dict.fromkeys(rule for one in everywhere for rule in one.monitors)))

    def untouched(self, error: BaseException) -> bool:
        """Whether this exception is a framework's signal, which passes as if there were no guard."""
        return any(signal(error) for signal in self._signals)

    def pass_untouched(self, signal: Callable[[BaseException], bool]) -> None:
        """Let a framework's signals (an interrupt that asks a person, say) pass: `signal` tells them from failures."""
        if signal not in self._signals:
            self._signals.append(signal)

    def covers(self, *stages: Stage, ends: bool = False) -> None:
        """Say that texts of these stages reach this guard: adapters and ops do, and whoever calls `check` for them.

        With `ends`, how the calls of a model ended does, too: an adapter that guards models says so.
        """
        self._covered.update(expect_stage(stage) for stage in stages)
        if ends:
            self._covered.add("ends")

    @property
    def covered(self) -> tuple[Stage, ...]:
        """The stages of which `covers` was said."""
        return tuple(stage for stage in self._covered if stage != "ends")

    def expect_covered(self, where: str) -> None:
        """Refuse guardrails of stages that no op and no adapter of this guard reaches.

        Raises:
            UnenforceableError: naming what reaches them.
        """
        rules = [rule for policy in self.policies for rule in policy.guardrails if not rule.bound.of_call]
        if missing := [rule for rule in rules if rule.stage not in self._covered]:
            how = '@guard.op(stages=("tool_call", "tool_result")) says what a function takes and gives'
            self.refuse(missing, where, f"nothing of this guard reaches that stage: {how}; or call guard.covers(...)")
        for policy in self.policies:
            self.expect_ends(policy, where)

    def expect_ends(self, policy: Policy, where: str) -> None:
        """Refuse guardrails about how a model's call ended, if no model is guarded: nothing else can ask them.

        Raises:
            UnenforceableError: saying to protect the model.
        """
        if "ends" not in self._covered:
            instead = "it is about how a model's call ended, so protect the model with the same guard first"
            self.refuse(policy.of_call, where, instead)

    def require(self, where: str, check: Callable[[Policy], None]) -> None:
        """Have `check` refuse policies that cannot be enforced where this guard is attached: this one, and later ones.

        Raises:
            UnenforceableError: what `check` raises for the policy in force.
        """
        check(self.policy)
        self._policies.checks[where] = check

    def rules(self, stage: Stage, *, role: str = "user") -> tuple[Guardrail, ...]:
        """The guardrails for a text of this role: redaction covers every message, blocking what users and tools say."""
        return self.policy.rules(stage, role=role)

    def without(self, rules: Sequence[Guardrail]) -> Guard:
        """This guard without some of its guardrails: same name, digest, telemetry and monitors."""
        rest = object.__new__(type(self))
        rest.__dict__.update(vars(self))
        rest._policies = self._policies.without(rules)
        rest.left_out = (*self.left_out, *rules)
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
        memory: Root | None = None,
        policy: Policy | None = None,
        bypassed: bool | None = None,
        beneath: Spanned | None = None,
    ) -> Plan[Verdict]:
        """The decision about one text, to be run by `drive` or `adrive`; `memory` is what its outermost call knows.

        `bypassed` is whether the call began in a bypass; found out if None. Scorers on threads run `beneath` a span.
        """
        policy = policy or self.policy
        rules = policy.rules(stage) if rules is None else rules
        if not rules:
            return Verdict("passed", stage, text, (), (), self.name, policy.digest)
        if bypassed or (bypassed is None and _scope.bypassed(self.identity) is not None):
            findings = tuple(Finding(rule.name, rule.remedy.name, "skipped") for rule in rules)
            return Verdict("skipped", stage, text, findings, (), self.name, policy.digest)
        if policy.of_call and not (rules := [rule for rule in rules if not rule.bound.of_call]):
            return Verdict("passed", stage, text, (), (), self.name, policy.digest)
        case = Case(rules, text, stage, available, self.name, policy.digest, memory, self.untouched, beneath)
        with nested() if inside_scorer.get() else nullcontext():
            verdict = yield from judge(case, _scope.deadline())
        if memory is not None:
            memory.keep(policy.digest, stage, text, verdict.findings)
        return verdict

    def check(
        self,
        text: str,
        *,
        stage: Stage,
        inputs: Mapping[str, Any] = _NO_CALL,
        attributes: Mapping[str, Any] = _NO_CALL,
        deadline: float | None = None,
    ) -> Verdict:
        """Judge one text directly, with no framework; nothing is raised for what it finds.

        What is flagged or failed is recorded in the current span's context.

        Args:
            text: what is judged.
            stage: by the guardrails of which stage.
            inputs: what their scorers may ask for besides `text`.
            attributes: of the call that this text belongs to, for rules that are for some calls only.
            deadline: seconds after which scorers still at work count as failed.
        """
        if (nothing := self._unjudged(text, stage)) is not None:
            return nothing
        if deadline is None:
            return self._told(drive(self._direct(text, stage, inputs, attributes), self.workers))
        with _scope.deadline_in(deadline):
            return self._told(drive(self._direct(text, stage, inputs, attributes), self.workers))

    async def acheck(
        self,
        text: str,
        *,
        stage: Stage,
        inputs: Mapping[str, Any] = _NO_CALL,
        attributes: Mapping[str, Any] = _NO_CALL,
        deadline: float | None = None,
    ) -> Verdict:
        """`check`, for async callers."""
        if (nothing := self._unjudged(text, stage)) is not None:
            return nothing
        with _scope.deadline_in(deadline):
            return self._told(await adrive(self._direct(text, stage, inputs, attributes), self.workers))

    def _told(self, verdict: Verdict) -> Verdict:
        if verdict.outcome not in ("passed", "skipped") or self.emitter.recorder is not None:
            self.emitter.checked(verdict)
        return verdict

    def _unjudged(self, text: str, stage: Stage) -> Verdict | None:
        """The verdict where no rule can apply, which should cost next to nothing."""
        now = self._policies.now
        if now.variants or type(text) is not str or now.default.at(expect_stage(stage)):
            return None
        return Verdict("passed", stage, text, (), (), self.name, now.default.digest)

    def _direct(
        self, text: str, stage: Stage, inputs: Mapping[str, Any], attributes: Mapping[str, Any]
    ) -> Plan[Verdict]:
        expect_text(text, "what check() judges")
        expect_mapping(inputs, "inputs of check()")
        now = self._policies.now
        if not now.selective:
            rules = now.default.rules(expect_stage(stage))
            return (yield from self.plan(text, stage, rules=rules, available=inputs, policy=now.default))
        call = Call("check", attributes={**(_scope.attributes() or {}), **attributes}, inputs=inputs)
        policy = now.choose(call)
        rules = policy.rules(expect_stage(stage), call=call)
        return (yield from self.plan(text, stage, rules=rules, available=inputs, policy=policy))

    @contextmanager
    def attributes(self, **attributes: Any) -> Iterator[None]:
        """Attributes of the calls made inside, for rules and tenants that are chosen by them; dots as `__`.

        As all that is said by `with`, they hold in this context: pass it on to threads with `contextvars.copy_context`,
        and put no `yield` inside, for whoever reads a suspended generator is in the same context. An op's stream or
        coroutine that is made inside keeps them, wherever it is read.
        """
        with _scope.with_attributes({name.replace("__", "."): value for name, value in attributes.items()}):
            yield

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Guardrails run inside must be done in so many seconds; those that are not count as failed."""
        with _scope.deadline_in(seconds):
            yield

    @contextmanager
    def bypass(self, *, reason: str) -> Iterator[None]:
        """Switch this guard's guardrails off for the calls made inside.

        Audited: the reason is logged (`llmguard.audit`), recorded, and on every span; each verdict says "skipped". Put
        no `yield` inside: while the generator is suspended, its reader would be bypassed, too.

        Raises:
            ConfigurationError: if no reason is given.
        """
        expect_text(reason, "reason of bypass()")
        if not reason.strip():
            msg = 'bypass() needs a reason for the audit, for example bypass(reason="support ticket 1234")'
            raise ConfigurationError(msg)
        _audit.warning('guard "%s" (%s) is bypassed: %s', self.name, self.digest, reason)
        self.emitter.bypassed(reason)
        with _scope.bypassing(self.identity, reason):
            yield

    @overload
    def op(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncOp[P, R]: ...  # type: ignore[overload-overlap]  # the narrower come first
    @overload
    def op(self, function: Callable[P, AsyncIterator[R]], /) -> AsyncStreamOp[P, R]: ...  # type: ignore[overload-overlap]  # the narrower come first
    @overload
    def op(self, function: Callable[P, Iterator[R]], /) -> StreamOp[P, R]: ...  # type: ignore[overload-overlap]  # the narrower come first
    @overload
    def op(self, function: Callable[P, R], /) -> SyncOp[P, R]: ...
    @overload
    def op(
        self, *, name: str | None = None, stages: tuple[Stage, Stage] = ("input", "output"), opaque: bool = False
    ) -> Callable[[Callable[..., Any]], Any]: ...
    def op(
        self,
        function: Any = None,
        *,
        name: str | None = None,
        stages: tuple[Stage, Stage] = ("input", "output"),
        opaque: bool = False,
    ) -> Any:
        """Put this guard around a function: a span, guardrails on its arguments and its result, monitors.

        Use bare (`@guard.op`) or with options, on sync and async functions and generators. See `Op`.

        Args:
            function: what it is put on.
            name: how telemetry calls it; the function's name if not given.
            stages: at which its arguments and its result are judged: ("tool_call", "tool_result") for a tool, ("input",
                "retrieval") for a retriever.
            opaque: let results pass that hold objects whose texts nobody can find, though a guardrail acts on them.

        Raises:
            ConfigurationError: if it is no function.
        """
        from ._op import make_op  # noqa: PLC0415 - an op is made of what is made of guards

        if function is None:
            return partial(make_op, self, name=name, stages=stages, opaque=opaque)
        return make_op(self, function, name, stages, opaque=opaque)

    def root(self, conversation: str = "") -> Root:
        """What a new outermost call shares with those below it."""
        return Root(conversation, self._policies.conversations)

    def warmup(self) -> None:
        """Run the set-up of every scorer now, in place of at its first score."""
        for rule in (*self.guardrails, *self.monitors):
            bound = rule.bound
            if bound.is_async:  # on the loop where it will score
                self.workers.submit_async(copy_context(), bound.awarm).result()
            else:
                bound.warm()

    def observe(
        self,
        call: Call,
        context: Context | None = None,
        *,
        outermost: bool = True,
        policy: Policy | None = None,
    ) -> None:
        """Give an answered call to the monitors; `context` holds the span that was scored. Never raises.

        Waits only if the `queue` says so. `outermost` is whether no other call is around this one,
        `policy` the rules that the call began with, if they are not those in force.
        """
        now = self._policies.now
        policy = policy or now.default
        only = None if policy is now.default and not now.variants else policy.monitors
        self._monitoring.observe(call, context, outermost=outermost, only=only)

    @property
    def dropped(self) -> int:
        """How many scores of monitors were dropped; `monitoring` says what became of the others."""
        return self._monitoring.stats.dropped

    @property
    def monitoring(self) -> MonitorStats:
        """What became of all scores of the monitors so far, at this moment."""
        return self._monitoring.stats

    @property
    def settled(self) -> Mapping[Any, int]:
        """How many scores of monitors came to which end: the books themselves, which go on."""
        return self._monitoring.settled

    def flush(self, timeout: float = 5.0) -> int:
        """Wait until the monitors are done, and content is uploaded, at most `timeout` seconds.

        Returns how many scores are still pending.
        """
        expect_wait(timeout, "timeout of flush()")
        until = monotonic() + timeout
        pending = self._monitoring.flush(timeout)
        self.emitter.flush(max(0.0, until - monotonic()))
        return pending

    def shutdown(self, timeout: float = 5.0) -> int:
        """Take no more calls for the monitors, then flush. Guardrails go on working."""
        until = monotonic() + timeout
        pending = self._monitoring.shutdown(timeout)
        self.emitter.flush(max(0.0, until - monotonic()))  # other guards may upload to the same place
        return pending

    def _for_monitors(self, call: Call) -> Call:
        def edited(text: str, stage: Stage, rules: Sequence[Guardrail]) -> str:
            verdict = drive(self.plan(text, stage, rules=rules, bypassed=False), self.workers)
            return "" if verdict.stops else verdict.guarded

        return without_personal_data(call, self.policy_for(call), edited)


def expect_guard(value: Any, where: str) -> None:
    """Say what an adapter's function takes, if it was given something else for a guard.

    Raises:
        ConfigurationError: if `value` is no Guard.
    """
    if isinstance(value, Guard):
        return
    given, instead = type(value).__name__, "build one of your rules: Guard(rule, ...)"
    if isinstance(value, type):
        given = f"the class {value.__name__}"
    elif isinstance(value, (list, tuple)):
        instead = "one guard holds all rules, Guard(*rules), and of several guards each is put around the one before"
    elif isinstance(value, (str, PathLike)):
        instead = "read a file of rules with Guard.from_config(...)"
    elif isinstance(getattr(value, "guard", None), Guard):
        instead = "pass the guard that it was made of"
    msg = f"{where} takes a Guard and was given {given}; {instead}"
    raise ConfigurationError(msg)
