"""`@guard.op` keeps every promise of a guard, as an adapter must."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, scenarios


def _request(text: str, feedback: str) -> str:
    return f"{text}\n{feedback}" if feedback else text


class Ops(Adapter):
    """The four kinds of op of the same function."""

    name = "@guard.op"
    modes = (
        Mode("sync"),
        Mode("async", is_async=True),
        Mode("generator", streamed=True),
        Mode("async generator", streamed=True, is_async=True),
    )

    gaps: Mapping[str, str] = {
        "*-unreached/*": "an op refuses at its first call: until then another one may say that it reaches the stage",
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """One op for each mode."""

        def sync(text: str, feedback: str = "") -> str:
            return script.reply(_request(text, feedback))

        async def coroutine(text: str, feedback: str = "") -> str:
            return await script.areply(_request(text, feedback))

        def generator(text: str, feedback: str = "") -> Iterator[str]:
            yield from script.stream(_request(text, feedback))

        async def async_generator(text: str, feedback: str = "") -> AsyncIterator[str]:
            async for piece in script.astream(_request(text, feedback)):
                yield piece

        functions = (sync, coroutine, generator, async_generator)
        return {mode: guard.op(function) for mode, function in zip(self.modes, functions, strict=True)}  # type: ignore[call-overload]

    def again(self, subject: Any, guard: Guard) -> Any:
        """An op of each op."""
        return {mode: guard.op(op) for mode, op in subject.items()}

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """As a function."""
        return subject[mode](text)


OPS = Ops()


@pytest.mark.parametrize("scenario", scenarios(OPS), ids=str)
async def test_ops_conform(scenario: Scenario) -> None:
    """An op does what the scenario claims."""
    await scenario.run(OPS)
