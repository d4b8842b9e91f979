"""The `llmguard` command."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ._guard import Guard
from ._stored_commands import add_stored_commands, replay_command, traces_command
from .errors import ConfigurationError, LLMGuardError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 if something was not scored or not sent, 2 for a mistake."""
    options = _parser().parse_args(arguments)
    if options.command == "config":
        return _config(options)
    if options.command in ("replay", "traces"):
        return _stored(options)
    failures = _Failures()
    logging.getLogger("llmguard").addHandler(failures)
    try:
        _demo(options)
    except LLMGuardError as error:
        print(f"llmguard: {error}", file=sys.stderr)
        return 2
    finally:
        logging.getLogger("llmguard").removeHandler(failures)
    for sentence in failures.sentences:
        print(f"llmguard: {sentence}", file=sys.stderr)
    return 1 if failures.sentences else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("llmguard", description="Guardrails and monitors around LLM applications.")
    parser.add_argument("--version", action="version", version=version("llmguard-middleware"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    demo = commands.add_parser(
        "demo", help="a guarded, traced LangChain chain and LlamaIndex query engine, with no key and no server"
    )
    demo.add_argument(
        "--framework", action="append", default=[], help="this one only (langchain, llamaindex); may be repeated"
    )
    demo.add_argument(
        "--base-url", metavar="URL", help="an OpenAI-compatible server to use in place of the in-process model"
    )
    demo.add_argument("--model", metavar="NAME", help="the model to ask that server for")
    demo.add_argument("--api-key", metavar="KEY", default="none", help="if that server wants one")
    demo.add_argument("--otlp", metavar="URL", help="also send the telemetry to this OTLP backend")
    demo.add_argument(
        "--traces", metavar="DIR", default="traces", help="folder for the OTLP JSON lines (default: traces)"
    )
    demo.add_argument("--guard", metavar="FILE:NAME", help="use the Guard called NAME in this Python file")
    config = commands.add_parser("config", help="guard.yaml: whether it is right, what it means, what it may hold")
    actions = config.add_subparsers(required=True, metavar="ACTION", dest="action")
    check = actions.add_parser("check", help="say whether a file is fine, or list all that is wrong with it")
    explain = actions.add_parser("explain", help="print the rules of a file as a table in plain words")
    for action in (check, explain):
        action.add_argument("file", metavar="FILE")
    explain.add_argument("--tenant", metavar="NAME", help="as they are for this tenant")
    actions.add_parser("schema", help="print the JSON schema of the file")
    add_stored_commands(commands)
    return parser


def _stored(options: argparse.Namespace) -> int:
    try:
        if options.command == "replay":
            print(replay_command(options))
        else:
            traces_command(options)
    except LLMGuardError as error:
        print(f"llmguard: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


def _config(options: argparse.Namespace) -> int:
    from . import config  # noqa: PLC0415 - pydantic and YAML are slow to import

    sys.path.insert(0, "")  # scorers of the file's own project, as `python -m` would find them
    try:
        if options.action == "schema":
            print(config.schema())
        elif options.action == "check":
            print(config.check(options.file))
        else:
            print(config.explain(options.file, tenant=options.tenant))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        sys.path.remove("")
    return 0


def _demo(options: argparse.Namespace) -> None:
    if options.base_url and not options.model:
        msg = "--base-url needs --model NAME, the model to ask that server for"
        raise ConfigurationError(msg)
    if options.model and not options.base_url:
        msg = "--model needs --base-url URL, the server to ask for that model"
        raise ConfigurationError(msg)
    missing = [module for module in ("rich", "opentelemetry.sdk") if importlib.util.find_spec(module) is None]
    if missing:
        msg = f"llmguard demo needs {missing[0]}: pip install 'llmguard-middleware[demo]'"
        raise ConfigurationError(msg)
    from rich.console import Console  # noqa: PLC0415 - an extra

    from ._demo._run import Options, run  # noqa: PLC0415 - needs the extra

    run(
        Options(
            frameworks=tuple(options.framework),
            base_url=options.base_url,
            model=options.model or "in-process",
            api_key=options.api_key,
            otlp=options.otlp,
            traces=Path(options.traces),
            guard=_load_guard(options.guard) if options.guard else None,
        ),
        Console(),
    )


def _load_guard(where: str) -> Guard:
    file, _, name = where.rpartition(":")
    if not file or not name:
        msg = f'--guard "{where}" names no guard; write FILE:NAME, for example my_guard.py:guard'
        raise ConfigurationError(msg)
    spec = importlib.util.spec_from_file_location("llmguard_user_guard", file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        msg = f'--guard: there is no Python file "{file}"'
        raise ConfigurationError(msg)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except LLMGuardError:
        raise
    except (Exception, SystemExit) as error:
        msg = f"--guard: {file} cannot be run: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    guard = getattr(module, name, None)
    if not isinstance(guard, Guard):
        msg = f'--guard: {file} has no Guard called "{name}"'
        raise ConfigurationError(msg)
    return guard


class _Failures(logging.Handler):
    """Keeps what the library warns of while the command runs, each sentence once, for the end."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        sentence = record.getMessage()
        if sentence not in self.sentences:
            self.sentences.append(sentence)


if __name__ == "__main__":
    sys.exit(main())
