"""Evaluators of other libraries as scorers, with stand-ins of the libraries' documented interfaces.

The libraries themselves, where they are light enough: test_scorers_foreign_real.py.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Monitor, Score
from llmguard_middleware.scorers import (
    evaluator,
    from_deepeval,
    from_llm_guard,
    from_phoenix,
    from_ragas,
    from_transformers,
)
from llmguard_middleware.testing import CapturedTelemetry

ANSWERED = Call("chat", inputs={"question": "Which?"}, context=("one", "two"), answered=True, output="this")


class _Record:
    def __init__(self, **fields: Any) -> None:
        self.fields = fields


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules with what DeepEval and Ragas hand to their metrics, and an environment that said nothing of reports."""
    for module, name in (("deepeval.test_case", "LLMTestCase"), ("ragas.dataset_schema", "SingleTurnSample")):
        monkeypatch.setitem(sys.modules, module.partition(".")[0], ModuleType(module.partition(".")[0]))
        made = ModuleType(module)
        setattr(made, name, _Record)
        monkeypatch.setitem(sys.modules, module, made)
    for variable in ("DEEPEVAL_TELEMETRY_OPT_OUT", "RAGAS_DO_NOT_TRACK"):
        monkeypatch.setenv(variable, "")  # so that it is put back to what it was
        monkeypatch.delenv(variable)


class BaseMetric:
    """As DeepEval's: what it found is kept on the metric."""

    async_mode = True
    evaluation_model = "m"
    evaluation_cost = 0.5
    input_tokens = 7
    error = None
    reason: str | None = None
    score: float | None = None

    def is_successful(self) -> bool | None:
        """None without a threshold."""
        return None if self.threshold is None else self.score >= self.threshold

    async def a_measure(self, case: Any) -> float:
        """As the base class has it."""
        raise NotImplementedError


class _LengthMetric(BaseMetric):
    """Takes its time, so that two at once would mix up their scores if they shared the metric."""

    _required_params = (SimpleNamespace(value="actual_output"), SimpleNamespace(value="retrieval_context"))

    def __init__(self, threshold: float | None = 3, *, score: Any = None) -> None:
        self.threshold, self.fixed = threshold, score

    async def a_measure(self, case: Any, _show_indicator: bool = True) -> float:
        assert not _show_indicator
        self.score = len(case.fields["actual_output"]) if self.fixed is None else self.fixed
        await asyncio.sleep(0.01)
        self.reason = f"{self.score} of {case.fields['retrieval_context']} for {case.fields['input']}"
        return self.score

    def measure(self, case: Any, _show_indicator: bool = True) -> float:
        raise NotImplementedError


class _SyncMetric(BaseMetric):
    """One's own, without an async form."""

    threshold = 1

    def measure(self, case: Any) -> float:
        self.score = len(case.fields["actual_output"])
        return self.score


TOLD = {"threshold": 3, "model": "m", "cost": 0.5, "input_tokens": 7}


async def test_a_metric_of_deepeval_is_asked_by_the_names_of_a_call() -> None:
    """Its verdict, reason, threshold, model and cost become those of the score; the metric itself stays as it was."""
    metric = _LengthMetric()
    scorer = from_deepeval(metric)
    assert scorer.name == "length"
    good, bad = await asyncio.gather(
        scorer.score(output="this", context=("d",), question="q"), scorer.score(output="no", context="d")
    )
    assert good == Score(value=4.0, explanation="4 of ['d'] for q", metadata=TOLD)
    assert bad == Score(value=2.0, flagged=True, explanation="2 of ['d'] for ", metadata=TOLD)
    assert metric.score is None


def test_a_metric_of_deepeval_may_be_sync() -> None:
    """If it has no async form, or is told to be."""
    assert from_deepeval(_SyncMetric()).score(output="") == Score(
        value=0.0, flagged=True, metadata={**TOLD, "threshold": 1}
    )
    told = _LengthMetric()
    told.async_mode = False
    assert from_deepeval(told).score(output="x", context=["d"]).explanation == "deepeval failed: NotImplementedError"


