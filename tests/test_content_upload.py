"""Content uploaded by reference: spans hold URLs, objects hold content, a call never waits, drops are counted."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Message, scorer
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.telemetry import TelemetryOptions, configure
from llmguard_middleware.telemetry._content._upload import Uploads, uploads_to

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

CONTENT = {"gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}] * 2}


class Slow:
    """A file system that waits to be let go, and may fail."""

    def __init__(self) -> None:
        self.go, self.begun, self.failing = threading.Event(), threading.Event(), False

    def write(self, url: str, value: Any) -> None:
        """Write nothing, when it is let go."""
        self.begun.set()
        self.go.wait()
        if self.failing:
            raise OSError(url)


@pytest.fixture
def slow() -> Any:
    """Its uploads, two of which may wait."""
    slow = Slow()
    uploads = Uploads("memory://slow", size=2)
    uploads._write = slow.write  # type: ignore[method-assign]  # the file system is what is faked
    yield uploads, slow
    slow.go.set()
    uploads.shutdown()


def chat(guard: Guard, text: str) -> None:
    """One model call, as an adapter makes it."""
    with Flow(guard, Call("chat", model="m")) as flow:
        drive(flow.admit([Message("user", text)]), guard.workers)
        flow.answered(output="fine")


@pytest.mark.parametrize("content", ["SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"])
def test_spans_and_events_hold_references_only(telemetry: CapturedTelemetry, tmp_path: Path, content: Any) -> None:
    """What was said is in objects of its folder, of which the attributes `..._ref` give the URLs; nothing is inline."""
    options = TelemetryOptions(content, upload=tmp_path.as_uri())
    guard = Guard(**telemetry.providers, telemetry=options)
    chat(guard, "hello")
    assert guard.emitter.capture is not None
    uploads = guard.emitter.capture.uploads
    assert uploads is not None
    assert uploads.flush(5)
    told = telemetry.records[0].attributes if content == "EVENT_ONLY" else telemetry.span("chat m").attributes
    assert "hello" not in repr((telemetry.spans, telemetry.records))
    with fsspec.open(told["gen_ai.input.messages_ref"]) as file:
        assert json.load(file)[0]["parts"] == [{"type": "text", "content": "hello"}]
    with fsspec.open(told["gen_ai.output.messages_ref"]) as file:
        assert json.load(file)[0]["parts"] == [{"type": "text", "content": "fine"}]


def test_objects_are_for_their_owner_only(tmp_path: Path) -> None:
    """Files have mode 0600, in a folder that is made for them with 0700."""
    uploads = Uploads((tmp_path / "new").as_uri())
    (url,) = uploads.put(CONTENT).values()
    assert uploads.shutdown(5)
    (written,) = (tmp_path / "new").iterdir()
    assert url.endswith(written.name)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700


def test_json_lines_hold_a_message_each() -> None:
    """With `jsonl` an object has a line for each item; any file system that fsspec knows will do."""
    uploads = Uploads("memory://lines", "jsonl")
    (url,) = uploads.put(CONTENT).values()
    assert uploads.shutdown(5)
    with fsspec.open(url) as file:
        assert [json.loads(line) for line in file.read().splitlines()] == CONTENT["gen_ai.input.messages"]


def test_what_is_redacted_is_in_no_object(telemetry: CapturedTelemetry, tmp_path: Path) -> None:
    """Uploads are of what the guardrails let pass."""

    @scorer(name="all", cheap=True)
    def everything(text: str) -> bool:
        return True

    rule = Guardrail(everything, stage="input", action="redact")
    options = TelemetryOptions("SPAN_ONLY", upload=str(tmp_path))
    guard = Guard(rule, **telemetry.providers, telemetry=options)
    chat(guard, "canary")
    assert uploads_to(str(tmp_path), "json", 20).flush(5)
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert len(written) == 2
    assert "canary" not in "".join(written)


def test_a_full_queue_drops_and_counts(slow: tuple[Uploads, Slow]) -> None:
    """Of what does not fit there is no reference, its count goes up, nobody waits."""
    uploads, place = slow
    assert uploads.put(CONTENT)
    assert place.begun.wait(5)
    assert [bool(uploads.put(CONTENT)) for _ in range(5)] == [True, True, False, False, False]
    assert uploads.dropped == {"queue_full": 3}


def test_drops_are_in_what_telemetry_says_that_it_lost(slow: tuple[Uploads, Slow], tmp_path: Path) -> None:
    """Content that is dropped is in `Telemetry.dropped` and in the metric, as signal `content`, by its reason."""
    uploads, place = slow
    telemetry = configure(file=tmp_path, set_global=False)
    uploads.put(CONTENT)
    assert place.begun.wait(5)
    for _ in range(3):
        uploads.put(CONTENT)
    place.failing = True
    place.go.set()
    assert not telemetry.flush(5)
    lost = {"queue_full": 1, "export_failed": 3}
    assert telemetry.dropped == {"content": lost}
    assert telemetry.flush(5)
    assert _last_points(tmp_path) == {("content", reason): number for reason, number in lost.items()}
    assert telemetry.shutdown(5)


def _last_points(folder: Path) -> dict[tuple[str, str], int]:
    """Of `llmguard.telemetry.dropped`, as last exported, by signal and reason."""
    (path,) = folder.glob("*.metrics.jsonl")
    last = json.loads(path.read_text().splitlines()[-1])
    found: dict[tuple[str, str], int] = {}
    for scope in last["resourceMetrics"][0]["scopeMetrics"]:
        for metric in scope["metrics"]:
            for point in metric["sum"]["dataPoints"] if metric["name"] == "llmguard.telemetry.dropped" else []:
                told = {one["key"]: one["value"]["stringValue"] for one in point["attributes"]}
                found[told["llmguard.signal"], told["llmguard.reason"]] = int(point["asInt"])
    return found


@pytest.mark.parametrize("end", ["flush", "shutdown"])
def test_telemetry_waits_for_uploads(slow: tuple[Uploads, Slow], tmp_path: Path, end: str) -> None:
    """Its flush and its shutdown are done when what was put is written, and not before; never later than asked for."""
    uploads, place = slow
    late, telemetry = configure(file=tmp_path / "late", set_global=False), configure(file=tmp_path, set_global=False)
    uploads.put(CONTENT)
    assert place.begun.wait(5)
    assert getattr(late, end)(0.05) is False
    threading.Timer(0.05, place.go.set).start()
    assert getattr(telemetry, end)(10)
    assert uploads.flush(0)
    late.shutdown()
    telemetry.shutdown()


@pytest.mark.parametrize("end", ["flush", "shutdown"])
def test_a_guard_waits_for_its_uploads(telemetry: CapturedTelemetry, tmp_path: Path, end: str) -> None:
    """Its content is there once it is flushed or shut down; a place that never answers does not hold it up."""
    options = TelemetryOptions("SPAN_ONLY", upload=str(tmp_path / "there"))
    guard = Guard(**telemetry.providers, telemetry=options)
    assert guard.emitter.capture is not None
    assert guard.emitter.capture.uploads is not None
    write, go = guard.emitter.capture.uploads._write, threading.Event()

    def slowly(url: str, value: Any) -> None:
        go.wait()
        write(url, value)

    guard.emitter.capture.uploads._write = slowly  # type: ignore[method-assign]  # the file system is what is faked
    chat(guard, "hello")
    assert getattr(guard, end)(0.05) == 0
    assert not (tmp_path / "there").exists()
    threading.Timer(0.05, go.set).start()
    assert getattr(guard, end)(10) == 0
    assert len(list((tmp_path / "there").iterdir())) == 2


def test_a_failing_place_is_counted_and_told_by_type(
    slow: tuple[Uploads, Slow], caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written is counted; the log names the kind of error, whose text may hold a key."""
    uploads, place = slow
    place.failing = True
    place.go.set()
    uploads.put(CONTENT)
    assert uploads.flush(5)
    assert uploads.dropped == {"export_failed": 1}
    assert caplog.messages == ["telemetry could not be written: OSError"]


