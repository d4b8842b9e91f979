"""Streamed answers through the output guardrails: texts may leave late or changed, all else with the end of them.

LlamaIndex's chunks say what is new (`delta`) and all that was said so far (`message`). Those that leave here do, too:
their messages are made of what has left, never of what came in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from llmguard_middleware._flow import Flow
from llmguard_middleware._guarded_stream import GuardedStream
from llmguard_middleware._judge import Plan
from llmguard_middleware._known_fields import is_fact
from llmguard_middleware._lane import Lane
from llmguard_middleware.errors import LLMGuardError

from .._convert import envelope, facts
from ._answers import released
from ._messages import text_of
from ._so_far import THOUGHT, SoFar, partial, texts, thoughts

__all__ = ["AnswerGate"]

_IDENTITY = frozenset(("id", "model"))  # whose answer it is; what else is known is known at the end
_UNLIKE = (
    "a scorer judged the same text in two ways, so the rest of a stream cannot be told; make its scores depend on it"
)


class AnswerGate:
    """Lets the text and the thinking of an answer through a window each; all else waits for the end.

    There the whole answer is judged as one that was not streamed, so that both are the same.

    Args:
        form: how chunks are put: of a chat, or of a completion.
        stream: what guards the text.

    Attributes:
        said: the text that has left.
    """

    def __init__(self, form: Any, stream: GuardedStream) -> None:
        self._form, self._stream = form, stream
        self._flow: Flow = stream.flow
        self._acts = self._flow.acts
        self._facts: dict[str, Any] = {}
        self._raw: dict[str, Any] | None = None
        self._in = SoFar()
        self._text = Lane(stream.feed, whole_json=True)
        self._thinking: Lane | None = None
        self._thoughts: GuardedStream | None = None
        self.said = self._thought = ""
        self._last: Any = None
        self._waiting: list[tuple[Any, ChatMessage, Any, str, str]] = []  # for guardrails that race
        self._withheld = False  # something that is no text
        self._owed = False  # facts that belong to the end
        self._told: tuple[ChatMessage, dict[str, Any]] | None = None
        stream.instead = self._judged

    def feed(self, chunk: Any) -> Sequence[Any]:
        """What may leave once this chunk is here."""
        self._last = chunk
        if known := facts(chunk):
            self._facts |= known
        raw = envelope(chunk, known) if self._acts else None
        if raw is not None:
            self._raw = {**(self._raw or {}), **raw}
        message, extra = self._form.message(chunk), chunk.additional_kwargs
        text, thought = self._in.take(message, extra, chunk.delta)
        self._flow.root.check()
        if self._stream.racing:
            self._waiting.append((chunk, message, raw, text, thought))
            return ()
        return self._sifted(chunk, message, raw, text, thought)

    def settled(self, released: str) -> Iterator[Any]:
        """What was held while guardrails raced with the model."""
        assert not released  # nothing was fed yet
        for waiting in self._waiting:
            yield from self._sifted(*waiting)
        self._waiting.clear()

    def finish(self, _: str) -> Iterator[Any]:
        """What was held, and what belongs to the end."""
        assert self._told is not None
        yield from self.settled("")  # of a model that said nothing
        if not self._acts:
            return
        message, extra = self._told
        rest, thought = _rest("".join(texts(message)), self.said), _rest("".join(thoughts(message)), self._thought)
        if not (rest or thought or self._withheld or self._owed or len(texts(message)) > 1):
            return
        extra = {key: value for key, value in extra.items() if key != THOUGHT}
        if thought:
            extra[THOUGHT] = thought
        self.said += rest
        if self._last is None:
            yield self._form.refusal(rest)
            return
        yield self._form.made(self._last, message, extra, raw=self._raw, delta=rest)

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        assert self._told is not None
        return {"output": text_of(self._told[0]), **self._facts}

    def _sifted(self, chunk: Any, message: ChatMessage, raw: Any, text: str, thought: str) -> Sequence[Any]:
        if not self._acts:
            return (chunk,)
        text = self._text.feed(("text", self._in.parts), text) if text else ""
        thought = self._thinks(thought) if thought else ""
        self.said += text
        self._thought += thought
        extra, kwargs = chunk.additional_kwargs, message.additional_kwargs
        known = {key: value for key, value in extra.items() if key != THOUGHT and is_fact(key, value)}
        own = {key: value for key, value in kwargs.items() if is_fact(key, value)}
        if self._in.more or len(own) < len(kwargs) or len(known) + (THOUGHT in extra) < len(extra):
            self._withheld = True
        if self._pending:
            if known or (raw and not raw.keys() <= _IDENTITY):
                self._owed = True
            if not (text or thought):
                return ()
            known, raw = {}, raw and {key: value for key, value in raw.items() if key in _IDENTITY}
        if thought:
            known[THOUGHT] = thought
        shown = partial(message, self.said, self._thought, own)
        return (self._form.made(chunk, shown, known, raw=raw, delta=text),)

    @property
    def _pending(self) -> bool:
        lanes = self._text.held or (self._thinking is not None and self._thinking.held)
        streams = self._stream.pending or (self._thoughts is not None and self._thoughts.pending)
        return self._withheld or lanes or streams

    def _thinks(self, thought: str) -> str:
        if self._thinking is None:
            self._thoughts = self._flow.stream()
            self._thinking = Lane(self._thoughts.feed)
        return self._thinking.feed(("thinking", self._in.thinking_parts), thought)

    def _judged(self) -> Plan[str]:
        if self._flow.policy.of_call:
            yield from self._flow.settle_races()
            self._flow.told(**self._facts)
        self._told = yield from released(self._flow, *self._in.whole())
        return ""


def _rest(whole: str, sent: str) -> str:
    if not whole.startswith(sent):
        raise LLMGuardError(_UNLIKE)
    return whole[len(sent) :]
