"""Where the spans go: OTLP/HTTP to a sink in another process, or nowhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

__all__ = ["Drop", "exporting"]

_SINK = """
import http.server
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Drop(SpanExporter):
    """Keeps nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drop them."""
        return SpanExportResult.SUCCESS


@contextmanager
def exporting() -> Iterator[tuple[TracerProvider, str]]:
    """A provider that exports when it is flushed, and the URL that it exports to."""
    sink = subprocess.Popen([sys.executable, "-c", _SINK], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own text
    assert sink.stdout is not None
    provider = TracerProvider()
    try:
        url = f"http://127.0.0.1:{sink.stdout.readline().strip()}/v1/traces"
        # Larger than any round: what is exported is exported by force_flush, after the clock was read.
        provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(url),
                schedule_delay_millis=3_600_000,
                max_queue_size=100_000,
                max_export_batch_size=4096,
            )
        )
        yield provider, url
    finally:
        provider.shutdown()
        sink.kill()
        sink.wait()
        sink.stdout.close()
