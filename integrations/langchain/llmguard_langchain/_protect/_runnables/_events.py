"""Event streams of guarded Runnables: what happens inside is not told before the output guardrails have seen it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from uuid import uuid4

from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator, ensure_config

from llmguard_middleware import Guard
from llmguard_middleware._drive import inside_scorer

from ..._handoff import conceal
from .._outer import shows_nothing

__all__ = ["event_members"]

_OF_THE_STREAM = ("version", "diff", "with_streamed_output_list")  # options that the Runnable itself does not know


def event_members(base: type[Any], guard: Guard) -> dict[str, Callable[..., Any]]:
    """The members that make event streams, for the class of a guarded Runnable of the class `base`."""

    def tells() -> bool:
        """Whether the Runnable's own run tells no more than it may, and no less than there is to tell."""
        return bool(inside_scorer.get()) or not (shows_nothing(guard) or guard.refusal is not None)

    def astream_events(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's
        if kwargs.get("version") == "v3" and not inside_scorer.get():
            _refuse(guard, self)
            return base.astream_events(self, input, config, **kwargs)
        if tells():
            return base.astream_events(self, input, config, **kwargs)
        mine, its = _parted(kwargs)
        shell, config = _shell(self, config, its)
        return shell.astream_events(input, config, **mine)

    def astream_log(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - as above
        if tells():
            return base.astream_log(self, input, config, **kwargs)
        mine, its = _parted(kwargs)
        shell, config = _shell(self, config, its)
        return shell.astream_log(input, config, **mine)

    def stream_events(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - as above
        if not inside_scorer.get():
            _refuse(guard, self)
        return base.stream_events(self, input, config, **kwargs)

    found: dict[str, Callable[..., Any]] = {"astream_events": astream_events, "astream_log": astream_log}
    return {**found, **({"stream_events": stream_events} if hasattr(base, "stream_events") else {})}


def _shell(
    thing: Any, config: RunnableConfig | None, kwargs: Mapping[str, Any]
) -> tuple[Runnable[Any, Any], RunnableConfig]:
    """A run of its own, of which event streams are told what is guarded; the guarded Runnable is deaf to them.

    GuardCallbacks are not to take it for another call.
    """
    config = {**ensure_config(config)}
    config["run_id"] = run_id = config.get("run_id") or uuid4()

    async def shown(inputs: AsyncIterator[Any], config: RunnableConfig) -> AsyncIterator[Any]:
        async for given in inputs:
            async for chunk in thing.astream(given, config, **kwargs):
                yield chunk

    conceal(run_id, shown)
    return RunnableGenerator(shown, name=thing.get_name()), config  # type: ignore[arg-type]  # LangChain finds that it takes a config


def _parted(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of an event stream, and those of the Runnable."""
    mine = {n: v for n, v in kwargs.items() if n in _OF_THE_STREAM or n.startswith(("include_", "exclude_"))}
    return mine, {name: value for name, value in kwargs.items() if name not in mine}


def _refuse(guard: Guard, thing: Any) -> None:
    """Refuse an event stream of what happens inside, if an output guardrail acts or originals have to come back."""
    rules = [
        rule
        for policy in guard.policies
        for rule in policy.guardrails
        if rule.stage == "output" or rule.action == "pseudonymize"
    ]
    where = f"protect({thing.get_name()}) in the event stream of version 3"
    guard.refuse(rules, where, "put protect(model, guard) around the models inside, or ask for version 2")
