"""The conformance suite itself: a small framework that conforms, and adapters that break their promises."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmguard_middleware import Call, Guard, GuardrailViolation, Message
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import AskAgain, Flow
from llmguard_middleware.testing.conformance import (
    Adapter,
    Mode,
    Result,
    Scenario,
    Script,
    check_matrix,
    matrix,
    report,
    scenarios,
    table,
)

BETWEEN = ("embedding", "retrieval", "tool_call", "tool_result")


class Desk:
    """A framework of one object, which answers what it is asked, and whatever guards are around it."""

    def __init__(self, script: Script, guards: tuple[Guard, ...] = ()) -> None:
        self.script, self.guards = script, guards
        self.owner = script

    def ask(self, text: str) -> str:
        """The answer."""
        ask = self._ask
        for guard in self.guards:
            ask = self._behind(guard, ask)
        return ask(text)

    def _ask(self, text: str) -> str:
        return self.script.reply(text)

    def _behind(self, guard: Guard, ask: Any) -> Any:
        def asked(text: str) -> str:
            try:
                with self._flow(guard) as flow:
                    return self._answered(flow, ask, text)
            except GuardrailViolation:
                if guard.refusal is None:
                    raise
                return guard.refusal

        return asked

    def _answered(self, flow: Flow, ask: Any, text: str) -> str:
        text = self._admitted(flow, text)
        request = text
        while True:
            with flow.active():
                said = ask(request)
            try:
                (said,) = drive(flow.release([said], reask=True), flow.guard.workers)
            except AskAgain as again:
                request = f"{text}\n{again.feedback}"
                continue
            flow.answered(output=said)
            return str(said)

    def stream(self, text: str) -> Iterator[str]:
        """The pieces of the answer, under the one guard."""
        (guard,) = self.guards
        with self._flow(guard) as flow:
            text = self._admitted(flow, text)
            pieces, gate, said = self.script.stream(text), flow.stream(), ""
            while True:
                with flow.active():
                    piece = next(pieces, None)
                free = drive(gate.finish(), guard.workers) if piece is None else gate.feed(piece)
                said += free
                if free:
                    yield free
                if piece is None:
                    break
            flow.answered(output=said)

    def _flow(self, guard: Guard) -> Flow:
        return Flow(guard, Call("chat", model="desk"), owner=self.owner)

    def _admitted(self, flow: Flow, text: str) -> str:
        (text,) = drive(flow.admit([Message("user", text)]), flow.guard.workers)
        for stage in BETWEEN:
            if stage in self.script.material:
                crossing = flow.judge(self.script.material[stage], stage)
                self.script.arrive(stage, drive(crossing, flow.guard.workers))
        return text


class Desks(Adapter):
    """The adapter of that framework."""

    name = "desk"
    modes: Sequence[Mode] = (Mode("ask"),)
    stages: Sequence[Any] = ("input", "output", *BETWEEN)
    desk: type[Desk] = Desk

    def build(self, guard: Guard, script: Script) -> Any:
        """A desk under its guard."""
        return self.desk(script, (guard,))

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return subject if guard in subject.guards else type(subject)(subject.script, (*subject.guards, guard))

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """One of its methods."""
        return getattr(subject, mode.name)(text)


ALL = Desks()


@pytest.mark.parametrize("scenario", scenarios(ALL), ids=str)
async def test_an_adapter_of_every_stage_conforms(scenario: Scenario) -> None:
    """A small adapter on Flow that reaches all six stages passes every scenario."""
    await scenario.run(ALL)


def one(adapter: Adapter, name: str) -> Scenario:
    """The scenario of this id."""
    return next(scenario for scenario in scenarios(adapter) if scenario.id == name)


async def failures(adapter: Adapter) -> dict[str, str]:
    """What went wrong, by scenario."""
    return {str(result.scenario): result.seen for result in await report(adapter) if result.status == "failed"}


class Streams(Desks):
    """A desk that streams, and is not asked what it cannot do."""

    modes = (Mode("stream", streamed=True),)
    gaps: Mapping[str, str] = {
        "*-refusal/*": "not written",
        "output-reask*/*": "not written",
        "*-guards/*": "not written",
        "input-race-streams/*": "not written",
    }


async def test_a_leak_of_three_characters_is_caught() -> None:
    """An adapter that lets the beginning of a match out is caught by the scenarios on streams and blocks."""

    class Leaky(Desk):
        def stream(self, text: str) -> Iterator[str]:
            if "QXZ" in str(self.script.answer):
                yield "QXZ"
            yield from super().stream(text)

    class Adapted(Streams):
        desk = Leaky

    assert await failures(Streams()) == {}
    failed = await failures(Adapted())
    for name in ("stream-redact-in-window", "stream-redact-held", "stream-block", "output-block", "output-redact"):
        assert f"{name}/stream" in failed
    assert "characters of the secret were released" in failed["stream-redact-in-window/stream"]
    assert not [name for name in failed if name.startswith(("input-", "monitor-", "model-"))]


async def test_a_swallowed_violation_is_caught() -> None:
    """An adapter that answers nothing in place of raising is caught by every scenario that stops a call."""

    class Forgiving(Desk):
        def ask(self, text: str) -> str:
            try:
                return super().ask(text)
            except GuardrailViolation:
                return ""

    class Adapted(Desks):
        desk = Forgiving

    failed = await failures(Adapted())
    blocks = {f"{stage}-block/ask" for stage in Desks.stages}
    assert failed.keys() >= blocks | {"violation-pickles/ask", "span-of-blocked-call/ask"}
    assert "a GuardrailViolation was expected" in failed["input-block/ask"]


async def test_judging_twice_is_caught() -> None:
    """An adapter that has the request judged by two ways is caught by the scenario that counts."""

    class Thorough(Desk):
        def ask(self, text: str) -> str:
            if not any(rule.race for rule in self.guards[0].guardrails):  # which would wait for the model
                self.guards[0].check(text, stage="input")
            return super().ask(text)

    class Adapted(Desks):
        desk = Thorough

    failed = await failures(Adapted())
    assert failed.keys() >= {"output-judged-once/ask", "call-guarded-twice/ask"}
    assert not [name for name in failed if name.startswith(("monitor-", "model-", "stream-", "tool_"))]


async def test_a_second_span_is_caught() -> None:
    """An adapter that starts a span of its own for a call that has one is caught."""

    class Counting(Desk):
        def _ask(self, text: str) -> str:
            self.guards[0].emitter.start(Call("chat", model="again")).answered(Call("chat"))
            return super()._ask(text)

    class Adapted(Desks):
        desk = Counting

    assert "call-unchanged/ask" in await failures(Adapted())


async def test_a_guardrail_that_is_skipped_silently_is_caught() -> None:
    """An adapter that does not reach a stage and accepts its guardrails is caught."""

    class Adapted(Desks):
        stages = ("input", "output")

    failed = await failures(Adapted())
    assert failed.keys() == {f"{stage}-unreached/ask" for stage in BETWEEN}


async def test_raw_objects_are_looked_into() -> None:
    """A secret that is not in the text of a reply and is in another field is found."""

    class Talkative(Desks):
        def call(self, subject: Any, mode: Mode, text: str) -> Any:
            answer = subject.ask(text)
            return {"text": answer, "raw": subject.script.answer}

        def text(self, reply: Any) -> str:
            return str(reply["text"])

    failed = await failures(Talkative())
    assert "field of what the framework returned" in failed["output-redact/ask"]


class Picky(Desks):
    """Refuses what changes the answer."""

    def build(self, guard: Guard, script: Script) -> Any:
        """A desk, or a refusal."""
        changing = [rule for rule in guard.rules("output") if rule.edits]
        guard.refuse(changing, "the desk", "do without")
        return super().build(guard, script)


async def test_what_is_refused_must_be_declared() -> None:
    """A guard that the adapter refuses is a failure, unless it is declared; then the scenario's result says why."""
    with pytest.raises(AssertionError, match="which `cannot` does not declare"):
        await one(Picky(), "output-mask/ask").run(Picky())

    class Declaring(Picky):
        cannot: Mapping[str, str] = {"output-*/*": "it cannot rewrite"}

    declaring = Declaring()
    result = await one(declaring, "output-mask/ask").run(declaring)
    assert (result.status, result.why) == ("refused", "it cannot rewrite")
    assert 'cannot enforce guardrail "finds"' in result.seen
    with pytest.raises(AssertionError, match="did not refuse the guard"):
        await one(declaring, "output-block/ask").run(declaring)


