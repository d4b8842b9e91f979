"""Inline scorers under fuzzed inputs: `python -m benchmarks.fuzz` with a fixed budget."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from time import sleep, thread_time
from typing import Any

import pytest
from growth import growth

from benchmarks.fuzz import MAKES, Inline, Report, fuzz, fuzz_dense, fuzz_giants, giants, inline_scorers, limit, text
from llmguard_middleware import Call, Guard, Guardrail, Score, Scorer, TextSpan
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._scorer import bind
from llmguard_middleware.scorers import pii

ROOT = Path(__file__).parents[1]
SEED = 20261201


@pytest.mark.slow
def test_twenty_thousand_texts_crash_no_inline_scorer() -> None:
    """No exception, no span out of bounds or order, no stream unlike the whole, no more CPU than its size allows."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", "--runs", "20000", "--seed", str(SEED), "--giants", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20,000 texts over" in done.stdout


@pytest.mark.parametrize("one", inline_scorers(), ids=lambda one: one.label)
def test_ten_megabytes_of_one_unit_are_scored(one: Inline) -> None:
    """Whatever is repeated, and without a limit on its time here, which the machines of this test cannot keep."""
    report = Report()
    fuzz_giants([one], SEED, giants(SEED, 1), report)
    assert [finding for finding in report.findings if not finding.what.startswith("took ")] == []


# What each of them looks for, begun and never ended, and what is longest to look at.
UNITS = (
    "a",
    "1 ",
    "a@",
    "sk-",
    "key=",
    "[",
    '{"a":',
    "ignore ",
    "a b ",
    "무시 ",
    "\u0301",
    "\ud800",
    "<!--",
    "acme ",
    "http://",
)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("one", inline_scorers(), ids=lambda one: one.label)
def test_every_inline_scorer_is_linear(one: Inline, unit: str) -> None:
    """Eight times as much of what is made to be slow takes about eight times as long, not 64."""

    def work(given: str) -> Any:
        names = {source for _, source, needed in one.bound.parameters if needed}
        return one.bound.run(one.bound.arguments(dict.fromkeys(names, given)))

    assert growth(work, unit) < 24


def test_a_text_is_the_same_whenever_it_is_made() -> None:
    """A seed and a number are enough to see a finding again."""
    assert [text(7, number) for number in range(300)] == [text(7, number) for number in range(300)]
    assert text(7, 1) != text(8, 1)
    assert len({text(7, number).kind for number in range(300)}) > 15
    assert list(giants(7, 3)) == list(giants(7, 3))
    assert len(giants(7, 1).__next__().text().encode("utf-8", "surrogatepass")) > 10_000_000


def test_all_sizes_are_held_to_one_rate() -> None:
    """A tenth of a second for a megabyte and its part for less, beside what is the same for any text."""
    fixed = limit("length", 0)
    assert fixed < 0.01
    assert limit("length", 1024 * 1024) - fixed == pytest.approx(0.1)
    assert limit("length#1", 64 * 1024) - fixed == pytest.approx(0.1 / 16)
    assert limit("url_allow_list", 1024 * 1024) < 0.61  # the dearest


def test_tables_and_logs_are_scored() -> None:
    """What is of one thing from end to end goes to each scorer, and what is slow on it is told."""
    report = Report()
    fuzz_dense([one for one in inline_scorers(["length"]) if one.label == "length"], report)
    assert report.dense > 100
    assert report.findings == []


def test_every_registered_scorer_is_fuzzed_or_not_cheap() -> None:
    """Each entry point is made as MAKES says, or says that it is not cheap; a name that is none is refused."""
    fuzzed = {one.label.partition("#")[0] for one in inline_scorers()}
    assert fuzzed <= set(MAKES) <= {point.name for point in entry_points(group="llmguard_middleware.scorers")}
    assert {"pii", "secrets", "prompt_injection", "deny_list"} <= fuzzed
    assert all(one.bound.cheap for one in inline_scorers())
    with pytest.raises(LookupError, match="no scorer is registered as nobody"):
        inline_scorers(["nobody"])


def test_a_cheap_scorer_that_nobody_says_how_to_make_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is registered and has no row fails the run, with what to do."""
    monkeypatch.delitem(MAKES, "length")
    with pytest.raises(LookupError, match='"length" is cheap and'):
        inline_scorers()


class _Broken(Scorer):
    """Does one thing wrong when a text has more than ten characters."""

    name = "broken"
    cheap = True
    reach = 3

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        if how == "slow":
            self.reach = None  # once is enough

    def score(self, text: str) -> Score:
        if len(text) <= 10:
            return Score(value=0.0)
        if self.how == "raises":
            raise KeyError(text)
        if self.how == "bounds":
            return Score(value=1.0, spans=(TextSpan(0, len(text) + 1, "X"),))
        if self.how == "order":
            return Score(value=1.0, spans=(TextSpan(5, 6, "X"), TextSpan(1, 2, "X")))
        if self.how == "stream":
            return Score(value=1.0, flagged=True, spans=(TextSpan(len(text) // 2, len(text), "X"),))
        if self.how == "value":
            return Score(value=float("inf"))
        begun = thread_time()
        while thread_time() < begun + 0.5:
            pass
        return Score(value=0.0)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "raised KeyError at test_fuzz.py:"),
        ("bounds", "has a span (0, "),
        ("order", "has a span (1, 2) after 6 in a text of "),
        ("stream", "redacts a stream otherwise than the whole text"),
        ("value", "has a value of inf"),
        ("slow", "took "),
    ],
)
def test_what_a_scorer_does_wrong_is_found(how: str, said: str) -> None:
    """With its seed, its number and the kind of text, and without the text."""
    numbers = [number for number in range(0, 1000, 50) if 20 < len(text(3, number).text) < 2000][:1]
    found = fuzz([Inline("broken", bind(_Broken(how)))], 3, numbers).findings
    assert any(said in str(finding) for finding in found)
    assert f"(seed 3, text {numbers[0]}, {text(3, numbers[0]).kind})" in str(found[0])
    assert text(3, numbers[0]).text not in str(found[0])


def test_waiting_is_not_working() -> None:
    """CPU time is measured: a machine that does other things finds nothing."""

    def patient(text: str) -> bool:
        sleep(0.15)
        return False

    assert fuzz([Inline("patient", bind(patient))], 3, [1]).findings == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40])
def test_credentials_of_any_signs_are_held_back(size: int) -> None:
    """Found by fuzzing: a password with signs beyond ASCII left a stream before its end was seen."""
    given = "(postgres://admin:s3\uff71r3t비밀@db.example.com:5432/app) and https://example.com/a and://b:"
    guard = Guard(Guardrail(pii(), stage="output", action="redact"))
    stream = Flow(guard, Call("chat")).stream()
    left = "".join(stream.feed(given[at : at + size]) for at in range(0, len(given), size))
    left += drive(stream.finish(), guard.workers)
    assert left == guard.check(given, stage="output").guarded
    assert "admin" not in left
