"""Monitors: in the background, on a sample, and never in the way."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import subprocess
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import set_span_in_context

from llmguard_middleware import (
    Call,
    ConfigurationError,
    Guard,
    Guardrail,
    Message,
    Monitor,
    MonitorQueue,
    MonitorStats,
    Score,
)
from llmguard_middleware._monitoring import Monitors
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import CapturedRecord, CapturedSpan, FakeScorer, Flags, Hangs, Raises, Returns

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from llmguard_middleware.testing import CapturedTelemetry

ANSWERED = Call("chat", model="m", answered=True, output="hello", response_id="r1", trace_id=1, span_id=2)
either = pytest.mark.parametrize("use_async", [False, True])


def scored_span(telemetry: CapturedTelemetry) -> Context:
    """The context of a span that has ended, called "chat m"."""
    span = telemetry.tracer_provider.get_tracer("test").start_span("chat m")
    span.end()
    return set_span_in_context(span)


@either
def test_a_score_becomes_a_record_and_a_linked_span(telemetry: CapturedTelemetry, use_async: bool) -> None:
    """A score is an evaluation record in the scored span's context, and a span of that trace that links to it."""
    scorer = Returns(Score(value=0.5, label="fair"), use_async=use_async)
    guard = Guard(Monitor(scorer, name="quality"), **telemetry.providers)
    context = scored_span(telemetry)
    guard.observe(ANSWERED, context)
    assert guard.flush(30) == 0
    scored = telemetry.span("chat m")
    told = {
        "gen_ai.evaluation.name": "quality",
        "gen_ai.evaluation.score.value": 0.5,
        "gen_ai.evaluation.score.label": "fair",
        "gen_ai.response.id": "r1",
        "llmguard.monitor.name": "quality",
        "llmguard.guard.name": "default",
        "llmguard.guard.digest": guard.digest,
    }
    assert telemetry.records == (CapturedRecord("gen_ai.evaluation.result", told, scored.trace_id, scored.span_id),)
    late = telemetry.span("llmguard.monitor quality")
    assert late == CapturedSpan("llmguard.monitor quality", parent="chat m", attributes=told, links=("chat m",))
    assert late.trace_id == scored.trace_id


FAILURES = [
    (lambda **options: Raises(ValueError("user text"), **options), "ValueError", "ValueError"),
    (
        lambda **options: Returns("user text", **options),
        "llmguard_middleware.errors.ScorerError",
        'scorer "returns" returned str; return a dict, a bool, a number or a Score',
    ),
    (lambda **options: Raises(SystemExit, **options), "SystemExit", "SystemExit"),
    (
        lambda **options: Raises(asyncio.CancelledError, **options),
        "asyncio.exceptions.CancelledError",
        "CancelledError",
    ),
    (lambda **options: Raises(TimeoutError, **options), "TimeoutError", "TimeoutError"),
]


@either
@pytest.mark.parametrize(("make", "error_type", "why"), FAILURES, ids=[error for _, error, _ in FAILURES])
def test_a_failure_is_an_unscored_record(
    telemetry: CapturedTelemetry,
    caplog: pytest.LogCaptureFixture,
    use_async: bool,
    make: Any,
    error_type: str,
    why: str,
) -> None:
    """A monitor that fails is logged without content, is recorded as unscored, and the next one still runs."""
    guard = Guard(Monitor(make(use_async=use_async)), Monitor(Flags(use_async=use_async)), **telemetry.providers)
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    name = guard.monitors[0].name
    assert caplog.messages == [f'monitor "{name}" could not score: {why}']
    failed = next(record for record in telemetry.records if record.attributes["llmguard.monitor.name"] == name)
    told = {
        "gen_ai.evaluation.name": name,
        "gen_ai.evaluation.score.label": "unscored",
        "error.type": error_type,
        "gen_ai.response.id": "r1",
        "llmguard.monitor.name": name,
        "llmguard.guard.name": "default",
        "llmguard.guard.digest": guard.digest,
    }
    assert failed == CapturedRecord("gen_ai.evaluation.result", told)
    assert telemetry.span(f"llmguard.monitor {name}") == CapturedSpan(
        f"llmguard.monitor {name}", attributes=told, status="ERROR"
    )
    assert telemetry.span("llmguard.monitor flags").status == "UNSET"


