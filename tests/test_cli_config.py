"""`llmguard config`: check, explain, schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llmguard_middleware.cli import main

EXAMPLE = Path(__file__).parents[1] / "examples/guard.yaml"

BASE = """\
guardrails:
  - {scorer: pii, name: cards, stage: input, options: {kinds: [CREDIT_CARD]}, roles: [user], action: block,
     allow: [{pattern: 4+}], description: Card numbers, locked: true}
"""
FILE = """\
extends: base.yaml
guardrails:
  - {scorer: pii, stage: [output], options: {kinds: [US_SSN]}, action: {mask: {keep_last: 4}}, above: 0.5}
  - {scorer: pii, name: off, stage: tool_call, args: [US_SSN], action: log, active: false, where: {model: [a, b]}}
monitors:
  - {scorer: pii, name: late, args: [US_SSN], sample: 0.1}
tenants:
  attribute: tenant.id
  acme: {disable: [pii, late], override: {off: {active: true, action: {replace: {text: no}}}}}
"""
DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """A file and its base in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE)
    Path("guard.yaml").write_text(FILE)


def test_a_file_that_is_fine_is_one_line(capsys):
    """Check prints what there is, and exits with 0."""
    assert main(["config", "check", "guard.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("guard.yaml: 3 guardrails, 1 monitor, 1 tenant: fine (digest ")
    assert (len(out.splitlines()), err) == (1, "")


def test_the_example_is_fine(capsys):
    """The example of the distribution passes its own check."""
    assert main(["config", "check", str(EXAMPLE)]) == 0


@pytest.mark.parametrize(("options", "expected"), [([], "explain.txt"), (["--tenant", "acme"], "explain-acme.txt")])
def test_a_file_is_explained_in_plain_words(capsys, options, expected):
    """Explain prints a table of what the rules do, for whom, and where they are written; this is all of it."""
    assert main(["config", "explain", "guard.yaml", *options]) == 0
    assert capsys.readouterr().out == (DATA / expected).read_text()


@pytest.mark.parametrize("action", ["check", "explain"])
def test_mistakes_are_listed_and_the_exit_is_2(capsys, action):
    """A bad file is its problems, one a line, with no traceback."""
    Path("guard.yaml").write_text("nmae: x\nversion: 3\n")
    assert main(["config", action, "guard.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[0] for line in err.splitlines()] == ["guard.yaml:1:1", "guard.yaml:2:10"]


def test_scorers_of_the_folder_are_found():
    """The command, run as a user does, finds modules in the current folder as `python -m` would."""
    Path("mine.py").write_text("def long(text: str): return False\n")
    Path("own.yaml").write_text('guardrails: [{scorer: "mine:long", stage: input}]\n')
    command = Path(sys.executable).with_name("llmguard")
    done = subprocess.run([command, "config", "check", "own.yaml"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("own.yaml: 1 guardrail, 0 monitors, 0 tenants: fine")


def test_the_schema_is_json_schema(capsys):
    """Schema prints a JSON schema that knows every key of the file."""
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"version", "extends", "guardrails", "monitors", "tenants"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_an_unknown_tenant_is_told(capsys):
    """Explain --tenant of nobody says who there is."""
    assert main(["config", "explain", "guard.yaml", "--tenant", "acne"]) == 2
    assert capsys.readouterr().err == 'there is no tenant "acne": did you mean "acme"? Known: acme\n'
