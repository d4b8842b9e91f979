"""Hunts: a secret in everything that an adapter is given, and a look for it into everything that telemetry wrote."""

from __future__ import annotations

import asyncio
import io
import logging
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from uuid import uuid4

from ..._guard import Guard
from ..._rules import Guardrail, Monitor
from ..._score import Score
from ...telemetry import TelemetryOptions
from .._fakes import Hangs, Raises
from ._adapter import Adapter, Mode
from ._texts import ANSWER, CLEAN, QUESTION, SECRET, finds, leaks
from ._trial import Refused, Trial

__all__ = ["Hunt", "hunts", "written"]

_SECONDS = 20.0
_LOGGERS = ("llmguard", "opentelemetry")


class _Quotes:
    """A scorer that quotes what it scores wherever it can."""

    def score(self, text: str) -> Score:
        label = f"has:{SECRET}" if SECRET in text else "clean"
        return Score(0.5, label=label, explanation=text, metadata={text: text}, result={"said": text}, flagged=True)


class _QuotesAll:
    """The same for a monitor."""

    def score(self, output: str) -> Score:
        label = SECRET if SECRET in str(output) else "clean"
        return Score(0.5, label=label, explanation=f"{output} {SECRET}", metadata={SECRET: SECRET}, flagged=True)


class _Trial(Trial):
    """A trial whose guards capture content in some way."""

    telemetry_options = TelemetryOptions()
    unenforceable: Any = "raise"

    def guard(self, *rules: Guardrail | Monitor, **options: Any) -> Guard:
        return super().guard(*rules, **options, telemetry=self.telemetry_options, unenforceable=self.unenforceable)


Rules = Callable[[Trial], list[Guardrail | Monitor]]


def _acting(action: Any, elsewhere: Any = None, **options: Any) -> Rules:
    def rules(trial: Trial) -> list[Guardrail | Monitor]:
        return [
            Guardrail(
                finds(f"finds-{stage}"),
                stage=stage,
                action=action if stage == "input" or elsewhere is None else elsewhere,
                **options,
            )
            for stage in trial.adapter.stages
        ]

    return rules


def _quoting(trial: Trial) -> list[Guardrail | Monitor]:
    quoting = [
        Guardrail(_Quotes(), stage=stage, action="log", name=f"quotes-{stage}") for stage in trial.adapter.stages
    ]
    return [*_acting("redact")(trial), *quoting, Monitor(_QuotesAll(), name="quotes")]


def _broken(scorer: Callable[[], Any], on_error: Any, **options: Any) -> Rules:
    def rules(trial: Trial) -> list[Guardrail | Monitor]:
        return [
            Guardrail(scorer(), stage=stage, name=f"broken-{stage}", on_error=on_error, **options)
            for stage in trial.adapter.stages
        ]

    return rules


_RULES: Mapping[str, Rules] = {
    "redact": _acting("redact"),
    "mask": _acting("mask"),
    "replace": _acting("replace"),
    "pseudonymize": _acting("pseudonymize", "redact"),
    "block": _acting("block"),
    "race": lambda trial: [Guardrail(finds("races"), stage="input", race=True), *_acting("block")(trial)[1:]],
    "reask": lambda trial: [
        *(rule for rule in _acting("redact")(trial) if isinstance(rule, Guardrail) and rule.stage != "output"),
        Guardrail(finds("asks"), stage="output", action="reask"),
    ],
    "quoting scorers": _quoting,
    "failing scorers, blocking": _broken(lambda: Raises(ValueError(SECRET)), "block"),
    "failing scorers, allowing": _broken(lambda: Raises(ValueError(SECRET)), "allow"),
    "slow scorers, allowing": _broken(lambda: Hangs(0.2), "allow", timeout=0.05),
}
_OFF: Mapping[str, Rules] = {
    "no rules": lambda _: [],
    "log": _acting("log"),
    "monitor": lambda _: [Monitor(_QuotesAll(), name="quotes")],
    "failing monitor": lambda _: [Monitor(Raises(ValueError(SECRET)), name="raises")],
}


def _question(trial: Trial) -> str:
    """What is asked; with no secret where no rule could find it."""
    return QUESTION if "input" in trial.adapter.stages else CLEAN


async def _asks(trial: Trial) -> None:
    await trial.ask(_question(trial))


async def _answers(trial: Trial) -> None:
    """The secret is in the answer and in what lies between, not in the question."""
    await trial.ask(CLEAN)


async def _fails(trial: Trial) -> None:
    trial.script.error, trial.script.error_after = RuntimeError(SECRET), 1
    await trial.ask(CLEAN)


async def _leaves(trial: Trial) -> None:
    await trial.ask(_question(trial), at_most=1)


async def _twice(trial: Trial) -> None:
    await asyncio.gather(trial.ask(_question(trial)), trial.ask(CLEAN))
    await trial.ask(_question(trial))


_WAYS: Mapping[str, Callable[[Trial], Awaitable[None]]] = {
    "asked": _asks,
    "answered": _answers,
    "model fails": _fails,
    "reader leaves": _leaves,
    "again": _twice,
}
_ON = "SPAN_AND_EVENT"


