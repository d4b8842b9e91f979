"""What holds for every text, chunking, set of matches, order of rules and order of completion.

`slow`: minutes of work for a machine with few cores; deselect with `-m "not slow"`.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from llmguard_middleware import (
    Call,
    Guard,
    Guardrail,
    GuardrailViolation,
    Hash,
    Mask,
    Monitor,
    Score,
    ScorerError,
    TextSpan,
)
from llmguard_middleware._drive import adrive, drive
from llmguard_middleware._edits import MAX_HOLD, Found, merge
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Case, judge
from llmguard_middleware._workers import Workers
from llmguard_middleware.scorers import pii, secrets
from llmguard_middleware.testing import FakeScorer, Raises, Returns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

many = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
some = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))


class Local(FakeScorer):
    """A local scorer of one pattern: a word, or a run of one character, with or without what must not stand around it.

    Args:
        what: the word, or the character.
        run: whether it is a run.
        around: "", "<" (no x before), ">" (no y after) or both.
        tail: whether it says what may be open at the end of a text, or leaves that to its reach.
    """

    def __init__(self, what: str, *, run: bool, around: str, tail: bool, kind: str, name: str) -> None:
        look = len(around) > 0
        super().__init__(name=name, cheap=True, reach=(0 if run else len(what) - 1) + look)
        core = re.escape(what) + ("+" if run else "")
        self.what, self.run, self.ahead, self.kind = what, run, ">" in around, kind
        self.pattern = re.compile(("(?<!x)" if "<" in around else "") + core + ("(?!y)" if self.ahead else ""))
        if tail:
            self.open_tail = self._open_tail
            self.behind = 1

    def outcome(self, text: str) -> Score:
        """Every occurrence: of a run the longest, of a word each, overlapping or not."""
        spans: list[TextSpan] = []
        at = 0
        while (found := self.pattern.search(text, at)) is not None:
            spans.append(TextSpan(found.start(), found.end(), self.kind))
            at = found.end() if self.run else found.start() + 1
        return Score(value=float(len(spans)), flagged=bool(spans), spans=tuple(spans))

    def _open_tail(self, text: str) -> int:
        if self.run:
            return int(text.endswith(self.what))
        for size in range(len(self.what) if self.ahead else len(self.what) - 1, 0, -1):
            if text.endswith(self.what[:size]):
                return size
        return 0


def locals_(number: int) -> st.SearchStrategy[Local]:
    """A local scorer."""
    options: dict[str, Any] = {
        "around": st.sampled_from(["", "<", ">", "<>"]),
        "tail": st.booleans(),
        "kind": st.sampled_from(["A", "B", "C_D"]),
        "name": st.just(f"local-{number}"),
    }
    return st.one_of(
        st.builds(Local, st.text("ab", min_size=1, max_size=7), run=st.just(False), **options),
        st.builds(Local, st.sampled_from("abx"), run=st.just(True), **options),
    )


ACTIONS = ("redact", Mask(), Mask(char="#", keep_last=2), Hash(key="k" * 16), "pseudonymize")
ALLOWED: tuple[Any, ...] = ((), ("a",), ("ab", "aa"), (re.compile("a{2,5}"),), (re.compile("[ab]{3}"), "b"))


@st.composite
def editing(draw: st.DrawFn) -> list[Guardrail]:
    """One to three local guardrails that edit an answer."""
    count = draw(st.integers(1, 3))
    return [
        Guardrail(
            draw(locals_(number)),
            stage="output",
            action=draw(st.sampled_from(ACTIONS)),
            allow=draw(st.sampled_from(ALLOWED)),
        )
        for number in range(count)
    ]


unit = st.one_of(
    st.text("abxy .", max_size=30),
    st.builds(lambda part, times: part * times, st.text("abxy ", min_size=1, max_size=3), st.integers(1, 40)),
)
texts = st.lists(unit, max_size=10).map("".join)
sizes = st.lists(st.integers(1, 90), min_size=1, max_size=8)


def without_nonce(text: str) -> str:
    """Pseudonyms carry a number that nobody can guess; two runs differ in nothing else."""
    return re.sub(r"(?<=_)[0-9a-f]{8}(?=>)", "nonce", text)


def cut(text: str, sizes: Sequence[int]) -> Iterator[str]:
    """`text` in pieces of these sizes, again and again."""
    at = turn = 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        yield text[at : at + size]
        at, turn = at + size, turn + 1


def prefixes(guard: Guard, text: str, sizes: Sequence[int]) -> list[str]:
    """All that had left after each piece, and at the end."""
    stream = Flow(guard, Call("chat")).stream()
    so_far, found = "", []
    for one in cut(text, sizes):
        so_far += stream.feed(one)
        found.append(so_far)
    return [*found, so_far + drive(stream.finish(), guard.workers)]


@pytest.mark.slow
@many
@given(editing(), texts, sizes)
def test_every_edit_streams_alike(rules: list[Guardrail], text: str, sizes: list[int]) -> None:
    """For every chunking, reach and overlapping set of matches of several rules and actions, with allowed ones among
    them, each prefix that leaves is a prefix of what the whole answer becomes, and in the end all of it has left.
    """
    guard = Guard(*rules)
    whole = without_nonce(guard.check(text, stage="output").guarded)
    left = [without_nonce(prefix) for prefix in prefixes(guard, text, sizes)]
    assert [prefix for prefix in left if not whole.startswith(prefix)] == []
    assert left[-1] == whole


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(editing(), st.sampled_from(["a", "ab", "b", "x"]), st.integers(MAX_HOLD - 70, MAX_HOLD + 200), texts, sizes)
def test_matches_beyond_what_is_held_stream_alike(
    rules: list[Guardrail], part: str, length: int, rest: str, sizes: list[int]
) -> None:
    """A chain of matches longer than a stream may hold is redacted, in both modes, and its end is found.

    All are of one kind: of several that start together the longest gives its name, which nobody knows in time.
    """
    for rule in rules:
        rule.scorer.kind = "A"
    text = rest[:50] + (part * length)[:length] + rest
    guard = Guard(*rules)
    whole = without_nonce(guard.check(text, stage="output").guarded)
    left = [without_nonce(prefix) for prefix in prefixes(guard, text, [size * 7 for size in sizes])]
    assert [prefix for prefix in left if not whole.startswith(prefix)] == []
    assert left[-1] == whole


@pytest.mark.slow
@many
@given(editing(), texts, sizes)
def test_what_was_removed_is_in_no_prefix(rules: list[Guardrail], text: str, sizes: list[int]) -> None:
    """Of a text whose sensitive characters are its own kind, none is ever in what was released."""
    hidden = Local("0", run=True, around="", tail=bool(len(text) % 2), kind="N", name="hidden")
    # Each character of a match is a zero, each other one is not; the other rules may overlap with it at will.
    text = text.replace("x", "0").replace("y", "0")
    guard = Guard(*rules, Guardrail(hidden, stage="output", action=Mask(char="*")))
    assume(not any(isinstance(rule.scorer, Local) and rule.scorer.what == "0" for rule in rules))
    assert not any("0" in re.sub(r"<[^<>]*>", "", prefix).split("<")[0] for prefix in prefixes(guard, text, sizes))


@pytest.mark.slow
@many
@given(locals_(0), texts, sizes, st.sampled_from(ALLOWED))
@example(Local("a", run=True, around=">", tail=False, kind="A", name="n"), "b" * 23 + "ay" + "b" * 99, [24], ())
def test_a_window_stops_what_the_whole_answer_would(
    local: Local, text: str, sizes: list[int], allowed: Sequence[Any]
) -> None:
    """With stream="window" an answer is stopped if and only if it is when it is judged whole, and before its match."""
    guard = Guard(Guardrail(local, stage="output", stream="window", allow=allowed))
    verdict = guard.check(text, stage="output")
    try:
        left = prefixes(guard, text, sizes)
    except GuardrailViolation:
        assert verdict.stops
    else:
        assert not verdict.stops
        assert left[-1] == text


@some
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15), st.sampled_from("ABC"), st.integers(0, 2)), max_size=9)
)
def test_redaction_offsets_compose(given_: list[tuple[int, int, str, int]]) -> None:
    """Whatever spans several rules find, each character that nobody found is left where it was, and no other."""
    text = "".join(chr(0x3B1 + n % 24) for n in range(55))
    by_rule: dict[int, list[TextSpan]] = {0: [], 1: [], 2: []}
    for start, size, kind, rule in given_:
        by_rule[rule].append(TextSpan(start, start + size, kind))
    rules = [
        Guardrail(
            Returns(Score(flagged=bool(spans), spans=tuple(spans)), cheap=True),
            stage="input",
            name=f"r{n}",
            action=("redact", Mask(), Hash(key="k" * 16))[n],
        )
        for n, spans in by_rule.items()
    ]
    verdict = Guard(*rules).check(text, stage="input")
    found = {at for start, size, _, _ in given_ for at in range(start, start + size)}
    edited = {at for edit in verdict.edits for at in range(edit.start, edit.end)}
    assert edited == found
    assert [edit.start for edit in verdict.edits] == sorted(edit.start for edit in verdict.edits)
    kept = [text[at] for at in range(len(text)) if at not in found]
    assert [char for char in verdict.guarded if "α" <= char <= "ω"] == kept  # noqa: RUF001 - Greek letters are meant
    again = merge(Found(edit.start, edit.end, "X") for edit in verdict.edits)
    assert [(one.start, one.end) for one in again] == [(edit.start, edit.end) for edit in verdict.edits]


OUTCOMES: tuple[tuple[str, Any], ...] = (
    ("passes", lambda: Returns(False, cheap=True)),
    ("flags", lambda: Returns(True, cheap=True)),
    ("raises", lambda: Raises(ValueError("x"), cheap=True)),
    ("nonsense", lambda: Returns("x", cheap=True)),
    ("spans", lambda: Returns(Score(flagged=True, spans=(TextSpan(0, 1, "K"),)), cheap=True)),
)
rule_sets = st.lists(
    st.tuples(
        st.integers(0, len(OUTCOMES) - 1),
        st.sampled_from(["block", "redact", "log", "mask", "replace", "pseudonymize"]),
        st.sampled_from(["block", "allow", None]),
    ),
    max_size=5,
)


@some
@given(rule_sets, st.randoms(use_true_random=False))
def test_the_order_of_guardrails_does_not_change_block_or_pass(rules: Any, dice: random.Random) -> None:
    """Whatever the rules do and however they fail, a text is stopped in every order of theirs, or in none."""
    made = [
        Guardrail(OUTCOMES[which][1](), stage="input", name=f"r{n}", action=action, on_error=on_error)
        for n, (which, action, on_error) in enumerate(rules)
    ]
    other = made.copy()
    dice.shuffle(other)
    first, second = (Guard(*order).check("text", stage="input") for order in (made, other))
    assert first.stops == second.stops
    if not first.stops and all(action in ("redact", "log") for _, action, _ in rules):
        assert first.guarded == second.guarded
        assert first.outcome == second.outcome


# --- a scripted order of completion ----------------------------------------------------------------------------------


class Scripted:
    """Scorers that come back one after the other, the next when the engine has taken the one before."""

    def __init__(self, order: Sequence[int]) -> None:
        self.order = list(order)
        self.gates = [threading.Event() for _ in order]
        self.next_turn()

    def next_turn(self) -> None:
        """Let the next of the script come back."""
        if self.order:
            self.gates[self.order.pop(0)].set()

    def rule(self, index: int, outcome: str, action: str, on_error: str, *, on_loop: bool) -> Guardrail:
        """A rule that takes its turn."""
        gate = self.gates[index]

        def result() -> bool:
            if outcome == "raises":
                raise ValueError
            return outcome == "flags"

        def score(text: str) -> bool:
            gate.wait(10)
            return True

        async def ascore(text: str) -> bool:
            while not gate.is_set():  # noqa: ASYNC110 - set by any thread
                await asyncio.sleep(0)
            return True

        def decide(_: Score) -> bool:  # called by the driver when it takes this score
            self.next_turn()
            return result()

        return Guardrail(
            ascore if on_loop else score,
            stage="input",
            name=f"r{index}",
            action=action,
            on_error=on_error,  # type: ignore[arg-type]
            when=decide,
            breaker=None,
        )

    def open(self) -> None:
        """Let all come back."""
        for gate in self.gates:
            gate.set()


@st.composite
def scripts(draw: st.DrawFn) -> tuple[list[tuple[str, str, str, bool]], list[int]]:
    """Rules, and the order in which their scorers come back."""
    rules = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["passes", "flags", "raises"]),
                st.sampled_from(["block", "redact", "log", "replace"]),
                st.sampled_from(["block", "allow"]),
                st.booleans(),
            ),
            min_size=1,
            max_size=4,
        )
    )
    return rules, draw(st.permutations(range(len(rules))))


def plain(verdict: Any) -> Any:
    """A verdict without times and exception objects."""
    return (
        verdict.outcome,
        verdict.stops,
        verdict.guarded,
        [(f.rule, f.outcome, f.stops, type(f.error)) for f in verdict.findings],
    )


@pytest.mark.slow
@some
@given(scripts())
def test_a_scripted_order_gives_both_drivers_the_same_verdict(
    script: tuple[list[tuple[str, str, str, bool]], list[int]],
) -> None:
    """In whichever order the scorers come back, both drivers give the same verdict, finding by finding: that of a plan
    to which the completions are sent in this order.
    """
    rules, order = script

    def made() -> tuple[Scripted, list[Guardrail]]:
        scripted = Scripted(order)
        return scripted, [
            scripted.rule(n, outcome, action, on_error, on_loop=on_loop)
            for n, (outcome, action, on_error, on_loop) in enumerate(rules)
        ]

    def case(of: Sequence[Guardrail]) -> Case:
        return Case(of, "text", "input", {}, "g", "d")

    scripted, of = made()
    with_threads = plain(drive(judge(case(of)), WORKERS))
    scripted.open()
    scripted, of = made()
    with_tasks = plain(LOOP.run_until_complete(adrive(judge(case(of)), WORKERS)))
    scripted.open()
    assert with_threads == with_tasks
    stops = [
        (outcome == "flags" and action == "block") or (outcome == "raises" and on_error == "block")
        for outcome, action, on_error, _ in rules
    ]
    judged = order[: next((n + 1 for n, index in enumerate(order) if stops[index]), len(order))]
    assert [n for n, finding in enumerate(with_threads[3]) if finding[1] != "skipped"] == sorted(judged)


WORKERS = Workers(16, "properties")
LOOP = asyncio.new_event_loop()


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    LOOP.close()


# --- sampling --------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.floats(0.001, 0.999), st.integers(0, 2**32))
def test_a_sample_is_within_three_sigma_of_its_rate(rate: float, seed: int) -> None:
    """Of random traces a monitor takes its share: no further from it than chance explains.

    Three sigma hold for 99.7 % of all tries; with 200 of them five are asked for, which chance misses once in ten
    thousand runs.
    """
    dice = random.Random(seed)
    monitor = Monitor(Returns(0.0), sample=rate)
    count = 4000
    taken = sum(monitor.takes(dice.getrandbits(128)) for _ in range(count))
    sigma = (count * rate * (1 - rate)) ** 0.5
    assert abs(taken - count * rate) <= 5 * sigma + 1


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_a_sample_of_many_traces_is_within_three_sigma(rate: float) -> None:
    """The same for a hundred thousand traces that are always the same."""
    dice = random.Random(1)
    monitor = Monitor(Returns(0.0), sample=rate)
    count = 100_000
    taken = sum(monitor.takes(dice.getrandbits(128)) for _ in range(count))
    assert abs(taken - count * rate) <= 3 * (count * rate * (1 - rate)) ** 0.5


def test_every_process_takes_the_same_sample(said_by_processes: Callable[[str], set[str]]) -> None:
    """Whatever the seed of its hashes, a process decides as the others do."""
    code = """
