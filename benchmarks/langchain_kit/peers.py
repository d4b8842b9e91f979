"""The peers that are installed, content off as far as they can, exporting as we do.

Each is imported only where it is installed. Those that patch LangChain are switched on before and off after each of
their rounds. Traceloop's and MLflow's patches cannot be taken back, so their handlers are given to the calls instead,
which spares them the patch. Langfuse and MLflow put a processor of their own into their provider, which would export
everybody's spans a second time: they get providers of their own, with the same exporter and sink.
"""

# ruff: noqa: PLC0415, ARG001 - each peer is imported where it is made, and not all ask for the same

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider

from .handlers import Variant

__all__ = ["peers"]


def _switched(instrumentor: Any, **options: Any) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def on() -> Iterator[None]:
        instrumentor.instrument(skip_dep_check=True, **options)
        try:
            yield
        finally:
            instrumentor.uninstrument()

    return on


def _official(provider: TracerProvider, url: str) -> Variant:
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

    return Variant(around_round=_switched(LangChainInstrumentor(), tracer_provider=provider))


def _traceloop(provider: TracerProvider, url: str) -> Variant:
    os.environ["TRACELOOP_TRACE_CONTENT"] = "false"
    from opentelemetry.instrumentation.langchain.callback_handler import TraceloopCallbackHandler
    from opentelemetry.metrics import NoOpMeter

    histogram = NoOpMeter("traceloop").create_histogram("nothing")
    return Variant(callbacks=[TraceloopCallbackHandler(provider.get_tracer("traceloop"), histogram, histogram)])


def _openinference(provider: TracerProvider, url: str) -> Variant:
    from openinference.instrumentation import TraceConfig
    from openinference.instrumentation.langchain import LangChainInstrumentor

    config = TraceConfig(hide_inputs=True, hide_outputs=True)
    return Variant(around_round=_switched(LangChainInstrumentor(), tracer_provider=provider, config=config))


def _langfuse(provider: TracerProvider, url: str) -> Variant:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler

    own = TracerProvider()
    Langfuse(
        public_key="pk-bench",
        secret_key="sk-bench",  # noqa: S106 - nobody's
        base_url=url.removesuffix("/v1/traces"),
        tracer_provider=own,
        span_exporter=OTLPSpanExporter(url),
        flush_at=2048,
        flush_interval=3600,
        mask=lambda **_: None,
    )
    return Variant(callbacks=[CallbackHandler(public_key="pk-bench")], flush=own.force_flush)


def _mlflow(provider: TracerProvider, url: str) -> Variant:
    os.environ.update(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=url,
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/protobuf",
        OTEL_BSP_SCHEDULE_DELAY="3600000",
        MLFLOW_DISABLE_TELEMETRY="true",
    )
    from mlflow.langchain.langchain_tracer import MlflowLangchainTracer
    from mlflow.tracing import provider as its

    its._initialize_tracer_provider()  # noqa: SLF001 - at the first span otherwise
    its.provider.once._done = True  # noqa: SLF001 - the peer offers no other way
    return Variant(callbacks=[MlflowLangchainTracer(run_inline=True)], flush=its.provider.get().force_flush)


def _langsmith(provider: TracerProvider, url: str) -> Variant:
    from langchain_core.tracers import LangChainTracer
    from langsmith import Client

    client = Client(
        api_url=url.removesuffix("/v1/traces"),
        api_key="bench",
        tracing_mode="otel",
        otel_tracer_provider=provider,
        hide_inputs=True,
        hide_outputs=True,
        info={},
    )
    return Variant(callbacks=[LangChainTracer(client=client)], flush=client.flush)


_PEERS = {
    "otel genai": _official,
    "traceloop": _traceloop,
    "openinference": _openinference,
    "langfuse": _langfuse,
    "mlflow": _mlflow,
    "langsmith": _langsmith,
}


def peers(provider: TracerProvider, url: str) -> dict[str, Variant]:
    """Those that are installed, by name."""
    found: dict[str, Variant] = {}
    for name, made in _PEERS.items():
        try:
            found[name] = made(provider, url)
        except ImportError as error:  # noqa: PERF203 - six times
            print(f"{name} is left out: {error}")
    return found