def test_a_monitor_that_asks_for_too_much_is_unscored(
    telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """A scorer that asks for what the call has not is logged with what there is, and recorded as unscored."""

    def relevance(output: str, question: str) -> bool:
        return question in output

    guard = Guard(Monitor(relevance), **telemetry.providers)
    guard.observe(Call("chat", answered=True, output="user text", inputs={"topic": "user text"}))
    assert guard.flush(30) == 0
    assert caplog.messages[0] == (
        'monitor "relevance" could not score: scorer "relevance" asks for "question", which this call does not have; '
        "it has: call, context, inputs, messages, output, text, topic. "
        'Rename with column_map={"question": "<one of these>"} or give the parameter a default'
    )
    assert telemetry.records[0].attributes["error.type"] == "llmguard_middleware.errors.ScorerInputError"


@either
def test_a_hanging_monitor_does_not_delay_the_caller(telemetry: CapturedTelemetry, use_async: bool) -> None:
    """observe() returns while the scorer still runs, and flush() says how many scores are left."""
    slow = Hangs(use_async=use_async)
    guard = Guard(Monitor(slow), **telemetry.providers)
    guard.observe(ANSWERED)
    assert slow.started.wait(30)
    assert not slow.ended.is_set()
    assert guard.flush(0) == guard.flush(0.01) == 1
    slow.release()
    assert guard.flush(30) == 0
    assert slow.ended.is_set()


def test_an_async_monitor_has_a_time_limit(telemetry: CapturedTelemetry) -> None:
    """An async scorer that is out of time is unscored, cancelled and out of the queue, even if it will not end."""

    async def stubborn(text: str) -> bool:
        while not refused.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            refused.set()
        await asyncio.sleep(60)
        return False

    refused = threading.Event()
    guard = Guard(Monitor(stubborn, timeout=0.05), **telemetry.providers)
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    assert refused.wait(30)
    assert telemetry.records[0].attributes["error.type"] == "llmguard_middleware.errors.ScorerTimeoutError"


def test_a_sync_monitor_has_a_time_limit(telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture) -> None:
    """A sync scorer that is out of time is unscored at once; what it returns later is ignored."""
    slow = Hangs()
    guard = Guard(Monitor(slow, timeout=0.05), **telemetry.providers)
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    assert not slow.ended.is_set()
    assert guard.monitoring == MonitorStats(timed_out=1, abandoned=1)
    slow.release()
    assert until(lambda: guard.monitoring == MonitorStats(timed_out=1))
    assert caplog.messages == ['monitor "hangs" could not score: scorer "hangs" took longer than 0.05 s']
    assert [record.attributes["error.type"] for record in telemetry.records] == [
        "llmguard_middleware.errors.ScorerTimeoutError"
    ]


def test_hung_monitors_do_not_stop_a_healthy_one() -> None:
    """Other threads take the place of those that hang, and the pool is as it was once they return."""
    slow, healthy = Hangs(), Flags()
    guard = Guard(
        Monitor(slow, timeout=0.01, where={"operation": "slow"}), Monitor(healthy, where={"operation": "chat"})
    )
    for _ in range(20):
        guard.observe(Call("slow", answered=True, output="x"))
    assert guard.flush(30) == 0
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(scored=1, timed_out=20, abandoned=20)
    slow.release()
    assert until(lambda: guard.monitoring.abandoned == 0)


def test_beyond_32_hung_monitors_scores_wait(caplog: pytest.LogCaptureFixture) -> None:
    """No more than 32 threads are replaced; then scores wait, and are dropped as the queue says; none is lost."""
    slow = Hangs()
    guard = Guard(Monitor(slow, timeout=0.01), queue=MonitorQueue(size=10))
    for i in range(34):
        guard.observe(ANSWERED)
        assert until(lambda i=i: guard.monitoring.timed_out == i + 1)
    for _ in range(12):
        guard.observe(ANSWERED)
    assert guard.monitoring == MonitorStats(queued=10, timed_out=34, dropped=2, abandoned=34)
    assert guard.flush(0.01) == 10
    slow.release()
    assert guard.flush(30) == 0
    assert until(lambda: guard.monitoring == MonitorStats(scored=10, timed_out=34, dropped=2))


def test_a_clock_that_cannot_start_leaves_scorers_their_time() -> None:
    """Where no thread can be had for time-outs, a scorer is scored all the same, and so is an incomplete batch."""

    class NoThreads:
        def at(self, *_: Any) -> None:
            msg = "can't start new thread"
            raise RuntimeError(msg)

        def forget(self, _: object) -> None:
            """Nothing was set."""

    class Batch(FakeScorer):
        def score_batch(self, text: list[str]) -> list[bool]:
            return [False] * len(text)

    guard = Guard(Monitor(Flags()), Monitor(Batch(), batch_wait=3600))
    for lane in guard._monitoring._lanes:
        object.__setattr__(lane.means, "clock", NoThreads())
    guard.observe(ANSWERED)
    assert until(lambda: guard.monitoring == MonitorStats(scored=2))


def test_an_event_loop_that_cannot_start_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Where no thread can be had for the event loop, the score of an async monitor has failed and is not pending."""

    class NoThreads:
        def submit_async(self, *_: Any) -> None:
            msg = "can't start new thread"
            raise RuntimeError(msg)

    guard = Guard(Monitor(Flags(use_async=True)))
    object.__setattr__(guard._monitoring._lanes[0].means, "workers", NoThreads())
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(failed=1)
    assert caplog.messages == ['monitor "flags" could not score: RuntimeError']


def until(condition: Any) -> bool:
    """Whether it comes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return bool(condition())


def test_a_filter_chooses_the_calls() -> None:
    """Only calls that match `where` are scored."""
    acme, mini = Flags(name="acme"), Flags(name="mini")
    guard = Guard(
        Monitor(acme, where={"model": ["gpt-*", "claude-*"], "tenant.id": "acme"}),
        Monitor(mini, where=lambda call: call.model.endswith("-mini")),
    )
    for model, tenant in (("gpt-5", "acme"), ("gpt-5-mini", "other"), ("llama-mini", "acme"), ("claude-5", "acme")):
        guard.observe(Call("chat", model=model, answered=True, output=model, attributes={"tenant.id": tenant}))
    assert guard.flush(30) == 0
    assert (sorted(acme.seen), sorted(mini.seen)) == (["claude-5", "gpt-5"], ["gpt-5-mini", "llama-mini"])


def test_a_filter_that_raises_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The caller sees no exception, the call is not scored, and it is told once, by the kind of the exception."""

    def tenant(call: Call) -> bool:
        return bool(call.attributes["user text"])

    guard = Guard(Monitor(Flags(), where=tenant), Monitor(Flags(name="other")))
    guard.observe(ANSWERED)
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    assert guard.monitoring == MonitorStats(scored=2)
    assert caplog.messages == [
        'monitor "flags" did not take a call, since its where raised KeyError; this is said once'
    ]


def test_inner_calls_are_scored_only_if_asked_for() -> None:
    """By default the outermost guarded call is scored, with on="every" each one."""
    outermost, every = Flags(name="outermost"), Flags(name="every")
    guard = Guard(Monitor(outermost), Monitor(every, on="every"))
    guard.observe(Call("chat", answered=True, output="inner"), outermost=False)
    guard.observe(Call("invoke_workflow", answered=True, output="outer"))
    assert guard.flush(30) == 0
    assert (outermost.seen, sorted(every.seen)) == (["outer"], ["inner", "outer"])


def test_an_inactive_monitor_scores_nothing() -> None:
    """active=False switches a monitor off; nothing is even queued for it."""
    guard = Guard(Monitor(Flags(), active=False, description="Off until the model is fixed."))
    guard.observe(ANSWERED)
    assert guard.monitoring == MonitorStats()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"on": "each"}, 'unknown on "each" in monitor "flags": Known: outermost, every'),
        ({"active": 1}, 'active of monitor "flags" is 1; give True or False'),
        ({"description": None}, 'description of monitor "flags" is NoneType; give a text'),
        (
            {"where": {}},
            'where of rule "flags" is empty; leave it out, or say what to match: {"operation": "chat"}',
        ),
    ],
)
def test_a_mistake_in_a_monitor_is_told_at_once(options: Any, sentence: str) -> None:
    """Each mistake is a ConfigurationError of one sentence, when the monitor is made."""
    with pytest.raises(ConfigurationError) as caught:
        Monitor(Flags(), **options)
    assert str(caught.value) == sentence


def test_the_policy_of_a_monitor_tells_what_it_scores() -> None:
    """Each option that decides which calls are scored changes the policy; its description for people does not."""
    base = Monitor(Flags()).described()
    assert Monitor(Flags(), description="x").described() == base
    others = [
        Monitor(Flags(), sample=0.5),
        Monitor(Flags(), where={"model": "gpt-*"}),
        Monitor(Flags(), on="every"),
        Monitor(Flags(), active=False),
    ]
    assert len({base, *(monitor.described() for monitor in others)}) == 5
    assert hash(others[1]) == hash(Monitor(others[1].scorer, where={"model": "gpt-*"}))


def test_a_full_queue_drops_and_counts(telemetry: CapturedTelemetry) -> None:
    """Beyond the limit a score is dropped and counted; the caller neither waits nor fails."""
    slow = Hangs()
    guard = Guard(Monitor(slow), **telemetry.providers)
    limited = Monitors(guard.monitors, guard.emitter, lambda call: call, MonitorQueue(size=3))
    for _ in range(5):
        limited.observe(ANSWERED, None)
    assert (limited.stats.dropped, limited.flush(0)) == (2, 3)
    slow.release()
    assert limited.flush(30) == 0
    limited.observe(ANSWERED, None)
    assert (limited.flush(30), limited.stats.dropped, len(telemetry.records)) == (0, 2, 4)


def test_observing_is_safe_from_many_threads(telemetry: CapturedTelemetry) -> None:
    """Calls handed over from many threads at once are all scored, none twice."""
    guard = Guard(Monitor(Flags()), Monitor(Flags(name="later", use_async=True)), **telemetry.providers)
    threads = [threading.Thread(target=lambda: [guard.observe(ANSWERED) for _ in range(25)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert guard.flush(60) == 0
    assert (len(telemetry.records), guard.dropped) == (400, 0)


def test_shutdown_takes_no_more_calls(telemetry: CapturedTelemetry) -> None:
    """After shutdown() calls are ignored, guardrails go on."""
    guard = Guard(Monitor(Flags()), Guardrail(Flags(name="g"), stage="input"), **telemetry.providers)
    guard.observe(ANSWERED)
    assert guard.shutdown(30) == 0
    guard.observe(ANSWERED)
    assert (guard.flush(30), len(telemetry.records)) == (0, 1)
    assert guard.check("x", stage="input").outcome == "blocked"


def test_flush_may_wait_without_limit() -> None:
    """flush(inf) waits until all is scored."""
    guard = Guard(Monitor(Flags()))
    guard.observe(ANSWERED)
    assert guard.flush(math.inf) == 0


def test_a_monitor_that_cannot_start_is_counted_as_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """observe() never raises, even where no thread can be had; the score counts as dropped."""

    class NoThreads:
        def post(self, *_: Any) -> None:
            msg = "can't start new thread"
            raise RuntimeError(msg)

    guard = Guard(Monitor(Flags()))
    monitors = Monitors(guard.monitors, guard.emitter, lambda call: call, workers=NoThreads())  # type: ignore[arg-type]
    monitors.observe(ANSWERED, None)
    assert (monitors.stats.dropped, monitors.flush(0)) == (1, 0)
    assert caplog.messages == ['monitor "flags" could not be queued: RuntimeError']


def test_broken_telemetry_does_not_stop_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    """A provider that raises is logged, and the score counts as done."""

    class Broken:
        def emit(self, **_: Any) -> None:
            msg = "broken exporter"
            raise RuntimeError(msg)

    guard = Guard(Monitor(Flags()))
    guard.emitter.logger = Broken()  # type: ignore[assignment]
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    assert caplog.messages == ["telemetry could not be written: RuntimeError"]


def test_a_sample_of_none_scores_nothing(telemetry: CapturedTelemetry) -> None:
    """sample=0 never scores, and sample=1 always does, whatever the trace."""
    guard = Guard(Monitor(Flags(), sample=0), Monitor(Flags(name="all"), sample=1), **telemetry.providers)
    for trace_id in (0, 1, 2**128 - 1):
        guard.observe(Call("chat", answered=True, output="x", trace_id=trace_id))
    assert guard.flush(30) == 0
    assert {record.attributes["llmguard.monitor.name"] for record in telemetry.records} == {"all"}


def test_an_untraced_call_is_sampled_too(telemetry: CapturedTelemetry) -> None:
    """Calls without a trace are sampled at random, not all or none."""
    guard = Guard(Monitor(Flags(), sample=0.5), **telemetry.providers)
    for _ in range(400):
        guard.observe(Call("chat", answered=True, output="x"))
    assert guard.flush(60) == 0
    assert 100 < len(telemetry.records) < 300


def test_a_monitor_sees_only_what_redaction_leaves() -> None:
    """What a redacting guardrail of either end removes, the monitor never sees, in any of the call's texts."""
    seen: list[Any] = []

    def looks(text: str, output: str, question: str, messages: Any, context: Any, inputs: Any, call: Call) -> bool:
        seen.append((text, output, question, messages, context, dict(inputs), call.output))
        return False

    guard = Guard(
        Guardrail(pii(), stage="input", action="redact"),
        Guardrail(pii(), stage="output", action="redact", name="out"),
        Monitor(looks),
    )
    guard.observe(
        Call(
            "chat",
            answered=True,
            output="answer a@b.co",
            messages=(Message("system", "s a@b.co"), Message("user", "ask a@b.co")),
            context=("found a@b.co",),
            inputs={"topic": "t a@b.co"},
        )
    )
    assert guard.flush(30) == 0
    hidden = "answer <EMAIL_ADDRESS>"
    messages = (Message("system", "s <EMAIL_ADDRESS>"), Message("user", "ask <EMAIL_ADDRESS>"))
    expected = (
        hidden,
        hidden,
        "ask <EMAIL_ADDRESS>",
        messages,
        ("found <EMAIL_ADDRESS>",),
        {"topic": "t <EMAIL_ADDRESS>"},
        hidden,
    )
    assert seen == [expected]


def test_a_text_that_could_not_be_redacted_is_not_shown() -> None:
    """If a redacting guardrail fails, the monitor sees an empty text rather than the raw one."""
    watching = Flags(when="x")
    guard = Guard(Guardrail(Raises(ValueError), stage="output", action="redact"), Monitor(watching))
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    assert watching.seen == [""]


def test_calls_made_by_a_guardrail_are_not_monitored(telemetry: CapturedTelemetry) -> None:
    """A guardrail's scorer that makes guarded calls of its own (a judge) is not monitored for them."""

    class Judge(FakeScorer):
        def outcome(self, text: str) -> bool:
            guard.observe(ANSWERED)
            return False

    guard = Guard(Guardrail(Judge(), stage="input"), Monitor(Judge(name="judge")), **telemetry.providers)
    guard.check("x", stage="input")
    assert guard.flush(5) == 0
    assert telemetry.records == ()
    guard.observe(ANSWERED)
    assert guard.flush(5) == 0
    assert len(telemetry.records) == 1


class Text(str):
    """A text that can be weakly referenced."""

    __slots__ = ("__weakref__",)


@either
@pytest.mark.parametrize("make", [Flags, lambda **options: Raises(ValueError, **options)])
def test_no_thread_keeps_a_scored_call_alive(use_async: bool, make: Any) -> None:
    """Once scored, a call is not held by queue, thread or loop, not even in a cycle that waits for the collector."""
    scorer = make(use_async=use_async)
    guard = Guard(Monitor(scorer))
    text = Text("user text")
    alive = weakref.ref(text)
    gc.disable()
    try:
        guard.observe(Call("chat", answered=True, output=text))
        del text
        assert guard.flush(30) == 0
        scorer.seen.clear()
        deadline = time.monotonic() + 10  # the thread that ran the scorer needs a moment to let go
        while alive() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert alive() is None
    finally:
        gc.enable()


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter that treats warnings as errors; generous time, so that a hang is seen."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@either
def test_a_hanging_monitor_does_not_keep_the_interpreter(use_async: bool) -> None:
    """A process whose monitor hangs ends all the same, and says nothing."""
    done = python(f"""
from llmguard_middleware import Call, Guard, Monitor
from llmguard_middleware.testing import Hangs
slow = Hangs(use_async={use_async})
guard = Guard(Monitor(slow))
guard.observe(Call("chat", answered=True, output="x"))
slow.started.wait()
print("ends")
""")
    assert (done.stdout, done.stderr, done.returncode) == ("ends\n", "", 0)


@either
def test_pending_scores_are_written_at_exit(use_async: bool) -> None:
    """What is pending when the interpreter ends is scored before the SDK that was set up earlier shuts down."""
    done = python(f"""
import time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from llmguard_middleware import Call, Guard, Monitor
from llmguard_middleware.testing import Hangs
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.name + "\\n")))
guard = Guard(Monitor(Hangs(0.2, use_async={use_async})), tracer_provider=provider)
guard.observe(Call("chat", answered=True, output="x"))
print("ends")
""")
    assert (done.stdout, done.stderr, done.returncode) == ("ends\nllmguard.monitor hangs\n", "", 0)


@either
def test_a_fork_starts_with_nothing_pending(use_async: bool) -> None:
    """A child has a queue, workers and counts of its own; what was pending stays with the parent."""
    done = python(f"""
import os
from llmguard_middleware import Call, Guard, Monitor
from llmguard_middleware.testing import Flags, Hangs
answered = Call("chat", answered=True, output="x")
slow = Hangs(use_async={use_async})
guard = Guard(Monitor(slow), Monitor(Flags(use_async={use_async})))
closed = Guard(Monitor(Flags()))
closed.shutdown(0)
guard.observe(answered)
slow.started.wait()
child = os.fork()
if not child:
    slow.release()
    assert guard.flush(0) == 0
    guard.observe(answered)
    assert guard.flush(10) == 0
    assert len(guard.monitors[1].scorer.seen) >= 1
    closed.observe(answered)
    assert closed.flush(0) == 0 and not closed.monitors[0].scorer.seen
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
slow.release()
print(guard.flush(10))
""")
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


def test_a_fork_keeps_books_of_its_own() -> None:
    """In a child the counters start at nothing, time-outs and incomplete batches work, and no lock is held."""
    done = python("""
import logging, os
from llmguard_middleware import Call, Guard, Monitor, MonitorStats
from llmguard_middleware.testing import Flags, Hangs
answered = Call("chat", answered=True, output="x")

class Batch(Flags):
    def score_batch(self, text):
        return [False] * len(text)

logging.getLogger("llmguard").addHandler(logging.NullHandler())
slow = Hangs()
guard = Guard(Monitor(slow, timeout=0.2), Monitor(Batch(), batch_wait=0.01))
guard.observe(answered)
guard.flush(10)
before = guard.monitoring
assert before == MonitorStats(scored=1, timed_out=1, abandoned=1), before
monitoring = guard._monitoring  # whose locks another thread may hold just then
with monitoring._backlog._changed, monitoring._workers._pool._crew._lock:
    child = os.fork()
    if not child:
        assert guard.monitoring == MonitorStats()
        guard.observe(answered)
        assert guard.flush(10) == 0
        assert guard.monitoring == before, guard.monitoring
        os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
slow.release()
print(guard.flush(10))
""")
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


def test_an_incomplete_batch_is_scored_at_exit() -> None:
    """When the interpreter ends an incomplete batch does not wait for more."""
    done = python("""
from llmguard_middleware import Call, Guard, Monitor
from llmguard_middleware.testing import Flags

class Batch(Flags):
    def score_batch(self, text):
        print("scored", len(text), flush=True)
        return [False] * len(text)

guard = Guard(Monitor(Batch(), batch_wait=3600))
guard.observe(Call("chat", answered=True, output="x"))
print("ends", flush=True)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("ends\nscored 1\n", "", 0)


def test_threads_end_with_their_guard() -> None:
    """A guard that nobody uses any more takes the threads of its monitors with it, the clock's too."""
    before = set(threading.enumerate())
    guard = Guard(Monitor(Flags()), Monitor(Flags(name="later", use_async=True)))
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    started = [thread for thread in threading.enumerate() if thread not in before and "monitor" in thread.name]
    assert any("clock" in thread.name for thread in started)
    del guard
    deadline = time.monotonic() + 20
    while any(thread.is_alive() for thread in started) and time.monotonic() < deadline:
        gc.collect()  # again, since a thread may still have been in the frame that holds the last reference
        started[0].join(0.05)
    assert not any(thread.is_alive() for thread in started)
