"""Query engines, chat engines and response synthesizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse

from llmguard_middleware import Call, Message

from .._retrieval import asked, query_text, texts_of
from ._kinds import Kind, Transparent, first, record
from ._streams import follow

if TYPE_CHECKING:
    from ._run import Run

__all__ = ["Chat", "Query", "Synthesis", "Writer"]


class Query(Kind):
    """A query engine: a query stays open until its streamed answer ends, for only then is the LLM asked."""

    operation = "invoke_workflow"

    def __init__(self) -> None:
        self._known: dict[str, Call] = {}

    def called(self, name: str) -> Call:
        """The call of an engine of this class: the same object each time, whose attributes are known."""
        return self._known.get(name) or self._known.setdefault(name, Call.made(self.operation, name=name))

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call, under the name of the engine's class."""
        call = self.called(type(run.owner).__name__)
        if not judged:
            return call
        run.request = query_text(first(arguments))
        return call.but(inputs=asked(run.request))

    def messages(self, run: Run) -> Sequence[Message]:
        """The question."""
        return [Message("user", run.request)]

    def later(self, run: Run, result: Any) -> bool:
        """A streamed answer is followed."""
        if not isinstance(result, (StreamingResponse, AsyncStreamingResponse)):
            return False
        run.sources = result.source_nodes
        result.response_gen = follow(run, result.response_gen)
        return True

    def answer(self, run: Run, result: Any) -> dict[str, Any]:
        """The answer, as text, and what it is drawn from."""
        if (flow := run.flow) is None:
            return {}
        nodes = run.sources or getattr(result, "source_nodes", None)
        flow.call = flow.call.but(context=texts_of(nodes) if nodes else flow.root.documents)
        said = getattr(result, "response", result)
        output = said.model_dump_json() if hasattr(said, "model_dump_json") else said
        record(flow, "output", output)
        return {"output": output}


class Synthesis(Query):
    """A response synthesizer, an operation of its own: OpenTelemetry has no name for it."""

    operation = "synthesize"


class Chat(Query):
    """A turn of a chat engine; a streamed one is over when LlamaIndex has written down its answer."""

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call, under the name of the engine's class."""
        call = self.called(type(run.owner).__name__)
        if not judged:
            return call
        asking = first(arguments)
        run.request = asking if isinstance(asking, str) else str(getattr(asking, "content", asking) or "")
        return call.but(inputs=asked(run.request))

    def later(self, run: Run, result: Any) -> bool:
        """A thread or a task writes the answer down, unless whoever reads it does."""
        for name in ("chat_stream", "achat_stream"):
            if (stream := getattr(result, name, None)) is None:
                continue
            run.sources = result.source_nodes
            if not getattr(result, "is_writing_to_memory", True):
                setattr(result, name, follow(run, stream))
            elif run.half():
                run.calls.end(run, result)
            return True
        return False


class Writer(Transparent):
    """The method, in a thread or a task, that writes down a chat engine's streamed answer."""

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """Nothing."""
        return Call.made("")

    def over(self, run: Run, error: BaseException | None) -> None:
        """It is done, and so is the turn that it belongs to."""
        turn = run.outer
        if turn is not None and isinstance(turn.kind, Chat) and not turn.over:
            if error is not None:
                turn.calls.end(turn, error=error)
            elif turn.half():
                turn.calls.end(turn, run.owner)