async def test_a_metric_without_a_threshold_is_a_measurement() -> None:
    """It has no verdict, so that a guardrail has to say what counts."""
    scorer = from_deepeval(_LengthMetric(None))
    measured = await scorer.score(output="this", context=["d"])
    assert measured == {
        "score": 4.0,
        "label": "",
        "explanation": "4 of ['d'] for ",
        "metadata": {"model": "m", "cost": 0.5, "input_tokens": 7},
    }
    given = {"context": ["d"]}
    undecided = Guard(Guardrail(scorer, stage="output")).check("this", stage="output", inputs=given)
    assert str(undecided.findings[0].error).startswith('scorer "length" gave a value and no verdict')
    decided = Guard(Guardrail(scorer, stage="output", above=3)).check("this", stage="output", inputs=given)
    assert decided.outcome == "blocked"


@pytest.mark.parametrize("score", [float("nan"), None])
async def test_a_metric_that_gives_no_number_is_unscored(score: Any) -> None:
    """Nothing is made up."""
    metric = _LengthMetric(score=0)
    metric.is_successful = lambda: True
    metric.a_measure = _giving(score)
    assert await from_deepeval(metric).score(output="x", context=["d"]) == Score.not_scored(
        "the evaluator gave no score"
    )


def _giving(score: Any) -> Any:
    async def measure(case: Any) -> None:
        return score

    return measure


async def test_an_error_that_a_metric_keeps_is_unscored() -> None:
    """Though it has a score of before."""
    metric = _LengthMetric()
    metric.error = "no more credit"
    assert (await from_deepeval(metric).score(output="x", context=["d"])).unscored


class BaseConversationalMetric(BaseMetric):
    """As DeepEval's."""

    measure = a_measure = None


class _Turns(BaseConversationalMetric):
    """Judges a conversation."""

    def measure(self, case: Any) -> float:
        return 1.0


async def test_what_is_missing_is_unscored_not_made_up() -> None:
    """No documents under a call that is judged by documents; nothing at all."""
    scorer = from_deepeval(_LengthMetric())
    assert await scorer.score(output="x", context=()) == Score.not_scored("the call has no context")
    with pytest.raises(TypeError, match="missing a required argument: 'output'"):
        await scorer.score(context=["d"])
    nothing = from_ragas(_Sampled(required=()))
    assert await nothing.score() == Score.not_scored("the call has no reference or output or question")


def test_parameters_are_bound_by_name_and_can_be_renamed() -> None:
    """A guardrail at a stage without an output is refused, unless the name is mapped to what is there."""
    with pytest.raises(ConfigurationError, match=r'column_map=\{"output": "text"\}'):
        Guardrail(from_deepeval(_SyncMetric()), stage="input")
    rule = Guardrail(from_deepeval(_SyncMetric(), column_map={"output": "text"}), stage="input")
    assert Guard(rule).check("", stage="input").outcome == "blocked"
    assert Guard(rule).check("xx", stage="input").outcome == "passed"


class _Banned:
    """A scanner of inputs, as LLM Guard's."""

    def scan(self, prompt: str) -> tuple[str, bool, float]:
        if prompt == "fail":
            raise ValueError(prompt)
        return prompt.replace("acme", "[REDACTED]"), "acme" not in prompt, 1.0 if "acme" in prompt else -1.0


class _SameAsked:
    """A scanner of outputs."""

    def scan(self, prompt: str, output: str) -> tuple[str, bool, float]:
        return output, prompt != output, 0.3


def test_a_scanner_of_inputs_is_a_scorer_of_any_text() -> None:
    """Its risk is the value, and what it makes of the text is proposed: a redaction puts it in its place."""
    scorer = from_llm_guard(_Banned())
    assert scorer.score(text="see acme") == Score(value=1.0, flagged=True, label="banned", modified="see [REDACTED]")
    assert scorer.score("see") == Score(value=-1.0)
    guard = Guard(Guardrail(scorer, stage="retrieval", action="redact"))
    assert guard.check("see acme", stage="retrieval").guarded == "see [REDACTED]"


def test_a_scanner_of_outputs_sees_the_question() -> None:
    """By any name that the call has for it."""
    scorer = from_llm_guard(_SameAsked(), name="echo")
    assert scorer.score(text="a", question="a") == Score(value=0.3, flagged=True, label="echo")
    guard = Guard(Guardrail(from_llm_guard(_SameAsked(), column_map={"question": "topic"}), stage="output"))
    assert guard.check("a", stage="output", inputs={"topic": "b"}).outcome == "passed"


