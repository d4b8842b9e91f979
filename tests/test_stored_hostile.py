"""Stored telemetry that somebody else wrote, or that is none: one sentence at most, no control of a terminal."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from llmguard_middleware.cli import main

TRACE, SPAN = "0" * 31 + "1", "0" * 15 + "1"
GOOD: dict[str, Any] = {
    "traceId": TRACE,
    "spanId": SPAN,
    "name": "chat m",
    "startTimeUnixNano": "1700000000000000000",
    "endTimeUnixNano": "1700000001000000000",
}


def line(**changes: Any) -> str:
    """One stored span, changed."""
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{**GOOD, **changes}]}]}]}) + "\n"


HOSTILE = {
    "deep": b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "deep value": line(attributes=[{"key": "k", "value": {}}])
    .replace('"value": {}', '"value": ' + '{"arrayValue": {"values": [' * 400 + "]}}" * 400)
    .encode(),
    "wrong types": b'{"resourceSpans": 3}\n{"resourceSpans": [3]}\n'
    b'{"resourceSpans": [{"scopeSpans": {"a": 1}}]}\n[]\n3\n',
    "no ids": b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}\n'
    b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[3]}]}]}\n',
    "no numbers": line(startTimeUnixNano="soon", endTimeUnixNano={}).encode(),
    "infinite": line(startTimeUnixNano=float("inf")).encode(),
    "no time that there is": line(startTimeUnixNano="9" * 40).encode(),
    "status": line(status=3).encode(),
    "attributes": line(attributes=[{"key": "gen_ai.usage.input_tokens"}, 3, {"value": {"stringValue": "x"}}]).encode(),
    "tokens": line(
        attributes=[
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"stringValue": "many"}},
        ]
    ).encode(),
    "gzip": gzip.compress(line().encode()),
    "binary": bytes(range(256)) * 100,
    "ten megabytes": line(name="x" * (10 << 20)).encode(),
    "surrogates": line(name="\ud800").encode(),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("command", [["replay", "--dry-run"], ["traces"], ["traces", "--table"]])
def test_a_file_that_is_anything_else_is_left_out(
    kind: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be read beside it is read, and no traceback is shown."""
    (tmp_path / "a.jsonl").write_bytes(HOSTILE[kind])
    (tmp_path / "b.jsonl").write_text(line(name="chat good", spanId="0" * 15 + "2"))
    assert main([*command, str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert "found" in told.out or TRACE[:8] in told.out or "chat good" in told.out
    assert len(told.out) < 10_000


@pytest.mark.parametrize("command", [["replay", "--dry-run"], ["traces"]])
def test_a_folder_may_hold_what_is_no_file(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pipes, folders and links that lead nowhere or back are not opened, whatever they are called."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    (tmp_path / "folder.jsonl" / "loop").symlink_to(tmp_path)
    (tmp_path / "b.jsonl").write_text(line())
    assert main([*command, str(tmp_path)]) == 0
    assert "1 span," in (told := capsys.readouterr().out) or "chat m" in told


def test_traces_do_not_control_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences in names and attributes, which a model may have chosen, are shown and not obeyed."""
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"
    attributes = [
        {"key": key, "value": {"stringValue": evil}}
        for key in ("llmguard.verdict", "gen_ai.provider.name", "error.type", "llmguard.guardrail.name")
    ]
    record = {"eventName": evil, "traceId": "0" * 31 + "2", "attributes": attributes, "timeUnixNano": "1"}
    (tmp_path / "a.jsonl").write_text(
        line(name=f"chat {evil}", attributes=attributes)
        + json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
        + "\n"
    )
    for command in (["traces"], ["traces", "--table"]):
        assert main([*command, str(tmp_path)]) == 0
        told = capsys.readouterr().out
        assert "owned" in told
        assert not set(told) & set("\x1b\x07\x9b\r\u202e")


def test_a_journal_of_many_records_without_a_trace_is_shown_soon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty thousand violations of a process without traces, stored twice, are twenty thousand."""
    written = "".join(
        json.dumps(
            {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "e", "timeUnixNano": str(n + 1)}]}]}]}
        )
        + "\n"
        for n in range(20_000)
    )
    (tmp_path / "a.jsonl").write_text(written)
    (tmp_path / "b.jsonl").write_text(written)
    assert main(["traces", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("\n") == 20_001
