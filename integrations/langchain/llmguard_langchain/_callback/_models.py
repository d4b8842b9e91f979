"""Models: what goes in is judged when they start, what comes out when they end; a stream is not held back."""

from __future__ import annotations

from collections.abc import Sequence
from sys import modules
from time import perf_counter
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult

from llmguard_middleware import Call, Message
from llmguard_middleware._asking import inside_scorer, judge_asking, unseen
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._unjudged import Unjudged, quoted, unheard, unjudged
from llmguard_middleware.telemetry._beside import INSTRUMENTATION
from llmguard_middleware.telemetry._content import Content
from llmguard_middleware.telemetry._output_type import OUTPUT_KEYS, output_type

from .. import _convert as convert
from .._content import tell_answers, tell_asked
from .._handoff import MARK, Handoff, marked, report
from .._judged import admitted, examined
from .._session import with_session
from ._base import RunEvents
from ._runs import Run

__all__ = ["ModelEvents"]

_INSTEAD = "put protect(model, guard) around the model"


class ModelEvents(RunEvents):
    """Runs of chat models and text models."""

    _passes: UUID | None = None
    _last: tuple[Call, Any, str, dict[str, Any], Any, Any, str] | None = None

    def on_chat_model_start(  # what LangChain tells by name is taken by name: to pass it on in a dict costs
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        invocation_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge what goes to a chat model; raises GuardrailViolation before the model is called."""
        if not (live := self._live) or run_id not in live:  # the hash of a UUID costs
            asked = messages[0]
            self._model_start(
                "chat", serialized, asked, run_id, parent_run_id, metadata or {}, tags, name, invocation_params
            )

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        invocation_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge what goes to a text model; raises GuardrailViolation before the model is called."""
        if not (live := self._live) or run_id not in live:
            what, asked = "text_completion", prompts[0]
            self._model_start(
                what, serialized, asked, run_id, parent_run_id, metadata or {}, tags, name, invocation_params
            )

    def _model_start(
        self,
        operation: str,
        serialized: dict[str, Any] | None,
        asked: list[BaseMessage] | str,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: dict[str, Any],
        tags: list[str] | None,
        name: str | None,
        params: dict[str, Any] | None,
    ) -> None:
        mark = metadata.get(MARK)
        if not (self._live or mark or self.guard.emitter.heard) and unheard(self.guard):
            return
        above = None if parent_run_id is None else self._runs.above(parent_run_id)
        if mark and marked(self.guard, metadata):
            # The copy does it all; it is told what lies above it, and no second span or score is made.
            run = Run(run_id, None, above)
            run.handoff = Handoff(
                self.guard, outermost=None if run.root is None else False, parent=run.context, root=run.root
            )
            report(metadata, run_id, run.handoff)
            self._runs.start(run, watched=False)
            return
        if inside_scorer.get() and unseen():
            return
        call = self._asked(operation, serialized, metadata, tags, name, params)
        within = None if above is None else above.context
        captures = not mark and self.guard.emitter.capture is not None
        said = captures and type(asked) is list and quoted(self.guard, within)
        if said or (not mark and unjudged(self.guard)):
            if above is not None and judge_asking() is None:
                above.check()  # what another guard stopped
            run = Run(run_id, None, above)
            run.bare = Unjudged(self.guard, call, within, Content() if said else None)
            if said:
                tell_asked(run.bare, asked, (params or {}).get("tools"))  # type: ignore[arg-type]  # a list
        else:
            run = self._admitted(call, asked, run_id, above, params.get("tools") if params else None)
            if mark and run.flow is not None:
                outermost = None if above is None else False
                run.handoff = Handoff(self.guard, outermost=outermost, span=run.flow.span, root=run.flow.root)
                report(metadata, run_id, run.handoff)
        if not mark and INSTRUMENTATION in modules:  # mostly not, and asked here it costs no frame
            run.hush = self.guard.emitter.hush(operation)
        self._runs.start(run)
        if run.bare is None:
            run.asked = perf_counter()

    def _asked(
        self,
        operation: str,
        serialized: dict[str, Any] | None,
        metadata: dict[str, Any],
        tags: list[str] | None,
        name: str | None,
        params: dict[str, Any] | None,
    ) -> Call:
        """The call that LangChain tells of: the very one of last time if it tells the same of it, as it mostly does."""
        wanted = output_type(params) if params and not OUTPUT_KEYS.isdisjoint(params) else ""
        last = self._last
        try:
            if last is not None and last[1] is serialized and last[2:] == (operation, metadata, tags, name, wanted):
                return last[0]
        except Exception:  # noqa: BLE001, S110 - what an application puts into metadata may refuse to be compared
            pass
        source = serialized.get("kwargs") if serialized else None
        call = convert.model_call(operation, metadata, source or convert.NOTHING)
        if wanted:
            call = call.but(settings={**call.settings, "output_type": wanted})
        call = with_session(call, metadata, tags, name)
        self._last = call, serialized, operation, dict(metadata), tags, name, wanted
        return call

    def _admitted(
        self, call: Call, asked: list[BaseMessage] | str, run_id: UUID, above: Run | None, tools: Any = None
    ) -> Run:
        enforced = self._enforced
        if (refused := enforced.refused["model"]) and (above is None or not above.covered) and judge_asking() is None:
            self.guard.refuse(refused, "GuardCallback", _INSTEAD)
        flow = self._flow(enforced.model, call, above)
        if isinstance(asked, str):
            self._judge(flow, flow.admit([Message("user", asked)]))
        else:
            if flow.violated or not flow.policy.bare:
                self._judge(flow, admitted(flow, asked))
            tell_asked(flow, asked, tools)
        return Run(run_id, flow, above)

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: Any = None,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Refuse to let a stream begin whose answer a callback could not hold back."""
        if run_id is self._passes:
            return  # of a stream that goes on, and whose pieces nobody counts
        run = self._streaming
        if run is None or run.identity is not run_id:  # a stream's pieces mostly come one after the other
            if not (self._live or self._runs.given_up):
                return  # nobody hears of it
            run = self._streaming = self._runs.heard_of(run_id)
        if run is not None:
            run.heard = True
            if run.arrivals is not None:
                run.arrivals.append(perf_counter())
                run.piece = chunk
            if not run.streamed:
                self._streamed(run)
            if not run.paced:
                run.listener, self._passes = self, run_id

    def listen(self) -> None:
        """Hear of the next piece again, whichever stream's it is."""
        self._passes = None

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The same for LangChain's event streams."""
        self.on_llm_new_token("", run_id=run_id)
        # One piece of an answer is several events, of which one brings something.
        run, kind = self._streaming, event.get("event") if isinstance(event, dict) else None
        if run is not None and run.arrivals and len(run.arrivals) > 2 and kind != "content-block-delta":  # noqa: PLR2004 - asked, first
            run.arrivals.pop()

    def _streamed(self, run: Run) -> None:
        run.streamed = True
        if run.handoff is None:  # or the copy inside knows better when they came
            span = run.bare or (None if run.flow is None else run.flow.span)
            run.arrivals = None if span is None else span.timed()
            run.paced = run.arrivals is not None and self.guard.emitter.recorder is not None
            if run.arrivals is not None:
                run.arrivals[:] = [run.asked or span.begun, perf_counter()]  # type: ignore[union-attr]  # it is none only above
        if run.hush is not None:
            run.hush.over()  # the provider was asked, and the reader's own code runs between the pieces
        if run.flow is None or run.flow.question is not None:
            return
        if not run.covered:
            self.guard.refuse(self._enforced.output, "GuardCallback on a streamed answer", _INSTEAD)
        drive(run.flow.settle_races(), self.guard.workers)  # before the first piece leaves
        run.flow.follow(self._enforced.streamed)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Judge what came back; raises GuardrailViolation before the caller has it."""
        run = self._runs.take(run_id)
        self._streaming = None  # or it would live on
        if run is None and self._runs.given_up:
            run = self._late(run_id, self._enforced.model, "output")
        if run is None or (ended := run.flow or run.bare) is None:
            return
        if run.piece is not None and run.arrivals and _is_end(run.piece):
            run.arrivals.pop()
        generations = response.generations[0] if response.generations else ()
        if (flow := run.flow) is not None and not flow.transparent:
            self._judge(flow, _released(flow, generations))
        if ended.content is not None:
            tell_answers(ended, generations)
        answer = convert.answer(generations, response.llm_output)
        if run.streamed:
            answer["streamed"] = True
        if flow is None:
            run.bare.over(answer)  # type: ignore[union-attr]  # it is one of them
        else:
            flow.answered(**answer)


def _is_end(chunk: Any) -> bool:
    """Whether this piece is LangChain's own, which says that the stream is over."""
    message = getattr(chunk, "message", None)
    if message is None or getattr(message, "chunk_position", None) != "last":
        return False
    return not (message.content or message.usage_metadata or message.response_metadata or chunk.generation_info)


def _released(flow: Flow, generations: Sequence[Generation]) -> Plan[Any]:
    said = [(one.message, one.generation_info) for one in generations if isinstance(one, ChatGeneration)]
    return examined(flow, said) if said else flow.release([one.text for one in generations])
