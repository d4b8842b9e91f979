"""`llmguard traces` and `llmguard replay`: what they show, and what they say of mistakes."""

from __future__ import annotations

import re

import pytest

from llmguard_middleware import Guard, Guardrail, GuardrailViolation, scorer
from llmguard_middleware.cli import main
from llmguard_middleware.telemetry import configure


@scorer
def forbidden(text: str) -> bool:
    """Whether the text is forbidden."""
    return text == "forbidden"


@pytest.fixture
def traces(tmp_path, monkeypatch):
    """A folder with one call that passed and one that was blocked, and a journal of the second."""
    monkeypatch.setenv("COLUMNS", "160")
    telemetry = configure(file=tmp_path / "traces", journal=tmp_path / "journal", set_global=False)
    guard = Guard(
        Guardrail(forbidden, stage="input"),
        tracer_provider=telemetry.tracer_provider,
        logger_provider=telemetry.logger_provider,
    )

    @guard.op(name="fine")
    def fine(text: str) -> str:
        return text

    @guard.op(name="stopped")
    def stopped(text: str) -> str:
        return text

    fine("hello")
    with guard.attributes(user__id="amber"), pytest.raises(GuardrailViolation):
        stopped("forbidden")
    telemetry.shutdown()
    return tmp_path / "traces"


def lines(capsys):
    """What was printed, without trailing blanks."""
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_traces_are_shown_as_trees(traces, capsys):
    """Each trace is a tree with verdicts and the number of evaluations, in the order of their starts."""
    assert main(["traces", str(traces)]) == 0
    first, second, child = lines(capsys)
    assert first.startswith("invoke_workflow fine  ")
    assert second.startswith("invoke_workflow stopped  ")
    assert re.search(r"  blocked  user=amber  by=forbidden  error=blocked  1 evaluation  trace=[0-9a-f]{8}$", second)
    assert child.startswith("└── llmguard.guardrail forbidden  ")


def test_blocked_since_and_trace_choose(traces, capsys):
    """--blocked leaves the blocked trace, --since those begun lately, --trace the one with this id."""
    assert main(["traces", str(traces), "--blocked", "--since", "1h"]) == 0
    assert [line.split("  ")[0] for line in lines(capsys)] == [
        "invoke_workflow stopped",
        "└── llmguard.guardrail forbidden",
    ]
    assert main(["traces", str(traces), "--table", "--blocked"]) == 0
    (row,) = (line for line in lines(capsys) if "invoke_workflow" in line)
    cells = re.split(r"  +", row.strip())
    assert cells[2] == "invoke_workflow stopped"
    assert cells[4:] == ["blocked", "forbidden", "amber", "0+0"]
    assert main(["traces", str(traces), "--trace", cells[1]]) == 0
    assert len(lines(capsys)) == 2


def test_a_trace_that_was_not_sampled_is_shown_by_its_records(traces, capsys):
    """From a journal alone: the trace's id and the evaluation that stopped it."""
    assert main(["traces", str(traces.with_name("journal"))]) == 0
    trace, record = lines(capsys)
    assert trace.startswith("trace ")
    assert trace.endswith(", spans not stored")
    assert record == "└── gen_ai.evaluation.result  blocked  guardrail=forbidden  stage=input  guard=default"


def test_a_record_in_the_journal_and_in_the_file_counts_once(traces, capsys):
    """Both folders together show each evaluation once."""
    assert main(["traces", str(traces), str(traces.with_name("journal")), "--blocked"]) == 0
    assert lines(capsys)[0].split("  trace=")[0].endswith("  1 evaluation")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["traces", "nowhere"], 2, 'there is no file or folder "nowhere"'),
        (["traces", "{empty}"], 2, "there is no file of JSON lines (*.jsonl) in the folder"),
        (["traces", "{traces}", "--since", "yesterday"], 2, '--since "yesterday" is no time; write a number and s, m'),
        (
            ["traces", "{traces}", "--trace", "zz"],
            1,
            "none of the 2 traces in 3 files fits --blocked, --since and --trace",
        ),
        (["replay", "{traces}"], 2, "llmguard replay needs --otlp URL, the backend to send to, or --dry-run"),
        (["replay", "{traces}", "--otlp", "localhost"], 2, '"localhost" is not an OTLP endpoint'),
        (["replay", "nowhere", "--dry-run"], 2, 'there is no file or folder "nowhere"'),
    ],
)
def test_a_mistake_is_one_sentence(arguments, code, sentence, traces, tmp_path, capsys):
    """What is wrong with the arguments is said in one line on standard error."""
    (tmp_path / "empty").mkdir()
    filled = [each.format(traces=traces, empty=tmp_path / "empty") for each in arguments]
    assert main(filled) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("llmguard: ")
    assert sentence in told.err
    assert len(told.err.splitlines()) == 1


def test_a_dry_run_counts(traces, capsys):
    """--dry-run says what would be sent, and sends nothing."""
    assert main(["replay", str(traces), "--dry-run"]) == 0
    assert lines(capsys) == ["found 3 spans, 2 log records, 0 metric points; skipped 0 torn and 0 foreign lines"]