def test_flush_and_shutdown_have_a_time_limit(slow: tuple[Uploads, Slow]) -> None:
    """A place that never answers holds nobody up; what waits then is dropped and counted, and so is what comes."""
    uploads, place = slow
    for _ in range(3):
        uploads.put(CONTENT)
        assert place.begun.wait(5)
    assert not uploads.flush(0.01)
    assert not uploads.shutdown(0.01)
    assert uploads.put(CONTENT) == {}
    assert uploads.dropped == {"shutdown": 3}


def test_a_fork_begins_anew(slow: tuple[Uploads, Slow]) -> None:
    """A child has an empty queue and a thread of its own, even if the parent's lock was held."""
    uploads, place = slow
    uploads.put(CONTENT)
    assert place.begun.wait(5)
    reader, writer = os.pipe()
    with uploads._changed:
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            place.go.set()
            uploads._write = lambda url, value: None  # type: ignore[method-assign]  # as above
            fine = bool(uploads.put(CONTENT)) and uploads.flush(5)
            os.write(writer, b"y" if fine else b"n")
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"y"
    os.waitpid(child, 0)
    os.close(reader)


def test_the_interpreter_waits_for_what_is_queued(tmp_path: Path) -> None:
    """A process that ends writes what it has taken."""
    module = "llmguard_middleware.telemetry._content._upload"
    code = f"from {module} import Uploads; Uploads({str(tmp_path)!r}).put({CONTENT!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_url_that_nobody_knows_is_refused() -> None:
    """The sentence says what to give, and quotes no more than the scheme: a URL may hold a key."""
    with pytest.raises(ConfigurationError, match='fsspec cannot write to "nowhere://"') as raised:
        Guard(telemetry=TelemetryOptions("SPAN_ONLY", upload="nowhere://key:secret@host"))
    assert "secret" not in str(raised.value)