async def test_a_gap_must_be_one() -> None:
    """A declared gap is run and must fail, so that one which was closed is noticed."""

    class Adapted(Streams):
        gaps: Mapping[str, str] = {"output-*/*": "not yet"}

    adapted = Adapted()
    result = await one(adapted, "output-refusal/stream").run(adapted)
    assert (result.status, result.why) == ("gap", "not yet")
    assert "an answer was expected" in result.seen
    with pytest.raises(AssertionError, match=r"this gap \(not yet\) is closed"):
        await one(adapted, "output-block/stream").run(adapted)


def test_the_table_tells_all() -> None:
    """One line for each claim, one column for each mode, with the reasons."""

    class Both(Desks):
        modes = (Mode("ask"), Mode("stream", streamed=True))

    both = Both()
    results = [
        Result(one(both, "input-block/ask"), "enforced"),
        Result(one(both, "input-block/stream"), "gap", "a | b"),
        Result(one(both, "stream-block/stream"), "refused", "no"),
    ]
    assert table(both, results).splitlines() == [
        "| stage | what | ask | stream |",
        "| --- | --- | --- | --- |",
        "| input | block | enforced | gap: a \\| b |",
        "| stream | block |  | refused: no |",
    ]


async def test_the_matrix_is_what_the_scenarios_found() -> None:
    """One line for the modes that do the same, a footnote for each reason, and what is refused when it is attached."""

    class Declaring(Picky):
        modes = (Mode("ask"), Mode("again"))
        stages = ("input", "output")
        cannot: Mapping[str, str] = {f"output-{action}/*": "it cannot rewrite" for action in ("redact", "replace")}

        def build(self, guard: Guard, script: Script) -> Any:
            guard.refuse([rule for stage in BETWEEN for rule in guard.rules(stage)], "the desk", "do without")
            return super().build(guard, script)

        def call(self, subject: Any, mode: Mode, text: str) -> Any:
            return subject.ask(text)

    assert await matrix(Declaring()) == (
        "|  | input: block | redact | replace | output: block | redact | replace |\n"
        "| --- | :-: | :-: | :-: | :-: | :-: | :-: |\n"
        "| `ask` `again` | ✓ | ✓ | ✓ | ✓ | ✗¹ | ✗¹ |\n"
        "\n¹ refused: it cannot rewrite.\n"
        "\nRefused when attached: `retrieval`, `tool_call`, `tool_result`, `embedding`.\n"
    )


