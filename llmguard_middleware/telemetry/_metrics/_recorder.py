"""What one guard's calls, verdicts and scores say in metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from opentelemetry.context import Context

from ..._call import Call, Usage
from ..._verdict import Verdict
from .. import _names as names
from .._attributes import INFERENCE, TOOL_TYPE
from .._options import Metrics
from ._instruments import Instruments
from ._series import Series
from ._tally import Tally

__all__ = ["Recorder"]

_CLIENT = "gen_ai.client.operation."
_NEW = "gen_ai.client.inference."
_GAPS = 10  # see `_chunks`


class Recorder:
    """Records for one guard, into instruments that it shares with others.

    A call is recorded when it ends, with `error.type` if it failed, also one that a guardrail stopped before its model
    was asked: there is a span for it, too, and whoever counts errors wants to see it. A call that was abandoned by its
    reader, or interrupted by a framework's signal, ended without an error.
    """

    def __init__(self, instruments: Instruments, guard: str, generation: Metrics) -> None:
        self._on, self._guard = instruments, guard
        self._old, self._new = generation in ("old", "both"), generation in ("new", "both")
        self._series, self._histogram = instruments.series, instruments.histogram
        if self._new:
            instruments.observe("gen_ai.client.inference.usage")
        instruments.observe("llmguard.")

    @property
    def instruments(self) -> Instruments:
        """What it records into."""
        return self._on

    def ended(
        self,
        call: Call,
        seconds: float,
        *,
        error: str = "",
        usage: Usage | None = None,
        response_model: str = "",
        usd: float | None = None,
        arrivals: Sequence[float] | None = None,
        context: Context | None = None,
        tally: Tally | None = None,
    ) -> None:
        """A call is over.

        Args:
            call: what was asked.
            seconds: that it took.
            error: the value of `error.type`; empty if it did not fail.
            usage: tokens.
            response_model: which model answered.
            usd: what it cost, if that is known.
            arrivals: when a streamed answer was asked for and its chunks came, on the clock of `perf_counter`.
            context: that it lay in, for exemplars and for the agent that it is a part of.
            tally: of an agent, what it called.
        """
        operation = call.operation
        if operation in INFERENCE or operation == "embeddings" or operation == "retrieval":  # noqa: PLR1714 - at half the cost
            series = self._series.of(call, response_model)
            if operation in INFERENCE:
                self._inference(series, seconds, error, usage, context)
                if arrivals is not None and len(arrivals) > 1:
                    self._chunks(series, arrivals, context)
                if context and (above := Tally.over(context)) is not None:
                    above.count(tool=False)
            elif operation == "embeddings":
                self._embeddings(series, seconds, error, usage, context)
            else:
                self._duration("gen_ai.client.operation.duration", series.attributes, seconds, error, context)
            if usd is not None:
                with self._on.lock:
                    series.usd = (series.usd or 0.0) + usd
        elif operation == "execute_tool":
            self._tool(call, seconds, error, context)
        elif operation == "invoke_agent":
            self._agent(call, seconds, error, context, tally)
        elif operation == "invoke_workflow":
            attributes = self._named(names.WORKFLOW, call.name)
            self._duration("gen_ai.invoke_workflow.duration", attributes, seconds, error, context)

    def _duration(
        self, metric: str, attributes: dict[str, Any], seconds: float, error: str, context: Context | None
    ) -> None:
        if error:
            attributes = {**attributes, names.ERROR_TYPE: self._on.names.bounded(names.ERROR_TYPE, error)}
        self._histogram(metric)(seconds, attributes, context)

    def _named(self, attribute: str, name: str) -> dict[str, Any]:
        return {attribute: self._on.names.bounded(attribute, name)} if name else {}

    def _inference(
        self, series: Series, seconds: float, error: str, usage: Usage | None, context: Context | None
    ) -> None:
        if self._old:
            self._duration("gen_ai.client.operation.duration", series.attributes, seconds, error, context)
        if self._new:
            self._duration("gen_ai.client.inference.duration", series.attributes, seconds, error, context)
        if usage is None:
            return
        if self._old:
            self._used(series, usage, context)
        if self._new:
            self._used_anew(series, usage, context)

    def _used(self, series: Series, usage: Usage, context: Context | None) -> None:
        record = self._histogram("gen_ai.client.token.usage")
        if usage[0] is not None:
            record(usage[0], series.input, context)
        if usage[1] is not None:
            record(usage[1], series.output, context)

    def _used_anew(self, series: Series, usage: Usage, context: Context | None) -> None:
        if usage[0] is not None:
            self._histogram("gen_ai.client.inference.operation.input_tokens")(usage[0], series.attributes, context)
        if usage[1] is not None:
            self._histogram("gen_ai.client.inference.operation.output_tokens")(usage[1], series.attributes, context)
        totals = series.totals
        with self._on.lock:
            for at, tokens in enumerate(usage):
                if tokens is not None:
                    totals[at] = (totals[at] or 0) + tokens

    def _embeddings(
        self, series: Series, seconds: float, error: str, usage: Usage | None, context: Context | None
    ) -> None:
        asked = None if usage is None else usage.input_tokens
        if self._old:
            self._duration("gen_ai.client.operation.duration", series.attributes, seconds, error, context)
            if asked is not None:
                self._histogram("gen_ai.client.token.usage")(asked, series.input, context)
        if self._new:
            self._duration("gen_ai.client.embeddings.duration", series.attributes, seconds, error, context)
            if asked is not None:
                self._histogram("gen_ai.client.embeddings.operation.input_tokens")(asked, series.attributes, context)

    def _chunks(self, series: Series, arrivals: Sequence[float], context: Context | None) -> None:
        """Record how a streamed answer came.

        The conventions want a record for each chunk. Ten of a stream are recorded, taken evenly from all of it: the API
        takes one value at a time, and a record costs the SDK 7 us (16 with the machine's other core busy), so that 500
        chunks cost 3.5 to 5 ms, a hundred times as much as the rest of the call's telemetry. Recording later, on a
        thread or when metrics are collected, does not save it: it is Python all the same, and while a thread records,
        code beside it takes 1.7 times as long. Nor can values be counted here (500 gaps in 40 us) and be handed over as
        buckets: the SDK has no MetricProducer. So shares and quantiles hold, and long streams weigh as short ones do;
        the count is no count of chunks.
        """
        gaps = [later - earlier for earlier, later in pairwise(arrivals[1:])]
        if len(gaps) > _GAPS:  # some from everywhere
            gaps = [gaps[at * len(gaps) // _GAPS] for at in range(_GAPS)]
        for start, told in ((_CLIENT, self._old), (_NEW, self._new)):
            if told:
                self._histogram(f"{start}time_to_first_chunk")(arrivals[1] - arrivals[0], series.attributes, context)
                record = self._histogram(f"{start}time_per_output_chunk")
                for gap in gaps:
                    record(gap, series.attributes, context)

    def _tool(self, call: Call, seconds: float, error: str, context: Context | None) -> None:
        bounded = self._on.names.bounded
        attributes = self._named(names.TOOL, call.name or "unknown")
        kind = str(call.attributes.get(names.TOOL_TYPE) or TOOL_TYPE)
        attributes[names.TOOL_TYPE] = bounded(names.TOOL_TYPE, kind)
        if context and (above := Tally.over(context)) is not None:
            above.count(tool=True)
            attributes |= self._named(names.AGENT, above.nearest)
        self._duration("gen_ai.execute_tool.duration", attributes, seconds, error, context)

    def _agent(self, call: Call, seconds: float, error: str, context: Context | None, tally: Tally | None) -> None:
        attributes = self._named(names.AGENT, call.name)
        counted = tally or Tally(Context())
        self._histogram("gen_ai.invoke_agent.inference_calls")(counted.inference, attributes, context)
        self._histogram("gen_ai.invoke_agent.tool_calls")(counted.tools, attributes, context)
        with_model = {**attributes, **self._named(names.REQUEST_MODEL, call.model)}
        self._duration("gen_ai.invoke_agent.duration", with_model, seconds, error, context)

    def judged(self, verdict: Verdict) -> None:
        """A text was judged: each guardrail's verdict, how long it took, and its score."""
        bounded = self._on.names.bounded
        for finding in verdict.findings:
            if finding.remembered:  # and was counted where it was found
                continue
            rule = bounded(names.GUARDRAIL, finding.rule)
            self._on.judged(self._guard, rule, verdict.stage, finding.action, finding.outcome)
            if finding.outcome == "skipped":
                continue
            attributes = {names.GUARD: self._guard, names.GUARDRAIL: rule, names.STAGE: verdict.stage}
            self._histogram("llmguard.guardrail.duration")(finding.seconds, attributes)
            if finding.score is not None:
                self.scored(finding.rule, finding.score.value)

    def scored(self, name: str, value: float | None, context: Context | None = None) -> None:
        """Something was scored, by a guardrail, a monitor or a person."""
        if value is None or not (0 <= value < math.inf):  # a histogram takes no other
            return
        attributes = {names.EVALUATION_NAME: self._on.names.bounded(names.EVALUATION_NAME, name)}
        attributes[names.GUARD] = self._guard
        self._histogram("llmguard.evaluation.score")(value, attributes, context)