def test_what_fails_is_unscored_and_stops_or_not_as_its_rule_says() -> None:
    """The explanation quotes nothing of what was judged."""
    scorer = from_llm_guard(_Banned())
    assert scorer.score(text="fail") == Score.not_scored("llm-guard failed: ValueError")
    for on_error, stops in (("block", True), ("allow", False)):
        verdict = Guard(Guardrail(scorer, stage="input", on_error=on_error)).check("fail", stage="input")
        assert (verdict.findings[0].outcome, verdict.findings[0].stops) == ("error", stops)
        assert str(verdict.findings[0].error) == 'scorer "banned" could not score'


class _Judge:
    """An evaluator, as Phoenix'."""

    input_schema: Any = None

    def __init__(self, *scores: dict[str, Any], kind: str = "code", name: str = "Judge 1") -> None:
        self.scores, self.kind, self.name = scores, kind, name

        class Schema(BaseModel):
            input: str
            documents: list[str]
            context: str | None = None
            note: Any = 3

        self.input_schema = Schema

    def evaluate(self, record: dict[str, Any]) -> list[Any]:
        told = {"score": None, "label": None, "explanation": str(record), "direction": "maximize", "name": self.name}
        return [
            SimpleNamespace(**{"metadata": {"model": "m"}, "kind": self.kind, **told, **one}) for one in self.scores
        ]

    async def async_evaluate(self, record: dict[str, Any]) -> list[Any]:
        return self.evaluate(record)


def test_an_evaluator_of_phoenix_is_asked_by_the_names_of_a_call() -> None:
    """Documents go where they are asked for, as a list or as one text; other scores are kept in the metadata."""
    scorer = from_phoenix(_Judge({"score": 0.4, "label": "poor"}, {"name": "recall", "score": 1.0}))
    record = {"input": "Which?", "documents": ["a", "b"], "context": "a\n\nb"}
    told = {"model": "m", "kind": "code", "direction": "maximize", "threshold": 0.5, "scores": {"recall": 1.0}}
    assert scorer.name == "judge_1"
    assert scorer.score(question="Which?", context=("a", "b")) == Score(
        value=0.4, flagged=True, label="poor", explanation=str(record), metadata=told
    )


@pytest.mark.parametrize(
    ("score", "options", "flagged"),
    [
        ({"score": 0.5}, {}, False),
        ({"score": 0.6}, {"threshold": 0.7}, True),
        ({"score": 0.4, "direction": "minimize"}, {}, False),
        ({"score": 0.6, "direction": "minimize"}, {}, True),
        ({"score": 1.0, "label": "rude"}, {"flagged_labels": ["rude"]}, True),
        ({"label": "kind"}, {"flagged_labels": ["rude"]}, False),
        ({"score": 1.0, "direction": "neutral"}, {}, None),
        ({"label": "rude"}, {}, None),
    ],
)
async def test_phoenix_is_flagged_by_its_direction_or_its_label(
    score: dict[str, Any], options: dict[str, Any], flagged: bool | None
) -> None:
    """On the wrong side of the threshold; where nobody says what is bad, it is a measurement alone."""
    made = await from_phoenix(_Judge(score, kind="llm"), **options).score(question="q", context=["d"])
    assert (made.flagged if isinstance(made, Score) else None) is flagged


def test_an_evaluator_that_does_not_say_what_it_asks_for_is_refused() -> None:
    """Or says it by a mapping."""
    judge = _Judge()
    judge.input_schema = None
    with pytest.raises(ConfigurationError, match="takes an evaluator with an input_schema and without a mapping"):
        from_phoenix(judge)


class _Sampled:
    """A metric of single turns, as Ragas'."""

    name = "sampled"

    def __init__(self, required: tuple[str, ...] = ("response",)) -> None:
        self.required_columns = {"SINGLE_TURN": set(required)}

    def get_required_columns(self, *, with_optional: bool) -> dict[str, set[str]]:
        return {"SINGLE_TURN": {"response", "reference", "user_input"}}

    async def single_turn_ascore(self, sample: Any) -> float:
        return 0.9 if sample.fields == {"response": "this", "reference": "that"} else float("nan")


class _Collected:
    """A metric of `ragas.metrics.collections`."""

    name = "collected"

    async def ascore(self, response: str, retrieved_contexts: list[str], reference: str = "") -> Any:
        return SimpleNamespace(value=len(retrieved_contexts) / 4, reason=f"{response}{reference}")


class _Prompted:
    """A metric of a prompt, which gives a label."""

    name = "prompted"
    allowed_values = ("pass", "fail")

    def __init__(self) -> None:
        self.allowed_values = ["pass", "fail"]

    def get_variables(self) -> list[str]:
        return ["response", "style", "response"]

    async def ascore(self, *, llm: str, **given: Any) -> Any:
        return SimpleNamespace(value=llm, reason=str(given))


