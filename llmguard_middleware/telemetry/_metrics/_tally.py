"""How many models and tools an agent called: counted by the calls below it, which find it in their context."""

from __future__ import annotations

from opentelemetry import context as otel
from opentelemetry.context import Context

__all__ = ["Tally", "below"]

_KEY = otel.create_key("llmguard-tally")


class Tally:
    """What was called in one agent's or workflow's run; what is called in an agent inside is that one's."""

    __slots__ = ("above", "agent", "inference", "tools")

    def __init__(self, parent: Context) -> None:
        self.above = Tally.over(parent)
        self.agent: str | None = None  # its name; None for a workflow, which an agent above it has to answer for
        self.inference = self.tools = 0

    @staticmethod
    def over(context: Context) -> Tally | None:
        """That of the innermost agent or workflow that this context is in."""
        return context.get(_KEY)  # type: ignore[return-value]  # put there below

    def count(self, *, tool: bool) -> None:
        """A model or a tool was called."""
        tally: Tally | None = self
        while tally is not None:
            if tool:
                tally.tools += 1
            else:
                tally.inference += 1
            if tally.agent is not None:
                return
            tally = tally.above

    @property
    def nearest(self) -> str:
        """The name of the innermost agent, if there is one that has a name."""
        tally: Tally | None = self
        while tally is not None and tally.agent is None:
            tally = tally.above
        return "" if tally is None else tally.agent or ""


def below(context: Context, tally: Tally) -> Context:
    """The context, in which calls are counted by this."""
    return otel.set_value(_KEY, tally, context)
