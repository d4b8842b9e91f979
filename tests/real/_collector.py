"""The OpenTelemetry collector `rotel-agent`, receiving OTLP on loopback ports."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ._process import HOST, Child, free_ports, listens, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_START_LIMIT = 15.0
_DEBUG = [
    *("--debug-log", "traces", "--debug-log", "logs", "--debug-log", "metrics"),
    *("--debug-log-verbosity", "detailed"),
]


@dataclass(frozen=True)
class Collector:
    """A running collector; both addresses are without a path, e.g. `http://127.0.0.1:41234`."""

    grpc_url: str
    http_url: str
    child: Child

    def log(self) -> str:
        """Everything the collector wrote so far: each span, log record and metric it received, in full."""
        return self.child.output()

    def wait_for(self, wanted: str | Callable[[str], bool], timeout: float = 5.0) -> str:
        """Return the log once it holds the text, or satisfies the predicate; AssertionError after `timeout` seconds."""
        text = ""

        def found() -> bool:
            nonlocal text
            text = self.log()
            return wanted in text if isinstance(wanted, str) else wanted(text)

        wait_until(found, limit=timeout, otherwise=lambda: f"no {wanted!r} in the collector's log:\n{text}")
        return text


@contextmanager
def collecting(folder: Path, *, forward_to: str | None = None) -> Iterator[Collector]:
    """Run a collector for the length of the block; it drops what it receives or forwards it over OTLP/HTTP."""
    grpc_port, http_port = free_ports(2)
    endpoints = ["--otlp-grpc-endpoint", f"{HOST}:{grpc_port}", "--otlp-http-endpoint", f"{HOST}:{http_port}"]
    with serving(
        [str(_agent()), "start", *endpoints, *_DEBUG, *_exporter(forward_to)],
        log=folder / f"rotel-{http_port}.log",
        ready=lambda: listens(grpc_port) and listens(http_port),
        limit=_START_LIMIT,
        env=_environment(),
    ) as child:
        yield Collector(grpc_url=f"http://{HOST}:{grpc_port}", http_url=f"http://{HOST}:{http_port}", child=child)


def _agent() -> Path:
    spec = find_spec("rotel")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package rotel is not installed: uv sync --group dev")
    return Path(spec.origin).with_name("rotel-agent")


def _exporter(forward_to: str | None) -> list[str]:
    if forward_to is None:
        return ["--exporter", "blackhole"]
    target = ["--otlp-exporter-endpoint", forward_to, "--otlp-exporter-protocol", "http"]
    # Quick to send and quick to try again: the defaults (200 ms, 5 s) are for production.
    return ["--exporter", "otlp", *target, "--batch-timeout", "50ms", "--otlp-exporter-retry-initial-backoff", "200ms"]


def _environment() -> dict[str, str]:
    # Every flag of rotel has a variable; a developer's own must not change the tests.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ROTEL_")}
    return inherited | {"NO_COLOR": "1"}
