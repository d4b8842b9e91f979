"""The `llmguard` command: the demo shows what it claims, and a mistake is one sentence and a non-zero exit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from llmguard_middleware import GuardrailViolation
from llmguard_middleware._demo._material import (
    DOCUMENTS,
    E_MAIL,
    QUESTIONS,
    RESIDENT_NUMBER,
    SECRET,
    InProcessModel,
    default_guard,
)
from llmguard_middleware._demo._scenario import Scenario
from llmguard_middleware.telemetry._files import read_records, read_spans

FRAMEWORKS = ("langchain", "llamaindex")


def llmguard(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = Path(sys.executable).with_name("llmguard")
    return subprocess.run([command, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One run of the demo: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    result = llmguard("demo", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    return folder / "traces", result.stdout


def test_the_demo_writes_no_personal_data_and_no_secret(demo):
    """The resident number, the e-mail and the secret are in no byte under traces/."""
    folder, _ = demo
    written = b"".join(file.read_bytes() for file in folder.iterdir())
    assert written
    for private in (RESIDENT_NUMBER, E_MAIL, SECRET):
        assert private.encode() not in written
        assert json.dumps(private)[1:-1].encode() not in written


def test_the_demo_shows_that_the_model_received_no_personal_data(demo):
    """In every line that shows what a model received or answered, personal data and secret are redacted."""
    _, printed = demo
    shown = re.findall(r"^  (received|answered) (.*?)(?=^  \w|^$)", printed, re.DOTALL | re.MULTILINE)
    received = [text for what, text in shown if what == "received"]
    answered = [text for what, text in shown if what == "answered"]
    assert len(received) >= 2 * len(FRAMEWORKS)
    for text in received + answered:
        assert not any(private in text for private in (RESIDENT_NUMBER, E_MAIL, SECRET))
    assert any("<KR_RRN>" in text and "<EMAIL_ADDRESS>" in text for text in received)
    assert any("<AWS_ACCESS_KEY>" in text for text in answered)


def test_the_demo_traces_every_framework(demo):
    """Each question is a trace with the application as its root: redacted, blocked, redacted, for each framework."""
    folder, _ = demo
    spans = sorted(read_spans(folder.glob("*.spans.jsonl")), key=lambda span: span.started)
    roots = [span for span in spans if not span.parent_id]
    assert {root.attributes["gen_ai.operation.name"] for root in roots} == {"invoke_workflow"}
    verdicts = [
        {span.attributes.get("llmguard.verdict") for span in spans if span.trace_id == root.trace_id} - {None, "passed"}
        for root in roots
    ]
    assert verdicts == [{"redacted"}, {"blocked"}, {"redacted"}] * len(FRAMEWORKS)


def test_the_demos_model_spans_carry_what_the_conventions_ask_for(demo):
    """The model's spans carry operation, provider, model, usage and a verdict; a blocked call used no tokens."""
    folder, _ = demo
    models = [
        s for s in read_spans(folder.glob("*.spans.jsonl")) if s.attributes.get("gen_ai.operation.name") == "chat"
    ]
    answered = [model for model in models if model.attributes["llmguard.verdict"] != "blocked"]
    assert len(answered) == 2 * len(FRAMEWORKS)
    for model in answered:
        assert model.attributes["gen_ai.provider.name"]
        assert model.attributes["gen_ai.request.model"] == "in-process"
        assert model.attributes["gen_ai.usage.input_tokens"] > 0
        assert model.attributes["gen_ai.usage.output_tokens"] > 0
    assert not any("gen_ai.usage.input_tokens" in model.attributes for model in models if model not in answered)


def test_the_demo_scores_in_the_background(demo):
    """The monitor's score is a record in the context of the application's span, and a span of its own below it."""
    folder, _ = demo
    spans = {span.span_id: span for span in read_spans(folder.glob("*.spans.jsonl"))}
    scores = [r for r in read_records(folder.glob("*.logs.jsonl")) if r.attributes.get("llmguard.monitor.name")]
    assert len(scores) == 2 * len(FRAMEWORKS), "the two questions of each framework that were answered"
    assert {spans[score.span_id].attributes["gen_ai.operation.name"] for score in scores} == {"invoke_workflow"}
    monitors = [span for span in spans.values() if span.name == "llmguard.monitor answer_length"]
    assert {span.parent_id for span in monitors} == {score.span_id for score in scores}


