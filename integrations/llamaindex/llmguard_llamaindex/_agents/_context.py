"""The context of a step whose events pass the guard before anybody can read them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from llama_index.core.agent.workflow.workflow_events import (
    AgentInput,
    AgentOutput,
    AgentStream,
    AgentStreamStructuredOutput,
    ToolCallResult,
)
from llama_index.core.workflow import Context

from .._convert import get
from ._run import AgentRun, Heard

__all__ = ["Events", "GuardedContext", "bare", "guarded_context"]


class GuardedContext(Context):
    """A step's own context, except that its events go another way."""

    llmguard_events: Events

    def write_event_to_stream(self, ev: Any) -> None:
        """Have the event judged and published."""
        self.llmguard_events.write(ev)


def guarded_context(ctx: Any, run: AgentRun) -> tuple[GuardedContext, Events]:
    """The context in place of `ctx`, and its events."""
    if isinstance(ctx, GuardedContext):
        return ctx, ctx.llmguard_events
    guarded: GuardedContext = object.__new__(GuardedContext)
    vars(guarded).update(vars(ctx))
    events = guarded.llmguard_events = Events(ctx, run)
    return guarded, events


class Events:
    """Publishes the events of one step in their order, as soon as they are judged.

    An answer that asks for tools is streamed before its arguments are complete: if a guardrail acts on these, its
    events are withheld, all (`hold`) or the last one (`hold_last`), until `release`.

    Attributes:
        heard: tells what guarded LLMs let go, for agents whose events may say something else.
        unheard: whether they did; all are withheld from then on.
    """

    def __init__(self, ctx: Any, run: AgentRun) -> None:
        self.context, self._run = ctx, run
        self._queue: deque[Any] = deque()
        self._working: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._held: list[AgentStream] | None = None
        self._all = False
        self._published = ""
        self.heard: Heard | None = None
        self.unheard = False

    def hold(self, *, all_of_them: bool) -> None:
        """Withhold what is streamed from now on."""
        self._held, self._all = [], all_of_them

    def release(self, change: Callable[[list[AgentStream]], list[AgentStream]] | None = None) -> None:
        """Publish what was withheld, changed or not."""
        held, self._held = self._held or [], None
        for event in held if change is None else change(held):
            self._enqueue(event)

    @property
    def holding(self) -> bool:
        """Whether anything is withheld, or would be."""
        return self._held is not None

    def rest(self, event: AgentStream, text: str) -> AgentStream:
        """The last event of a turn that says this, of which some may be published."""
        delta = text.removeprefix(self._published)
        update: dict[str, Any] = {"delta": delta, "response": text}
        if "thinking_delta" in type(event).model_fields:
            update["thinking_delta"] = None
        return event.model_copy(update=update)

    def write(self, event: Any) -> None:
        """Take an event."""
        if isinstance(event, AgentStream) and self.heard is not None:
            event = event.model_copy(update={"tool_calls": [], "raw": bare(event.raw)})
            thought = getattr(event, "thinking_delta", None) or ""
            if not (self.heard(event.response) and self.heard(event.delta, thought)):
                self.unheard = self._all = True
                self._held = self._held or []
        if isinstance(event, AgentStream) and self._held is not None:
            event = event.model_copy(update={"tool_calls": [], "raw": bare(event.raw)})
            self._held.append(event)
            if not self._all and len(self._held) > 1:
                self._enqueue(self._held.pop(0))
            return
        if isinstance(event, ToolCallResult):
            return  # published by the step itself, once it is judged
        if isinstance(event, AgentOutput):  # LlamaIndex goes on writing into the one that it published
            event = event.model_copy(update={"tool_calls": list(event.tool_calls)})
        self._enqueue(event)

    def _enqueue(self, event: Any) -> None:
        if isinstance(event, AgentStream):
            self._published = event.response
        if self._working is None and not isinstance(event, (AgentInput, AgentStreamStructuredOutput)):
            self.context.write_event_to_stream(event)
            return
        self._queue.append(event)
        if self._working is None:
            self._working = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        try:
            while self._queue:
                event = self._queue.popleft()
                if isinstance(event, AgentInput):
                    event = event.model_copy(update={"input": list(await self._run.admitted(event.input))})
                elif isinstance(event, AgentStreamStructuredOutput):
                    event = event.model_copy(update={"output": await self._run.released(event.output)})
                self.context.write_event_to_stream(event)
        except Exception as error:  # noqa: BLE001 - raised by `done`
            self._error = error
            self._queue.clear()
        finally:
            self._working = None

    async def done(self) -> None:
        """All events are out; raises what stopped one."""
        while self._working is not None:
            await self._working
        if self._error is not None:
            raise self._error

    def dropped(self) -> None:
        """The step failed: what is withheld is never shown."""
        self._held = None
        self._queue.clear()
        if self._working is not None:
            self._working.cancel()


def bare(raw: Any) -> Any:
    """The provider's raw answer without what it says: identity and usage only."""
    if raw is None:
        return None
    return {name: value for name in ("id", "model", "usage") if (value := get(raw, name)) is not None}