@dataclass(frozen=True)
class Hunt:
    """One hunt in one mode of an adapter: which rules, what is captured, what happens."""

    adapter: Adapter
    mode: Mode
    rules: str
    content: str
    way: str

    def __str__(self) -> str:
        return f"{self.rules}/{self.content}/{self.way}/{self.mode}".replace(" ", "-")

    async def run(self) -> None:
        """Hunt.

        Raises:
            AssertionError: if a part of the secret was written; naming where.
        """
        try:
            await asyncio.wait_for(self._hunted("raise"), _SECONDS)
        except Refused:  # and a guard that is to go on all the same keeps the secret, too
            with suppress(Refused):  # some guards are refused whatever they say
                await asyncio.wait_for(self._hunted("warn"), _SECONDS)

    async def _hunted(self, unenforceable: str) -> None:
        base = f"memory://hunt-{uuid4().hex}"
        with _heard() as heard:
            async with _Trial(self.adapter, self.mode, 3.0) as trial:
                if self.content == "upload":
                    trial.telemetry_options = TelemetryOptions("SPAN_AND_EVENT", upload=base, upload_queue=1000)
                else:
                    trial.telemetry_options = TelemetryOptions(self.content)  # type: ignore[arg-type]  # a word of Content
                trial.unenforceable = unenforceable
                trial.script.material.update(dict.fromkeys(trial.adapter.stages, QUESTION))
                trial.script.answer = ANSWER
                options = {"refusal": "no"} if self.rules == "refusal" else {}
                rules = "block" if options else self.rules
                guard = trial.build(*{**_RULES, **_OFF}[rules](trial), **options)
                await _WAYS[self.way](trial)
                await asyncio.to_thread(guard.flush, 3.0)
                told = written(trial.telemetry)
                if (capture := guard.emitter.capture) is not None and (uploads := capture.uploads) is not None:
                    assert await asyncio.to_thread(uploads.shutdown, 5.0)
                    told["uploads"] = _uploaded(base)
        told |= heard
        found = [where for where, what in told.items() if leaks(what)]
        assert not found, f"{self}: the secret is in {found}: {[_around(told[where]) for where in found]}"


def hunts(adapter: Adapter, *, every: int = 1) -> list[Hunt]:
    """Every hunt of an adapter; with `every`, each kind in each `every`-th mode only, and in another one than the last.

    What matters most, a call that is redacted or blocked with content on and off, is hunted in all modes all the same.
    """
    kinds = [(rules, content, "asked") for rules in (*_RULES, "refusal") for content in ("NO_CONTENT", _ON)]
    kinds += [(rules, _ON, way) for rules in ("redact", "block") for way in _WAYS if way != "asked"]
    kinds += [("redact", "upload", "asked"), ("block", "upload", "again")]
    kinds += [(rules, "NO_CONTENT", way) for rules in _OFF for way in ("asked", "model fails")]
    found = []
    for turn, (rules, content, way) in enumerate(kinds):
        modes = [mode for mode in adapter.modes if way != "reader leaves" or mode.streamed]
        core = rules in ("redact", "block") and way == "asked" and content != "upload"
        step = 1 if core else min(every, len(modes) or 1)
        # Two kinds in a row are one set of rules with content off and on: in the same modes.
        found += [
            Hunt(adapter, mode, rules, content, way)
            for number, mode in enumerate(modes)
            if (number + turn // 2) % step == 0
        ]
    return found


def written(telemetry: Any) -> dict[str, str]:
    """All that is in spans, records and metrics, byte for byte as exporters are given it."""
    metrics = telemetry._reader.get_metrics_data()  # noqa: SLF001 - one of us
    return {
        "spans": "\n".join(span.to_json() for span in telemetry._span_exporter.get_finished_spans()),  # noqa: SLF001 - as above
        "records": "\n".join(map(_record, telemetry._record_exporter.get_finished_logs())),  # noqa: SLF001 - as above
        "metrics": "" if metrics is None else metrics.to_json(),
    }


def _record(one: Any) -> str:
    record = one.log_record
    return repr((record.event_name, record.body, dict(record.attributes or {}), record.severity_text))


def _uploaded(base: str) -> str:
    filesystem, path = import_module("fsspec").core.url_to_fs(base)
    return "\n".join(filesystem.cat_file(name).decode() for name in filesystem.find(path))


@contextmanager
def _heard() -> Iterator[dict[str, str]]:
    """What is said besides: log lines, warnings, standard error."""
    told: dict[str, str] = {}
    lines, errors = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(exc_info)s"))
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught, redirect_stderr(errors):
            warnings.simplefilter("always")
            yield told
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        ours = [str(one.message) for one in caught if "never awaited" not in str(one.message)]
        told |= {"log": lines.getvalue(), "warnings": repr(ours), "stderr": errors.getvalue()}


def _around(what: str) -> str:
    at = next(at for at in range(len(what)) if what[at : at + 4] in SECRET and len(what[at : at + 4]) == 4)
    return what[max(0, at - 300) : at + 40]