import random
from llmguard_middleware import Monitor
from llmguard_middleware.testing import Returns
dice, monitor = random.Random(3), Monitor(Returns(0.0), sample=0.3)
print("".join("01"[monitor.takes(dice.getrandbits(128))] for _ in range(2000)))
"""
    (taken,) = said_by_processes(code)
    assert 500 < taken.count("1") < 700


def test_a_scorer_error_is_what_a_broken_span_is() -> None:
    """A span outside of the text is an error of its scorer, for edits and blocks alike."""
    for action in itertools.chain(ACTIONS, ("block", "replace", "log")):
        beyond = Returns(Score(flagged=True, spans=(TextSpan(0, 9, "K"),)), cheap=True)
        finding = Guard(Guardrail(beyond, stage="input", action=action)).check("text", stage="input").findings[0]
        assert isinstance(finding.error, ScorerError)


@pytest.mark.slow
@many
@given(st.text("a@b.co 01-9+\ud800\u0130<>_", max_size=60), st.sampled_from(ACTIONS))
def test_what_was_edited_once_is_not_edited_again(text: str, action: Any) -> None:
    """The guarded text passes the same guard unchanged, for any text and any edit but a mask that shows something."""
    assume(action != ACTIONS[2])
    guard = Guard(Guardrail(pii(), stage="input", action=action), Guardrail(secrets(), stage="input", action=action))
    once = guard.check(text, stage="input").guarded
    assert guard.check(once, stage="input").guarded == once
