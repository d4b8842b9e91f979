"""Where telemetry goes: what was asked for in the call and by the standard `OTEL_*` variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from ..errors import ConfigurationError, nearest

__all__ = ["Protocol", "Signal", "Sinks", "protocol_of", "sinks"]

Protocol = Literal["http/protobuf", "grpc"]
Signal = Literal["traces", "logs", "metrics"]

DEFAULT_FOLDER = "traces"


@dataclass(frozen=True)
class Sinks:
    """A folder for files or None; and for each signal the names of its exporters, `otlp` among them."""

    folder: Path | None
    exporters: Mapping[Signal, tuple[str, ...]]
    silent: frozenset[Signal]
    """Signals that the environment switched off, files included."""
    disabled: bool = False
    """Whether the environment switched the whole SDK off."""


def sinks(endpoint: str | None, file: str | os.PathLike[str] | None, *, elsewhere: bool = False) -> Sinks:
    """What these arguments of `configure` and the environment ask for.

    With nothing asked for: the default folder, unless telemetry is shown `elsewhere`.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Sinks(None, {}, frozenset(get_args(Signal)), disabled=True)
    asked: dict[Signal, tuple[str, ...]] = {}
    silent: set[Signal] = set()
    for signal in get_args(Signal):
        value = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        if names == ("none",):
            silent.add(signal)
        elif names:
            asked[signal] = names
    named = any(
        key.startswith("OTEL_EXPORTER_OTLP_") and key.endswith("ENDPOINT") and value
        for key, value in os.environ.items()
    )
    if endpoint is not None or (file is None and named):
        for signal in get_args(Signal):
            asked.setdefault(signal, ("otlp",))
    elif file is not None:
        asked = {}
    elif not asked and not elsewhere:
        file = DEFAULT_FOLDER
    exporters = {signal: names for signal, names in asked.items() if signal not in silent}
    return Sinks(Path(file) if file is not None else None, exporters, frozenset(silent))


def protocol_of(signal: str, endpoint: str | None) -> Any:
    """The protocol to `endpoint`, or to the one of the environment: as the environment says, else by the port.

    Raises:
        ConfigurationError: for one that is not known.
    """
    for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        value = os.environ.get(name, "").strip()
        if value:
            if value not in get_args(Protocol):
                msg = f'unknown protocol "{value}" in {name}: {nearest(value, get_args(Protocol))}'
                raise ConfigurationError(msg)
            return value
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    to = endpoint or next((os.environ[name] for name in names if os.environ.get(name)), "")
    return "grpc" if urlsplit(to).port == 4317 else "http/protobuf"  # noqa: PLR2004 - OTLP's port