def test_the_demo_prints_trees(demo):
    """The terminal shows a tree for each framework, with model, tokens and verdict."""
    _, printed = demo
    assert printed.count("invoke_workflow") == 3 * len(FRAMEWORKS)
    assert "├── " in printed
    assert "redacted" in printed
    assert "blocked" in printed


GUARDS = """
from llmguard_middleware import Guard, Guardrail, Monitor
from llmguard_middleware.scorers import pii

def tone(tone: str):
    return 1.0

asks = Guard(Guardrail(tone, stage="input"))
asks_late = Guard(Monitor(tone))
"""


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--otlp", "foo"], 2, '--otlp "foo" is not a URL'),
        (["--otlp", "http://127.0.0.1:1"], 2, "the OTLP backend at http://127.0.0.1:1 does not answer"),
        (
            ["--base-url", "http://127.0.0.1:1/v1", "--model", "m"],
            2,
            "the model server at http://127.0.0.1:1/v1 does not",
        ),
        (["--base-url", "http://127.0.0.1:1/v1"], 2, "--base-url needs --model NAME"),
        (["--traces", "/proc/nowhere"], 2, 'cannot write telemetry into "/proc/nowhere"'),
        (["--framework", "langchian"], 2, 'did you mean "langchain"?'),
        (["--guard", "guards.py"], 2, "write FILE:NAME"),
        (["--guard", "missing.py:guard"], 2, 'there is no Python file "missing.py"'),
        (["--guard", "guards.py:nothing"], 2, 'guards.py has no Guard called "nothing"'),
        (
            ["--guard", "guards.py:asks"],
            2,
            'scorer "tone" asks for "tone", which this call does not have; it has: call,',
        ),
        (
            ["--guard", "guards.py:asks_late", "--framework", "langchain"],
            1,
            'monitor "tone" could not score: scorer "tone"',
        ),
        (["--guard", "action.py:guard"], 2, 'unknown action "redcat" in rule "pii": did you mean "redact"?'),
        (["--guard", "name.py:guard"], 2, 'rule name "my rule!" is not usable: start with a letter or digit'),
    ],
)
def test_a_mistake_is_one_sentence_and_a_non_zero_exit(tmp_path, arguments, code, sentence):
    """Each mistake of a user ends the demo with a sentence that says what to do, and with no traceback."""
    (tmp_path / "guards.py").write_text(GUARDS)
    (tmp_path / "action.py").write_text(GUARDS + 'guard = Guard(Guardrail(pii(), stage="input", action="redcat"))\n')
    (tmp_path / "name.py").write_text(GUARDS + 'guard = Guard(Guardrail(pii(), stage="input", name="my rule!"))\n')
    result = llmguard("demo", *arguments, cwd=tmp_path)
    assert result.returncode == code
    lines = result.stderr.splitlines()
    assert lines[0].startswith("llmguard: ")
    assert sentence in lines[0]
    assert "Traceback" not in result.stderr + result.stdout


def test_the_command_tells_its_version(tmp_path):
    """--version prints the distribution's version."""
    assert llmguard("--version", cwd=tmp_path).stdout.startswith("0.")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_demos_model_receives_no_personal_data_in_any_prompt(framework):
    """Nothing that the in-process model is sent is private, in whole prompts, and the attack is not sent at all."""
    model = InProcessModel()
    scenario = Scenario(default_guard(), DOCUMENTS, model.reply)
    (entry,) = (e for e in entry_points(group="llmguard_middleware.demo") if e.name == framework)
    app = entry.load()(scenario)
    answers = []
    for question in QUESTIONS:
        with suppress(GuardrailViolation):
            answers.append("".join(app.stream(question.text)) if question.streamed else app.ask(question.text))
    assert len(model.received) == len(answers) == 2
    everything = repr(model.received) + repr(answers)
    for private in (RESIDENT_NUMBER, E_MAIL, SECRET, "Ignore all previous"):
        assert private not in everything
    assert "<KR_RRN>" in model.received[0]
    assert "<AWS_ACCESS_KEY>" in answers[1]
