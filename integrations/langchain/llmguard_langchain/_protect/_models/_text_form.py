"""How text models put their requests, answers and chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.outputs import Generation, GenerationChunk, LLMResult

from llmguard_middleware import Message
from llmguard_middleware._flow import Flow
from llmguard_middleware._guarded_stream import GuardedStream
from llmguard_middleware._judge import Plan
from llmguard_middleware._known_fields import is_fact

from ... import _convert as convert
from ..._content import tell_answers
from ..._judged import beside
from ._calls import Facts, Gate

__all__ = ["TEXT"]


class TextGate:
    """Feeds the texts of chunks to a `GuardedStream`; what a chunk carries besides leaves with it, or at the end."""

    def __init__(self, stream_: GuardedStream) -> None:
        self._stream = stream_
        self._ending: list[GenerationChunk] = []
        self._released: list[str] = []

    def feed(self, chunk: GenerationChunk) -> Sequence[GenerationChunk]:
        """What may leave once this chunk is here."""
        released = self._stream.feed(chunk.text) if chunk.text else ""
        self._released.append(released)
        if not self._stream.acts:
            return (chunk,)
        # Readers get the texts; callbacks are told the rest, of which nobody knows where a text in it ends.
        info = {key: value for key, value in (chunk.generation_info or {}).items() if is_fact(key, value)}
        info.pop("logprobs", None)
        if info and (self._ending or self._stream.pending):
            self._ending.append(GenerationChunk(text="", generation_info=info))  # it may tell of the end
            info = {}
        return (
            (GenerationChunk(text=released, generation_info=info or None),)
            if released or info or not chunk.text
            else ()
        )

    def settled(self, released: str) -> Iterator[GenerationChunk]:
        """What was held while guardrails raced with the model."""
        if released:
            self._released.append(released)
            yield GenerationChunk(text=released)

    def finish(self, rest: str) -> Iterator[GenerationChunk]:
        """The held text, and what belongs to the end."""
        self._released.append(rest)
        if rest:
            yield GenerationChunk(text=rest)
        yield from self._ending

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        return {"output": "".join(self._released), "streamed": True}


class TextFacts:
    """A text model's chunks tell nothing besides their texts."""

    def note(self, chunk: GenerationChunk) -> None:
        """Nothing to be taken."""

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        return {"streamed": True}


class TextForm:
    """A prompt in; out the candidates for it, and what the provider said of all prompts together."""

    operation = "text_completion"
    gate: Callable[..., Gate] = TextGate
    facts: Callable[[], Facts] = TextFacts

    def admitted(self, flow: Flow, request: str) -> Plan[Any]:
        (text,) = yield from flow.admit([Message("user", request)])
        return text

    def released(self, flow: Flow, result: LLMResult) -> Plan[Any]:
        if flow.transparent:
            return result
        (candidates,) = result.generations
        texts = yield from flow.release([one.text for one in candidates], reask=True)
        if not flow.root.hides and not any(rule.acts for rule in flow.rules("output")):
            return result
        told: list[Any] = []
        for one, text in zip(candidates, texts, strict=True):
            info = yield from beside(flow, convert.without_logprobs(one.generation_info))
            told.append(one.model_copy(update={"text": text, "generation_info": info}))
        return LLMResult(generations=[told], llm_output=(yield from beside(flow, result.llm_output)))

    def again(self, request: str, turned_down: str, feedback: str) -> str:
        return f"{request}\n\n{turned_down}\n\n{feedback}\n"

    def answer(self, result: LLMResult) -> dict[str, Any]:
        return convert.answer(result.generations[0], result.llm_output)

    def refusal(self, text: str) -> LLMResult:
        return LLMResult(generations=[[Generation(text=text)]])

    def refusal_chunk(self, text: str) -> GenerationChunk:
        return GenerationChunk(text=text)

    def tell_asked(self, flow: Flow, request: str, tools: Any) -> None:
        """The call knows its only message."""

    def tell_answered(self, flow: Flow, result: LLMResult) -> None:
        tell_answers(flow, result.generations[0])


TEXT = TextForm()