class _Made:
    """A metric of a function, with what the function gives."""

    name = "made"
    allowed_values = (0, 1)

    @staticmethod
    def _func(response: str, user_input: str = "") -> Any: ...

    async def ascore(self, *args: Any, **given: Any) -> Any:
        return SimpleNamespace(value={"none": None, "list": [1]}.get(given["response"], 1), reason="Error: secret")


async def test_ragas_metrics_of_every_sort_are_asked_by_the_names_of_a_call() -> None:
    """Of samples, with keywords, of a prompt, of a function; the reason is kept; what gives no number is unscored."""
    assert await from_ragas(_Sampled()).score(output="this", reference="that") == Score(
        value=0.9, metadata={"threshold": 0.5}
    )
    assert await from_ragas(_Sampled()).score(output="x") == Score.not_scored("the evaluator gave no score")
    assert await from_ragas(_Collected()).score(output="x", context=["a"], reference="y") == Score(
        value=0.25, flagged=True, explanation="xy", metadata={"threshold": 0.5}
    )
    assert await from_ragas(_Made()).score(output="x", question="q") == Score(
        value=1.0, explanation="Error: secret", metadata={"threshold": 0.5}
    )
    for output in ("none", "list"):
        assert await from_ragas(_Made()).score(output=output) == Score.not_scored("the evaluator gave no score")


async def test_ragas_metrics_that_give_labels_are_flagged_by_label() -> None:
    """By "fail" if it gives "pass" and "fail"; by those named; by none if there is nothing to go by."""
    told = "{'response': 'x', 'style': 'noir'}"
    failed = await from_ragas(_Prompted(), llm="fail").score(output="x", style="noir")
    assert failed == Score(flagged=True, label="fail", explanation=told)
    assert not (await from_ragas(_Prompted(), llm="fail", flagged_labels=["pass"]).score(output="x", style="n")).flagged
    other = _Prompted()
    other.allowed_values = ["good", "bad"]
    assert "flagged" not in await from_ragas(other, llm="bad").score(output="x", style="noir")
    with pytest.raises(ConfigurationError, match=r"_Prompted asks a model; write from_ragas\(metric, llm="):
        from_ragas(_Prompted())


async def test_lower_can_be_better() -> None:
    """Ragas does not say which; then it is flagged above the threshold."""
    scorer = from_ragas(_Collected(), lower_is_better=True, threshold=0.6)
    assert [(await scorer.score(output="", context=["d"] * many)).flagged for many in (2, 3)] == [False, True]


def classify(text: str) -> list[dict[str, Any]]:
    """Knows one word, wherever in a text it stands."""
    bad = 0.9 if "evil" in text else 0.2
    return [{"label": "SAFE", "score": 1 - bad}, {"label": "BAD", "score": bad}]


class _Pipeline:
    """As a Hugging Face pipeline: the best label alone, unless it is asked for all; of 16 tokens, which are words."""

    task = "text-classification"
    model = SimpleNamespace(config=SimpleNamespace(id2label={0: "SAFE", 1: "BAD"}))

    def __init__(self, longest: int = 16) -> None:
        self.seen: list[str] = []
        self.tokenizer = _Words(longest)

    def __call__(self, text: str, *, top_k: None, truncation: bool) -> list[list[dict[str, Any]]]:
        self.seen.append(text)
        return [classify(" ".join(text.split()[:14]))]


class _Words:
    """A fast tokenizer."""

    is_fast = True

    def __init__(self, longest: int) -> None:
        self.model_max_length = longest

    def num_special_tokens_to_add(self) -> int:
        return 2

    def __call__(self, text: str, **options: Any) -> dict[str, list[tuple[int, int]]]:
        places, at = [], 0
        for word in text.split(" "):
            places.append((at, at + len(word)))
            at += len(word) + 1
        return {"offset_mapping": places}