async def test_a_matrix_of_what_fails_is_none() -> None:
    """A promise that is broken is told, not printed."""
    with pytest.raises(AssertionError, match="which `cannot` does not declare"):
        await matrix(Picky())


def test_a_readme_is_kept_in_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is out of date fails with the command that writes it, which writes it and nothing else."""
    readme = tmp_path / "README.md"
    text = "# Mine\n\n<!-- table: a -->\nold\n<!-- end -->\n\n<!-- table: b -->\n<!-- end -->\n"
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"README.md is out of date; write it: LLMGUARD_WRITE_TABLES=1 make it"):
        check_matrix(readme, "a", "new ✓\n", "make it")
    with pytest.raises(AssertionError, match="has no line '<!-- table: c -->'"):
        check_matrix(readme, "c", "new", "make it")
    monkeypatch.setenv("LLMGUARD_WRITE_TABLES", "1")
    check_matrix(readme, "a", "new ✓\n", "make it")
    monkeypatch.delenv("LLMGUARD_WRITE_TABLES")
    check_matrix(readme, "a", "new ✓\n", "make it")
    assert readme.read_text(encoding="utf-8") == text.replace("old\n", "\nnew ✓\n\n")


def test_scenarios_have_stable_ids_and_claims() -> None:
    """Ids are unique and of the form topic-what/mode; each claim is one sentence."""
    found = scenarios(ALL)
    assert [name for name, count in Counter(map(str, found)).items() if count > 1] == []
    assert all(str(s).endswith("/ask") and s.claim.endswith(".") and "\n" not in s.claim for s in found)
    assert {"input-block/ask", "tool_result-hash/ask", "violation-sticks/ask"} <= {s.id for s in found}


def test_the_suite_needs_no_test_runner() -> None:
    """Importing the suite, and listing the scenarios of an adapter, loads neither pytest nor the OpenTelemetry SDK."""
    program = """
import sys
from llmguard_middleware.testing.conformance import Adapter, Mode, scenarios
class Mine(Adapter):
    modes = (Mode("ask"),)
assert scenarios(Mine())
print(*(name for name in ("pytest", "opentelemetry.sdk") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
