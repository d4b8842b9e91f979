"""`llmguard replay` and `llmguard traces`: what is done with stored telemetry."""

from __future__ import annotations

import argparse
import importlib.util
import re
import time
from pathlib import Path
from typing import Any, get_args

from .errors import ConfigurationError, LLMGuardError
from .telemetry._configure import check_url
from .telemetry._files import files_of
from .telemetry._sinks import Protocol, protocol_of

__all__ = ["add_stored_commands", "replay_command", "traces_command"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_stored_commands(commands: Any) -> None:
    """Add both to the parser."""
    replay = commands.add_parser("replay", help="send stored telemetry (OTLP JSON lines, the journal) to a backend")
    replay.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files of JSON lines, or folders of them")
    replay.add_argument("--otlp", metavar="URL", help="the OTLP backend, for example http://localhost:4318")
    replay.add_argument("--protocol", choices=get_args(Protocol), help="default: grpc for port 4317, else HTTP")
    replay.add_argument("--dry-run", action="store_true", help="count only, send nothing")
    traces = commands.add_parser("traces", help="show stored traces as trees, or as a table")
    traces.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        default=[Path("traces")],
        help="files or folders (default: traces)",
    )
    traces.add_argument("--blocked", action="store_true", help="those in which a guardrail stopped something")
    traces.add_argument("--since", metavar="AGE", help="those begun within this time: 90s, 15m, 1h, 2d")
    traces.add_argument("--trace", metavar="ID", help="the one whose id begins like this")
    traces.add_argument("--table", action="store_true", help="one line for each trace")


def replay_command(options: argparse.Namespace) -> str:
    """Send, or count; return the sentence to print.

    Raises:
        LLMGuardError: in one sentence; a ConfigurationError if it is a mistake of the user.
    """
    if importlib.util.find_spec("opentelemetry.proto") is None:
        msg = "llmguard replay needs OTLP: pip install 'llmguard-middleware[otlp]'"
        raise ConfigurationError(msg)
    if not options.otlp and not options.dry_run:
        msg = "llmguard replay needs --otlp URL, the backend to send to, or --dry-run"
        raise ConfigurationError(msg)
    files = files_of(options.paths)
    from .telemetry._replay import replay  # noqa: PLC0415 - protobuf, an extra
    from .telemetry._send import sender  # noqa: PLC0415 - the same

    send = None
    if not options.dry_run:
        check_url(options.otlp)
        send = sender(options.otlp, options.protocol or protocol_of("", options.otlp))
    return replay(files, send).sentence("found" if options.dry_run else f"sent to {options.otlp}:")


def traces_command(options: argparse.Namespace) -> None:
    """Print stored traces.

    Raises:
        LLMGuardError: in one sentence; a ConfigurationError if it is a mistake of the user.
    """
    if importlib.util.find_spec("rich") is None:
        msg = "llmguard traces needs rich: pip install 'llmguard-middleware[console]'"
        raise ConfigurationError(msg)
    since = _since(options.since)
    files = files_of(options.paths)
    from rich.console import Console  # noqa: PLC0415 - an extra

    from .telemetry._show import read_traces, show_table, show_trees  # noqa: PLC0415 - rich, an extra

    stored = read_traces(files)
    traces = [
        trace
        for trace in stored
        if trace.started >= since
        and (trace.blocked or not options.blocked)
        and (not options.trace or trace.trace_id.startswith(options.trace.lower()))
    ]
    if not traces:
        count, number = len(stored), len(files)
        said = f"{count} trace{'s' * (count != 1)} in {number} file{'s' * (number != 1)}"
        raise NoTracesError(
            f"none of the {said} fits --blocked, --since and --trace" if stored else f"there are {said}"
        )
    (show_table if options.table else show_trees)(traces, Console())


class NoTracesError(LLMGuardError):
    """Nothing that was stored fits."""


def _since(age: str | None) -> int:
    if age is None:
        return 0
    match = re.fullmatch(r"(\d+)([smhd])", age)
    if match is None:
        msg = f'--since "{age}" is no time; write a number and s, m, h or d, for example 1h'
        raise ConfigurationError(msg)
    return time.time_ns() - int(match[1]) * _SECONDS[match[2]] * 10**9