def test_a_classifier_is_flagged_by_its_labels() -> None:
    """Value is the highest probability of a flagged one; whatever shape of list its answer has."""
    bad = Score(value=0.9, flagged=True, label="BAD", metadata={"threshold": 0.5})
    for shape in (classify, lambda text: [classify(text)], _Pipeline()):
        assert from_transformers(shape, flagged_labels=["BAD"]).score(text="evil") == bad
    best_alone = from_transformers(lambda text: classify(text)[0], flagged_labels=["BAD"])
    assert best_alone.score(text="good") == Score(value=0.0, metadata={"threshold": 0.5})
    assert from_transformers(classify, flagged_labels=["BAD"]).score(text="good") == Score(
        value=0.2, metadata={"threshold": 0.5}
    )
    assert from_transformers(lambda _: [], flagged_labels=["BAD"]).score(text="") == Score.not_scored(
        "the evaluator gave no score"
    )
    assert from_transformers(classify).score(text="good") == {
        "score": 0.8,
        "label": "SAFE",
        "explanation": "",
        "metadata": {},
    }


def test_a_pipeline_looks_at_one_text_at_a_time() -> None:
    """Fast tokenizers fail when two threads use one."""
    inside = threading.Lock()

    def alone(text: str) -> Any:
        assert inside.acquire(blocking=False)
        time.sleep(0.01)
        inside.release()
        return classify(text)

    scorer = from_transformers(alone, flagged_labels=["BAD"])
    with ThreadPoolExecutor(4) as pool:
        assert [one.unscored for one in pool.map(lambda text: scorer.score(text=text), "abcdefgh")] == [False] * 8


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(8, 60))
def test_a_word_is_seen_wherever_it_stands_in_a_long_text(before: int, after: int, window: int) -> None:
    """What is longer than a window is looked at in stretches that overlap by a quarter of it, two words here."""
    text = "a" * before + "ev" + "b" * after
    scorer = from_transformers(lambda one: classify(one.replace("ev", "evil")), flagged_labels=["BAD"], window=window)
    assert scorer.score(text=text).flagged


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_a_model_is_given_as_many_tokens_as_it_takes(before: int, after: int) -> None:
    """Where the pipeline has a fast tokenizer: nothing is cut off unseen."""
    pipeline = _Pipeline()
    text = "가 " * before + "evil" + " 나" * after
    assert from_transformers(pipeline, flagged_labels=["BAD"]).score(text=text).flagged
    assert max(len(stretch.split()) for stretch in pipeline.seen) <= 14


def test_a_tokenizer_that_does_not_say_how_long_is_taken_for_the_usual() -> None:
    """512 tokens, as most of these models."""
    pipeline = _Pipeline(longest=10**30)
    from_transformers(pipeline, flagged_labels=["BAD"]).score(text="a " * 511)
    assert [len(stretch.split()) for stretch in pipeline.seen] == [510, 128]  # the last of 512 is empty


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        (_LengthMetric(), from_deepeval),
        (_Banned(), from_llm_guard),
        (_Judge(), from_phoenix),
        (_Sampled(), from_ragas),
        (_Made(), from_ragas),
        (_Pipeline(), from_transformers),
    ],
)
def test_evaluator_tells_the_libraries_apart(thing: Any, kind: Any) -> None:
    """By what only their evaluators have."""
    assert type(evaluator(thing)) is type(kind(thing))


UNKNOWN = (
    "object looks like no evaluator of a library that is known; say which it is: from_deepeval(), from_llm_guard(), "
    "from_phoenix(), from_presidio(), from_ragas(), from_transformers()"
)


