"""Fixtures of the real parts. None of them skips: a part that cannot start is an error that says why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from llmguard_middleware.testing import CapturedTelemetry, captured_telemetry

from ._collector import Collector, collecting
from ._model_server import SmolLM2, serving_smollm2
from ._receiver import Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._recorder import Recorder


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmolLM2]:
    """A small real model behind an OpenAI-compatible server, reached through a recorder."""
    with serving_smollm2(tmp_path_factory.mktemp("smollm2")) as model:
        yield model


@pytest.fixture
def recorder(smollm2: SmolLM2) -> Recorder:
    """The model's recorder, emptied for this test."""
    smollm2.recorder.clear()
    return smollm2.recorder


@pytest.fixture
def otlp_receiver() -> Iterator[Receiver]:
    """An OTLP/HTTP backend in this process."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A real collector that logs what it receives and drops it."""
    with collecting(tmp_path) as running:
        yield running


@pytest.fixture
def forwarding_collector(tmp_path: Path, otlp_receiver: Receiver) -> Iterator[Collector]:
    """A real collector that forwards to this test's `otlp_receiver`."""
    with collecting(tmp_path, forward_to=otlp_receiver.url) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder starts a server."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture
def captured() -> Iterator[CapturedTelemetry]:
    """Spans and records in memory."""
    with captured_telemetry() as telemetry:
        yield telemetry


@pytest.fixture
def http_spans(captured: CapturedTelemetry) -> Iterator[None]:
    """HTTP clients are traced too, by OpenTelemetry's own instrumentation, into the same memory."""
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=captured.tracer_provider)
    yield
    instrumentor.uninstrument()
