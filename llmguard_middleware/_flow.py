"""Flow: one guarded call from its request to the end of its answer. Adapters translate, a Flow acts.

An adapter opens a Flow, drives `admit` before and `release` (or a stream) after the framework's own call, and tells
it how the call ended. The span, the verdicts on it, the violation and the monitors are dealt with here, once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel

from . import _scope
from ._asking import Asking, judge_asking
from ._call import Call, Message, Stage
from ._capturing import capture, close, take_out
from ._current import Active, around, innermost, reentered, surrounded
from ._edits import Edit, cut
from ._ends import verdict_on_end
from ._guard import Guard
from ._guarded_stream import GuardedStream
from ._judge import Case, Plan
from ._leaves import with_texts
from ._policies import InForce
from ._policy import Policy
from ._races import Races
from ._reask import AskAgain, feedback
from ._root import Root
from ._rules import Guardrail, is_of_model
from ._verdict import Verdict
from .errors import GuardrailViolation, LLMGuardError
from .telemetry import _names as names
from .telemetry._call_span import CallSpan
from .telemetry._content import Content

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AskAgain", "Flow", "innermost", "reentered", "surrounded"]


class Flow:
    """One call under one guard. Use as a context manager: leaving it by an exception ends the call as failed.

    Args:
        guard: whose rules apply.
        call: what is asked, as far as the framework told.
        owner: the object that is guarded; two guards on one owner share the span of the outer one.
        parent: the OpenTelemetry context above; the current one if None.
        span: an open span to join instead of starting one.
        outermost: whether nothing of this guard is above, so that the monitors score this call; found out if None.
        root: what this call shares with others under the same outermost call, where that is above but not around this
            code (a callback's run); found out if None.
    """

    # What few calls have stays with the class.
    in_force: InForce
    policy: Policy
    outermost = True
    _root: Root | None = None
    _ends_root = True
    _restores = True  # whether originals come back here: what is above but not around (a callback's run) cannot do it
    _calls_no_tool = False  # what an agent's model asks of tools is judged when a tool is called
    relays = False  # whether answers right below leave to the caller as they are, as those of an agent do
    _joined = False
    bypassed = False  # for the whole call, wherever a stream of it is read
    verdicts: tuple[Verdict, ...] = ()
    _races: Races | None = None
    _asked_again = 0
    _told_end = False  # whether the rules about how a call ends have judged its answer
    _ended = False
    _identified = False  # whether `call` knows its span
    _content: Content | None = None
    outside: Sequence[Flow] = ()  # those that are around it
    question: Asking | None = None  # of a judge to its model, which nothing is judged of

    def __init__(
        self,
        guard: Guard,
        call: Call,
        *,
        owner: object = None,
        parent: otel.Context | None = None,
        span: CallSpan | None = None,
        outermost: bool | None = None,
        root: Root | None = None,
    ) -> None:
        self.guard = guard
        self.owner = owner
        self._call = call
        # From the outermost call to the innermost the same rules are in force, whatever is swapped meanwhile; which of
        # them are for this call depends on its attributes.
        self.in_force = guard.in_force
        if (question := judge_asking()) is not None:
            call, root = self._asked_by_judge(question), None
        if root is not None:
            self._ends_root = False
        if flows := around():
            above = self._enclose(flows)
            root = root or (None if above is None else above.root)
            span = span or self._shared()
        if outermost is not None:
            self.outermost = outermost
        if span is not None:
            self._joined = True
        if said := _scope.anything():
            self._call = call = call.but(attributes={**call.attributes, **(_scope.attributes() or {})})
        self.policy = self.in_force.choose(call)
        if root is not None:
            self._root = root
        self.span: CallSpan = span or guard.emitter.start(call, parent, self.policy.digest)
        if self._joined and guard.emitter.capture is not None:
            self.span.shared()
        self._started = call.started or time_ns()
        if said and (reason := _scope.bypassed(guard.identity)) is not None:
            self.bypassed = True
            self.span.bypassed(reason)

    def _asked_by_judge(self, question: Asking) -> Call:
        """No rule is for this call, and nothing that is above it stops it; its span says whose it is."""
        self.question, self.in_force = question, self.guard.in_force.emptied()
        self._call = call = self._call.but(attributes={**self._call.attributes, names.JUDGE: question.judge})
        return call

    @property
    def root(self) -> Root:
        """What this call shares with others under the same outermost call."""
        # Most calls are alone: it is made when it is wanted, once, whichever thread wants it.
        return self._root or self.__dict__.setdefault("_root", self.guard.root(self._call.conversation))

    @property
    def violated(self) -> bool:
        """Whether this call, or one under the same outermost call, was stopped."""
        return self._root is not None and self._root.violation is not None

    @property
    def call(self) -> Call:
        """The call as far as it is known."""
        if not self._identified:
            self._identified = True
            trace_id, span_id = self.span.identity
            self._call = self._call.but(started=self._started, trace_id=trace_id, span_id=span_id)
        return self._call

    @call.setter
    def call(self, call: Call) -> None:
        self._call = call  # made of the one before

    @property
    def content(self) -> Content | None:
        """Where an adapter tells what was said, as the guardrails let it pass; None if nobody captures it."""
        if self._content is None and self.guard.emitter.capture is not None and self.question is None:
            self._content = Content()
        return self._content

    def turned_out(self, call: Call) -> None:
        """The framework tells only now what was called; the rules are those that were chosen before."""
        self.call = call
        if not self._joined:
            self.span.renamed(call)

    def _shared(self) -> CallSpan | None:
        """The span of another guard's call that is around this very one."""
        return self.outside[-1].span if self.owner is not None and surrounded(self.owner) else None

    def goes_on(self, in_force: InForce) -> None:
        """End the span that was joined: this very call began it, under these rules, when there was nothing to judge."""
        self.in_force, self.policy, self._joined = in_force, in_force.choose(self._call), False

    def _enclose(self, flows: Sequence[Flow]) -> Flow | None:
        """Find this call's place inside others; returns the nearest of this guard."""
        guard = self.guard
        self.outside = flows
        # A guard without some of its rules may be around one with all of them, which has to apply them all the same.
        same = next((flow for flow in reversed(flows) if flow.guard is guard), None)
        if same is not None:
            self.in_force = same.in_force
        above = next((flow for flow in reversed(flows) if flow.guard.identity is guard.identity), None)
        if above is not None:
            self.outermost = self._ends_root = False
            self._restores = above.relays and above._restores  # noqa: SLF001 - one of us
            self._calls_no_tool = above.relays and self._call.operation == "chat"
        return above

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.stopped(error)

    def active(self) -> Active:
        """Make this call the current one, so that spans nest under it. For a stream: around each step, not all."""
        return Active(self)

    def rules(self, stage: Stage, *, role: str = "user") -> tuple[Guardrail, ...]:
        """The guardrails for a text of this role in this call."""
        if self._calls_no_tool and stage == "tool_call":
            return ()
        return self.policy.rules(stage, role=role, call=self.call)

    def judge(self, text: str, stage: Stage, *, role: str = "user") -> Plan[str]:
        """Judge one text of this call; returns the text as it may go on.

        Raises:
            GuardrailViolation: if a guardrail stops the call, or stopped one below it.
        """
        self.root.check()
        rules: Sequence[Guardrail] = self.rules(stage, role=role)
        if not rules or not text:
            return text
        available = self.call.available()
        if stage == "input":
            rules = yield from self._race(text, rules, available)
        return self.noted((yield from self._verdict(text, stage, rules, available)))

    def judge_all(self, texts: Sequence[str], stage: Stage) -> Plan[list[str]]:
        """`judge`, for several texts; those of the caller's own, so to a user's message."""
        judged: list[str] = []
        for text in texts:
            judged.append((yield from self.judge(text, stage)))  # noqa: PERF401 - a comprehension cannot yield
        return judged

    def edits(
        self, text: str, stage: Stage, *, role: str = "user", reask: bool = False, known: Collection[Edit] = ()
    ) -> Plan[Sequence[Edit]]:
        """Judge one text of this call, or several that are shown as one; returns the edits to be made to it.

        Args:
            text: what is judged.
            stage: by the guardrails of which stage.
            role: whose text it is.
            reask: as for `release`.
            known: edits that a part of this text got already, and that were told of then.

        Raises:
            GuardrailViolation: if a guardrail stops the call, or stopped one below it.
            AskAgain: if the model is to be asked again.
        """
        self.root.check()
        rules: Sequence[Guardrail] = self.rules(stage, role=role)
        available = self.call.available() if rules else {}
        if rules and stage == "input":
            rules = yield from self._race(text, rules, available)
        if not rules:
            return ()
        verdict = yield from self._verdict(text, stage, rules, available)
        self._ask_again(verdict, rules, reask=reask)
        self._noted_anew(verdict, known)
        return verdict.edits

    def edits_beside(self, text: str, stage: Stage, *, known: Collection[Edit] = ()) -> Plan[Sequence[Edit]]:
        """The edits to be made to what is said beside an answer (facts of its provider, an exception).

        Only what was found in a place of it counts: what a rule thinks of answers as a whole is not about it. `known`
        is as for `edits`.

        Raises:
            GuardrailViolation: if a guardrail that found something stops the call.
        """
        # One that neither edits places nor runs inline, as a judge, is not asked: it thinks of answers, and costs.
        rules = [rule for rule in self.rules(stage) if rule.remedy.edits == "spans" or rule.bound.cheap]
        if not rules or not text:
            return ()
        verdict = yield from self._verdict(text, stage, rules, self.call.available())
        flagged = [one for one in verdict.findings if one.outcome not in ("passed", "skipped", "error")]
        if not any(one.score is not None and one.score.spans for one in flagged):
            return ()
        self._noted_anew(verdict, known)
        return verdict.edits

    def _noted_anew(self, verdict: Verdict, known: Collection[Edit]) -> None:
        """`noted`, of what was not told before: other edits than those, and whatever else than edits was found."""
        if known and not verdict.stops:
            new = tuple(edit for edit in verdict.edits if edit not in known)
            if not new and all(one.edits or one.outcome in ("passed", "skipped") for one in verdict.findings):
                return
            verdict = replace(verdict, edits=new)
        self.noted(verdict)

    def _ask_again(self, verdict: Verdict, rules: Sequence[Guardrail], *, reask: bool) -> None:
        if reask and (told := feedback(verdict, rules, self._asked_again)) is not None:
            self._asked_again += 1
            self._record(verdict)
            raise AskAgain(verdict.text, told)

    def admit(self, messages: Sequence[Message]) -> Plan[list[str]]:
        """Judge what goes to the model; returns the texts as they may go on, in order.

        Raises:
            GuardrailViolation: if a guardrail stops the call, or stopped one below the same outermost call.
        """
        self.root.check()
        if not self.policy.at("input"):
            self.call = self.call.but(messages=tuple(messages))
            return [message.text for message in messages]
        available = self.call.but(messages=tuple(messages)).available()
        texts: list[str] = []
        for message in messages:
            rules: Sequence[Guardrail] = self.rules("input", role=message.role)
            if rules and message.text:
                rules = yield from self._race(message.text, rules, available)
            if not rules or not message.text:
                texts.append(message.text)
                continue
            texts.append(self.noted((yield from self._verdict(message.text, "input", rules, available))))
        guarded = tuple(Message(m.role, text) for m, text in zip(messages, texts, strict=True))
        self.call = self.call.but(messages=guarded)
        return texts

    def _race(self, text: str, rules: Sequence[Guardrail], available: Mapping[str, Any]) -> Plan[Sequence[Guardrail]]:
        """Start the rules that race with the model; returns the others."""
        if not self.policy.races("input") or self.bypassed:
            return rules
        racing = [rule for rule in rules if rule.race]
        if racing:
            guard = self.guard
            digest, root = self.policy.digest, self.root
            case = Case(racing, text, "input", available, guard.name, digest, root, guard.untouched, self.span)
            if self._races is None:
                self._races = Races()
            yield from self._races.start(case, _scope.deadline())
        return [rule for rule in rules if not rule.race]

    @property
    def racing(self) -> bool:
        """Whether guardrails race with the model, and nobody has waited for them."""
        return bool(self._races)

    def take_races(self, other: Flow) -> None:
        """Go on with what races with a call that was given up, whose answer is here after all."""
        self._races, other._races = other._races, None

    def settle_races(self) -> Plan[None]:
        """Wait for the guardrails that race with the model.

        Raises:
            GuardrailViolation: if one of them stops the call.
        """
        while self._races:
            self.noted((yield from self._races.next()))

    def _verdict(
        self, text: str, stage: Stage, rules: Sequence[Guardrail], available: Mapping[str, Any]
    ) -> Plan[Verdict]:
        return (
            yield from self.guard.plan(
                text,
                stage,
                rules=rules,
                available=available,
                memory=self.root,
                policy=self.policy,
                bypassed=self.bypassed,
                beneath=self.span,
            )
        )

    def release(self, texts: Sequence[str], *, reask: bool = False) -> Plan[list[str]]:
        """Judge what comes back from the model; returns the texts as they may go on, in order.

        Args:
            texts: the candidates.
            reask: whether the caller can ask the model again: then it may get `AskAgain`.

        Raises:
            GuardrailViolation: if a guardrail stops the answer, or stopped a call below.
            AskAgain: if the model is to be told what was wrong, and asked again.
        """
        self.root.check()
        yield from self.settle_races()
        rules = self.rules("output")
        if not rules:
            return [self.restored(text) for text in texts]
        released: list[str] = []
        available = self.call.available()
        for text in texts:
            verdict = yield from self._verdict(text, "output", rules, available)
            self._ask_again(verdict, rules, reask=reask)
            released.append(self.restored(self.noted(verdict)))
        return released

    def release_parts(self, parts: Sequence[str]) -> Plan[list[str]]:
        """Judge the parts of one text, which were cut anywhere, as the whole; returns the parts as they may go on.

        Raises:
            GuardrailViolation: as `release`.
        """
        self.root.check()
        yield from self.settle_races()
        text = "".join(parts)
        rules = self.rules("output")
        edits: Sequence[Edit] = ()
        if rules:
            verdict = yield from self._verdict(text, "output", rules, self.call.available())
            self.noted(verdict)
            edits = verdict.edits
        told = cut(parts, edits)
        if self._restoring and (whole := self.restored("".join(told))) != "".join(told):
            return [whole, *[""] * (len(parts) - 1)]  # a placeholder may lie across parts, and so does its original
        return told

    @property
    def _restoring(self) -> bool:
        """Whether originals come back here: where an answer leaves to the caller; models in between see none."""
        return self._restores and self._root is not None and self._root.hides

    def restored(self, text: str, *, tools: bool = False) -> str:
        """An answer with the originals of its pseudonyms back in, if it leaves the outermost call.

        `tools` says that it goes to a tool, which may see some of them only.
        """
        return self.root.pseudonyms.restore(text, tools=tools) if self._restoring else text

    @property
    def transparent(self) -> bool:
        """Whether the answer needs no look: no rule is for it, nothing races, nothing has to be restored or raised."""
        if self.violated or self._restoring:
            return False
        return self.policy.bare or not (self._races or self.rules("output") or self.rules("tool_call"))

    @property
    def unheeded(self) -> bool:
        """Whether nobody wants to know a text of this call, nor of any other that the same guard is around here."""
        return self.in_force.idle and not (self.violated or self._restoring)

    @property
    def acts(self) -> bool:
        """Whether anything in the answer may be changed or stopped."""
        rules = () if self.bypassed else (*self.rules("output"), *self.rules("tool_call"))
        return self._restoring or any(rule.acts for rule in rules)

    def stream(self, *, reask: bool = False) -> GuardedStream:
        """What guards an answer that arrives in pieces; `reask` is as for `release`, which its end calls."""

        def whole(text: str) -> Plan[str]:
            (released,) = yield from self.release([text], reask=reask)
            return released

        rules = self.rules("output")
        races = self.settle_races if self._races else None
        judging = () if self.bypassed else rules
        stream = GuardedStream(
            rules, self.call.available(), whole, self.noted, self.root, races, judging, restores=self._restores
        )
        stream.flow = self
        return stream

    def follow(self, guard: Guard) -> None:
        """Go on under a guard that is this one without some of its rules."""
        self.guard, self.in_force = guard, guard.in_force
        self.policy = self.in_force.choose(self.call)

    def noted(self, verdict: Verdict) -> str:
        """Take a verdict on a text of this call into its account; returns the text as it may go on.

        Raises:
            GuardrailViolation: if the verdict stops the call.
        """
        if not verdict.guard:
            verdict = replace(verdict, guard=self.guard.name, digest=self.policy.digest)
        self._record(verdict)
        if verdict.stops:
            violation = GuardrailViolation(verdict)
            close(self.span)
            if self.guard.refusal is None:  # in refusal mode a call that is stopped has an answer, and life goes on
                self.root.violation = violation
                for flow in around():  # those of other guards, too
                    flow.root.violation = violation
            else:
                violation._sticks = False  # noqa: SLF001 - told here
            raise violation
        return verdict.guarded

    def told(self, **answer: Any) -> None:
        """The model answered; of the fields of `Call`, those that say why it stopped are judged.

        An adapter tells them before it lets an answer go; of one that does not, `answered` takes them.

        Raises:
            GuardrailViolation: if a guardrail about how calls end stops this one.
        """
        self._told_end = True
        if not self.policy.of_call:
            return
        known = {name: answer[name] for name in ("finish_reasons", "block_reason") if name in answer}
        self.call = self.call.but(**known)
        if (verdict := self._on_end(None)) is not None:
            self.noted(verdict)

    def _told_late(self, answer: Mapping[str, Any]) -> None:
        if self._told_end or not self.policy.of_call:
            return
        try:
            self.told(**answer)
        except GuardrailViolation as violation:
            self.failed(violation)
            raise

    def _on_end(self, error: BaseException | None) -> Verdict | None:
        if self.bypassed:
            return None
        call = self.call
        if error is None:
            rules = [rule for rule in self.rules("output") if rule.bound.of_call]
        elif self.root.provider_failed and not is_of_model(call):
            return None  # it was told where it happened
        else:
            rules = [rule for rule in self.policy.of_call if rule.failing is None or rule.failing(call)]
        if not rules:
            return None
        verdict = verdict_on_end(rules, call, error)
        return replace(verdict, guard=self.guard.name, digest=self.policy.digest)

    def _record(self, verdict: Verdict) -> None:
        self.verdicts += (verdict,)
        take_out(self.span, verdict, self.policy)
        self.span.judged(verdict, self.guard.emitter)

    def _capture(self, *, answered: bool = False) -> None:
        hide = self._root.pseudonyms.hide if self._root is not None and self._root.hides else None
        capture(self, self._call, self._content, hide, answered=answered)

    def answered(self, **answer: Any) -> None:
        """The call is over and was answered; `answer` are fields of `Call`: output, usage, response_id, ...

        Raises:
            GuardrailViolation: if this is the outermost call and one below it was stopped.
        """
        if self._races:  # or what they find would be lost
            msg = "an adapter ended a call before the guardrails that race with it: run settle_races() first"
            raise LLMGuardError(msg)
        root = self._root
        if root is not None and root.violation is not None and self._ends_root:
            self.failed(root.violation)
            raise root.violation
        if self._ended:
            return
        self._told_late(answer)
        self._end()
        if root is not None and root.hides and "output" in answer:
            answer["output"] = with_texts(answer["output"], root.pseudonyms.hide)
        if not self._identified:  # at once: each copy costs
            answer["started"] = self._started
            if not self.policy.bare:
                self._identified = True
                answer["trace_id"], answer["span_id"] = self.span.identity
        self._call = call = self._call.but(answered=True, ended=time_ns(), **answer)
        if self.verdicts:
            self._tell(call.response_id)
        self._capture(answered=True)
        if not self._joined:
            self.span.answered(call)
        if not self.policy.bare:
            self.guard.observe(call, self.span.context, outermost=self.outermost, policy=self.policy)

    def stopped(self, error: BaseException) -> None:
        """An exception ended the call: a failure, a framework's signal, or the reader of a stream who went away."""
        if isinstance(error, GeneratorExit):
            self.abandoned()
        elif self.guard.untouched(error):
            self.interrupted()
        else:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """The call is over and failed."""
        if self._end():
            if self.policy.of_call and not isinstance(error, LLMGuardError):
                verdict = self._on_end(error)
                if verdict is not None and verdict.outcome != "passed":  # the caller gets the exception as it is
                    self.root.provider_failed = True
                    self._record(verdict)
            self._tell()
            self._capture()
            if not self._joined:
                self.span.failed(error)

    def interrupted(self) -> None:
        """A framework's signal ended the call: it did not fail, and has no answer."""
        if self._end():
            self._tell()
            self._capture()
            if not self._joined:
                self.span.interrupted()

    def abandoned(self, *, late: bool = False) -> None:
        """The reader of a stream went away before its end; `late` says that an answer may come all the same."""
        if self._end(races=late):
            self._tell()
            self._capture()
            if not self._joined:
                self.span.abandoned()

    def _end(self, *, races: bool = False) -> bool:
        if self._races is not None and not races:
            self._races.cancel()
        first, self._ended = not self._ended, True
        return first

    def _tell(self, response_id: str = "") -> None:
        if self.verdicts:
            self.span.verdicts(self.verdicts, self.guard.emitter, response_id)
