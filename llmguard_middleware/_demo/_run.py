"""The demo's run: every framework's application, every question, then the traces as trees."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from .._guard import Guard
from ..errors import ConfigurationError, GuardrailViolation, LLMGuardError, nearest
from ..telemetry import configure
from ..telemetry._files import read_records, read_spans
from ..telemetry._trees import trees
from ._material import DOCUMENTS, QUESTIONS, InProcessModel, Question, default_guard
from ._scenario import App, Scenario

__all__ = ["Options", "run"]

_GROUP = "llmguard_middleware.demo"
_SERVICE = "llmguard-demo"


@dataclass(frozen=True)
class Options:
    """The demo's command-line options."""

    frameworks: tuple[str, ...] = ()
    base_url: str | None = None
    model: str = "in-process"
    api_key: str = "none"
    otlp: str | None = None
    traces: Path = Path("traces")
    guard: Guard | None = None


class ModelServerError(LLMGuardError):
    """The model server did not answer as one does."""


def run(options: Options, console: Console) -> None:
    """Run the demo.

    Raises:
        LLMGuardError: for a mistake of the user, in one sentence.
    """
    if options.base_url is not None:
        _reach(options.base_url, "the model server", "--base-url")
    if options.otlp is not None:
        _reach(options.otlp, "the OTLP backend", "--otlp")
    guard = options.guard or default_guard()
    model = InProcessModel()
    scenario = Scenario(guard, DOCUMENTS, model.reply, options.model, options.base_url, options.api_key)
    apps = {framework: _build(framework, scenario) for framework in options.frameworks or _frameworks()}
    telemetry = configure(options.otlp, file=options.traces, service_name=_SERVICE)
    try:
        for framework, app in apps.items():
            console.rule(framework)
            for question in QUESTIONS:
                _ask(app, question, model, options.base_url, console)
    finally:
        left = guard.flush(timeout=10)
        telemetry.flush()
        telemetry.shutdown()
    console.rule("traces")
    for tree in trees(read_spans(telemetry.files), list(read_records(telemetry.files))):
        console.print(tree)
    if left:
        console.print(f"{left} scores were still pending", style="yellow")
    console.print(Text(f"written to {', '.join(map(str, telemetry.files))}", style="dim"))
    if options.otlp:
        some = "not all of it was " if telemetry.dropped else ""
        console.print(Text(f"{some}sent to {options.otlp}: look for the service {_SERVICE}", style="dim"))


def _frameworks() -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in entry_points(group=_GROUP)))


def _build(framework: str, scenario: Scenario) -> App:
    entries = {entry.name: entry for entry in entry_points(group=_GROUP)}
    if framework not in entries:
        msg = f'no adapter for "{framework}" is installed: {nearest(framework, entries)}'
        raise ConfigurationError(msg)
    try:
        app: App = entries[framework].load()(scenario)
    except ImportError as error:
        msg = f"the {framework} demo lacks a package ({error.name}): pip install 'llmguard-middleware[demo]'"
        raise ConfigurationError(msg) from error
    return app


def _ask(app: App, question: Question, model: InProcessModel, base_url: str | None, console: Console) -> None:
    console.print(Text(question.title, style="bold"))
    console.print(Text(f"  asked     {question.text}"))
    before = len(model.received)
    try:
        pieces = list(app.stream(question.text)) if question.streamed else [app.ask(question.text)]
    except GuardrailViolation as violation:
        if violation.code != "blocked":
            raise
        console.print(Text(f"  blocked   {violation}", style="red"))
    except LLMGuardError:
        raise
    except Exception as error:
        if base_url is None:
            raise
        msg = f"the model server at {base_url} failed: {type(error).__name__}: {_one_line(error)}"
        raise ModelServerError(msg) from error
    else:
        for prompt in model.received[before:]:
            console.print(Text(f"  received  {_question_of(prompt)}"))
        in_pieces = f" ({len(pieces)} pieces)" if question.streamed else ""
        console.print(Text(f"  answered  {''.join(pieces).strip()}{in_pieces}", style="green"))
    console.print()


def _question_of(prompt: str) -> str:
    """The line of a prompt that holds the question."""
    lines = [line for line in prompt.splitlines() if "Question:" in line or "Query:" in line]
    return (lines or prompt.splitlines())[-1].strip()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _reach(url: str, what: str, option: str) -> None:
    """Fail early and clearly if nobody listens at `url`."""
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    if not parts.hostname or port is None:
        msg = f'{option} "{url}" is not a URL; give one such as http://127.0.0.1:8000'
        raise ConfigurationError(msg)
    try:
        socket.create_connection((parts.hostname, port), timeout=3).close()
    except OSError as error:
        msg = f"{what} at {url} does not answer ({error.strerror or error}); start it or leave {option} out"
        raise ConfigurationError(msg) from None