@pytest.mark.parametrize(
    ("make", "thing", "options", "sentence"),
    [
        (evaluator, object(), {}, UNKNOWN),
        (from_deepeval, object(), {}, "from_deepeval() takes a metric of DeepEval, not object: it has no measure(...)"),
        (
            from_deepeval,
            _Turns(),
            {},
            "from_deepeval() takes metrics of one question and answer; _Turns judges several",
        ),
        (from_llm_guard, 3, {}, "from_llm_guard() takes a scanner of llm-guard, not int: it has no scan(...)"),
        (
            from_llm_guard,
            SimpleNamespace(scan=lambda: 3),
            {},
            "the scan() of SimpleNamespace takes no text; from_llm_guard() takes a scanner of llm-guard",
        ),
        (
            from_phoenix,
            3,
            {},
            "from_phoenix() takes an evaluator of arize-phoenix-evals, not int: it has no evaluate(...)",
        ),
        (
            from_ragas,
            3,
            {},
            "from_ragas() takes a metric of one question and answer of ragas, not int: it has no ascore(...)",
        ),
        (from_ragas, _Sampled(), {"threshold": float("nan")}, "threshold is nan; it must be a number"),
        (
            from_transformers,
            3,
            {},
            "from_transformers() takes a pipeline, which can be called with a text, not int",
        ),
        (
            from_transformers,
            "unitary/toxic-bert",
            {},
            'from_transformers() takes a pipeline or the path of one, for example "package.module:name"',
        ),
        (
            from_transformers,
            _Pipeline(),
            {"flagged_labels": ["BED"]},
            'the model has no label "BED": did you mean "BAD"? Known: SAFE, BAD',
        ),
        (
            from_transformers,
            classify,
            {"window": 3},
            "window is 3; it must be a whole number of characters, for example 1000",
        ),
        (
            from_llm_guard,
            _Banned,
            {},
            "from_llm_guard() takes a scanner, not its class; write from_llm_guard(_Banned(...))",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence(make: Any, thing: Any, options: dict[str, Any], sentence: str) -> None:
    """Which says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        make(thing, **options)
    assert str(caught.value) == sentence


def test_a_file_names_an_evaluator_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a text cannot be an object."""
    module = ModuleType("acme_metrics")
    module.banned = _Banned()
    monkeypatch.setitem(sys.modules, "acme_metrics", module)
    rule = {"scorer": "evaluator", "args": ["acme_metrics:banned"], "stage": "input", "action": "redact"}
    guard = Guard.from_config({"guardrails": [rule]}, environ={})
    assert guard.check("acme!", stage="input").guarded == "[REDACTED]!"


def test_a_monitor_scores_with_them(telemetry: CapturedTelemetry) -> None:
    """In the background, sync and async ones, bound by name to the call that was answered."""
    scorers = (from_deepeval(_LengthMetric()), from_llm_guard(_Banned(), column_map={"text": "output"}))
    guard = Guard(*map(Monitor, scorers), **telemetry.providers)
    guard.observe(ANSWERED)
    assert guard.flush(30) == 0
    told = {
        record.attributes["gen_ai.evaluation.name"]: (record.attributes["gen_ai.evaluation.score.value"])
        for record in telemetry.records
    }
    assert told == {"length": 4.0, "banned": -1.0}


def test_they_can_be_sent_to_another_process() -> None:
    """If the evaluator can."""
    sent = pickle.loads(pickle.dumps(from_llm_guard(_Stateless())))
    assert sent.score(text="x") == Score(value=0.0)
    assert sent.options == from_llm_guard(_Stateless()).options
    classifier = pickle.loads(pickle.dumps(from_transformers(classify, flagged_labels=["BAD"])))
    assert classifier.score(text="evil").flagged


class _Stateless:
    """A scanner whose class is found by its name."""

    def scan(self, prompt: str) -> tuple[str, bool, float]:
        return prompt, True, 0.0


def test_their_makers_are_told_nothing() -> None:
    """The variables by which DeepEval and Ragas are kept from reporting are set, and heeded if they were."""
    from_deepeval(_LengthMetric())
    from_ragas(_Sampled())
    assert os.environ["DEEPEVAL_TELEMETRY_OPT_OUT"] == "1"
    assert os.environ["RAGAS_DO_NOT_TRACK"] == "true"


def test_ragas_that_has_begun_to_report_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads its variable once; whoever sets it to false wants it so."""
    begun = ModuleType("ragas._analytics")
    begun.do_not_track = lambda: False
    monkeypatch.setitem(sys.modules, "ragas._analytics", begun)
    with pytest.raises(ConfigurationError, match="set RAGAS_DO_NOT_TRACK=true before it is first used"):
        from_ragas(_Sampled())
    monkeypatch.setenv("RAGAS_DO_NOT_TRACK", "false")
    from_ragas(_Sampled())


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_is_scored(text: str) -> None:
    """Lone surrogates reach no evaluator, many of which could not encode them."""
    seen: list[str] = []
    scanner = SimpleNamespace(scan=lambda prompt: (seen.append(prompt) or prompt, True, 0.0))
    assert from_llm_guard(scanner).score(text=text + "\ud800") == Score(value=0.0)
    seen[0].encode()
    assert len(seen[0]) == len(text) + 1


async def test_what_is_no_text_is_handed_over_as_json() -> None:
    """Outputs of functions may be anything."""
    scorer = from_deepeval(_LengthMetric())
    assert (await scorer.score(output={"a": "가"}, context=[{"b": 1}])).explanation == "10 of ['{\"b\": 1}'] for "
    assert (await scorer.score(output="x", context=3)).explanation == "1 of ['3'] for "
