"""The handlers that LlamaIndex knows of. It swallows what they raise, so what fails here is said here."""

from __future__ import annotations

import inspect
from typing import Any

from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index_instrumentation.dispatcher import Dispatcher

from ._calls import Calls
from ._models import told_of
from ._table import NO_CALLS

__all__ = ["Events", "Spans"]

# Whether a workflow's run that failed is told as one that did; before, all that is told is that it gave nothing.
_RUNS_FAIL = hasattr(Dispatcher, "shutdown")
_ID = -37  # LlamaIndex's span ids end with "-" and a UUID


class Spans(BaseSpanHandler[Any]):
    """Told of every method of LlamaIndex's that is decorated; most are none of our calls."""

    # Of all guards: what they enter is left in the opposite order. Fields, since pydantic's private attributes are
    # found slowly.
    guards: Any = ()
    backwards: Any = ()

    def __init__(self, guards: tuple[Calls, ...]) -> None:
        super().__init__()
        self.__dict__.update(guards=guards, backwards=guards[::-1])

    @classmethod
    def class_name(cls) -> str:
        """How LlamaIndex calls it."""
        return "llmguard"

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A method is called. Its tags may hold what a user said: they are not looked at."""
        key = type(instance), id_[:_ID]
        if key in NO_CALLS:
            return
        for calls in self.guards:
            try:
                calls.enter(id_, key, bound_args, instance)
            except Exception as error:  # noqa: BLE001, PERF203 - the call goes on, untraced
                calls.fault(error)

    def span_exit(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        result: Any | None = None,
        **kwargs: Any,
    ) -> None:
        """A method returned."""
        for calls in self.backwards:
            if id_ in calls.live:
                try:
                    calls.leave(id_, result)
                except Exception as error:  # noqa: BLE001 - as above
                    calls.fault(error)

    def span_drop(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """A method raised."""
        for calls in self.backwards:
            if id_ in calls.live:
                try:
                    calls.fail(id_, err)
                except Exception as error:  # noqa: BLE001 - as above
                    calls.fault(error)
            elif not _RUNS_FAIL:
                calls.step_failed(err)

    def close(self) -> None:
        """LlamaIndex shuts its dispatchers down."""
        for calls in self.guards:
            calls.close()

    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """Not asked: `span_enter` does it all."""

    prepare_to_exit_span = prepare_to_drop_span = new_span


class Events(BaseEventHandler):
    """Told how streams go on: a span of LlamaIndex's ends when a stream begins."""

    guards: Any = ()

    def __init__(self, guards: tuple[Calls, ...]) -> None:
        super().__init__()
        self.__dict__.update(guards=guards)

    @classmethod
    def class_name(cls) -> str:
        """How LlamaIndex calls it."""
        return "llmguard"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """Anything happened."""
        for calls in self.guards:
            run = calls.live.get(event.span_id)
            if run is not None and run.streams:
                try:
                    told_of(run, event)
                except Exception as error:  # noqa: BLE001 - as above
                    calls.fault(error)
