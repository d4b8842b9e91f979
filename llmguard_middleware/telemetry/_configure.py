"""configure(): an OpenTelemetry SDK set-up for applications that have none."""

from __future__ import annotations


def configure() -> None: ...


class Telemetry: ...
