"""The demo against a real model server and a real backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from llmguard_middleware._demo._material import E_MAIL, RESIDENT_NUMBER

from ._exposition import exposing


def test_the_demo_runs_against_a_real_server_and_backend(recorder, smollm2, otlp_receiver, tmp_path):
    """With --base-url and --otlp the same job runs: no personal data on the wire, the blocked prompt never sent."""
    command = Path(sys.executable).with_name("llmguard")
    options = ["--base-url", smollm2.base_url, "--model", smollm2.model, "--otlp", otlp_receiver.url]
    result = subprocess.run([command, "demo", *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"sent to {otlp_receiver.url}: look for the service llmguard-demo" in " ".join(result.stdout.split())
    prompts = [request.json()["messages"] for request in recorder.requests]
    assert len(prompts) == 4, "two questions for each framework; the third was blocked"
    assert "<KR_RRN>" in str(prompts[0])
    sent = "".join(request.body.decode() for request in recorder.requests) + repr(otlp_receiver.payloads)
    assert RESIDENT_NUMBER not in sent
    assert E_MAIL not in sent
    assert "Ignore all previous" not in sent
    chats = [span for span in otlp_receiver.spans if span.attributes.get("gen_ai.operation.name") == "chat"]
    assert {span.attributes["gen_ai.provider.name"] for span in chats} == {"openai"}
    blocked = [
        span for span in otlp_receiver.spans if span.attributes.get("error.type") == "blocked" and not span.parent_id
    ]
    assert len(blocked) == 2, "one for each framework"
    assert {log.event_name for log in otlp_receiver.logs} == {"gen_ai.evaluation.result"}


def test_the_demo_says_so_if_a_backend_does_not_take_all(tmp_path):
    """A backend that takes no metrics, as a bare Jaeger, gets the traces; the demo says that something was lost."""
    command = Path(sys.executable).with_name("llmguard")
    with exposing(refused="/v1/metrics") as backend:
        options = ["--framework", "langchain", "--otlp", backend.url]
        result = subprocess.run([command, "demo", *options], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert backend.spans
    assert f"not all of it was sent to {backend.url}" in " ".join(result.stdout.split())
    assert "metrics" in result.stderr
    assert result.returncode == 1


def test_an_unknown_model_server_path_is_told_in_a_sentence(recorder, smollm2, tmp_path):
    """A server that answers but not as a model server does ends the demo with one sentence and exit code 2."""
    command = Path(sys.executable).with_name("llmguard")
    wrong = smollm2.base_url.replace("/v1", "/nowhere")
    result = subprocess.run(
        [command, "demo", "--framework", "langchain", "--base-url", wrong, "--model", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"llmguard: the model server at {wrong} failed: ")
    assert len(result.stderr.splitlines()) == 1
