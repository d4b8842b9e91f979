"""configure() sets up OpenTelemetry for a process that has none, and says in one sentence what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Monitor, scorer
from llmguard_middleware._call import Call
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import pii
from llmguard_middleware.telemetry import configure
from llmguard_middleware.telemetry._files import read_records, read_spans


def run(code, cwd, **environment):
    """Run Python code in a process of its own."""
    source = textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", source],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def telemetry(tmp_path):
    """Files in a folder of this test's."""
    made = configure(file=tmp_path / "traces", service_name="test", set_global=False)
    yield made
    made.shutdown()


def test_a_span_and_its_scores_are_lines_in_files(telemetry):
    """What is written can be read back: the span with its attributes, the evaluation in its context."""

    @scorer
    def length(output: str) -> float:
        return float(len(output))

    guard = Guard(
        Guardrail(pii(), stage="output", action="log"),
        Monitor(length),
        tracer_provider=telemetry.tracer_provider,
        logger_provider=telemetry.logger_provider,
    )
    flow = Flow(guard, Call("chat", provider="fake", model="m"))
    flow.answered(output="Hello")
    assert guard.flush() == 0
    chat, monitor = sorted(read_spans(telemetry.files[:1]), key=lambda span: span.started)
    assert (chat.name, chat.parent_id, chat.attributes["gen_ai.provider.name"]) == ("chat m", "", "fake")
    assert (monitor.name, monitor.parent_id, monitor.trace_id) == (
        "llmguard.monitor length",
        chat.span_id,
        chat.trace_id,
    )
    (record,) = read_records(telemetry.files[1:])
    assert (record.event_name, record.span_id) == ("gen_ai.evaluation.result", chat.span_id)
    assert record.attributes["gen_ai.evaluation.score.value"] == 5.0


def test_only_the_owner_can_read_the_files(telemetry):
    """The files are made with mode 0600."""
    assert [file.stat().st_mode & 0o777 for file in telemetry.files] == [0o600] * 3


def test_a_killed_process_loses_nothing_that_had_ended(tmp_path):
    """After SIGKILL every span that had ended is readable; a torn last line is left out."""
    code = """
        from llmguard_middleware import Guard
        from llmguard_middleware._call import Call
        from llmguard_middleware._flow import Flow
        from llmguard_middleware.telemetry import configure
        configure()
        guard = Guard()
        for number in range(20):
            Flow(guard, Call("chat", provider="fake", model=str(number))).answered(output="x")
        print("done", flush=True)
        import time
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "done\n"
        process.send_signal(signal.SIGKILL)
    (file,) = (tmp_path / "traces").glob("*.spans.jsonl")
    with file.open("a") as torn:
        torn.write('{"resourceSpans": [{"resou')
    assert [span.name for span in read_spans([file])] == [f"chat {number}" for number in range(20)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"endpoint": "localhost:4318"},
            '"localhost:4318" is not an OTLP endpoint; give its base URL, for example http',
        ),
        ({"endpoint": "http://host:port"}, '"http://host:port" is not an OTLP endpoint'),
        ({"endpoint": "http://localhost:4318", "protocol": "htp/protobuf"}, 'did you mean "http/protobuf"?'),
        ({"endpoint": "http://host:4318/v1/traces"}, "takes one signal only; leave out /v1/traces"),
        ({"file": "/proc/nowhere"}, 'cannot write telemetry into "/proc/nowhere"'),
        ({"file": ""}, "file= takes the path of a folder and was given ''"),
        ({"keep_days": -1}, "keep_days is -1; give days greater than 0, or None"),
        ({"keep_days": "x"}, "keep_days is 'x'; give days greater than 0, or None"),
        ({"max_file_bytes": "64M"}, "max_file_bytes is '64M'; it must be a whole number of bytes, 4096 or more"),
        ({"service_name": 3}, "service_name of configure() is int; give a text"),
        ({"console": "yes"}, "console of configure() is 'yes'; give True or False"),
    ],
)
def test_a_wrong_argument_is_told_in_a_sentence(arguments, sentence):
    """An unknown endpoint or protocol and an unwritable folder are configuration errors that say what to do."""
    with pytest.raises(ConfigurationError) as raised:
        configure(**arguments, set_global=False)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_variable_that_is_no_url_is_told_in_a_sentence(monkeypatch):
    """An endpoint without http:// in the environment is a configuration error that names the variable."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
    with pytest.raises(ConfigurationError, match='OTEL_EXPORTER_OTLP_ENDPOINT is "collector:4318", which is no URL'):
        configure(set_global=False)


def test_a_second_provider_is_refused(tmp_path):
    """Where a provider is set already, configure() does not replace it and says what to do."""
    result = run(
        """
        from llmguard_middleware import ConfigurationError
        from llmguard_middleware.telemetry import configure
        configure()
        try:
            configure()
        except ConfigurationError as error:
            print(error)
        """,
        tmp_path,
    )
    assert result.stdout == (
        "this process already has a tracer provider (TracerProvider), and every Guard uses it: "
        "leave configure() out, or pass set_global=False\n"
    )


def test_a_guard_made_before_configure_is_traced(tmp_path):
    """The order of Guard() and configure() does not matter, and scores still waiting at exit are written."""
    result = run(
        """
        import time
        from llmguard_middleware import Guard, Monitor
        from llmguard_middleware._call import Call
        from llmguard_middleware._flow import Flow
        from llmguard_middleware.telemetry import configure
        def slow(output: str):
            time.sleep(0.3)
            return 1.0
        guard = Guard(Monitor(slow))
        configure()
        Flow(guard, Call("chat", provider="fake", model="m")).answered(output="x")
        """,
        tmp_path,
    )
    assert (result.returncode, result.stderr) == (0, "")
    names = {span.name for span in read_spans((tmp_path / "traces").glob("*.spans.jsonl"))}
    assert names == {"chat m", "llmguard.monitor slow"}


def test_importing_the_telemetry_package_loads_no_sdk(tmp_path):
    """The SDK is loaded when configure() is called, not before."""
    code = "import sys, llmguard_middleware.telemetry; print('opentelemetry.sdk' in sys.modules)"
    assert run(code, tmp_path).stdout == "False\n"
