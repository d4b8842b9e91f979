"""judge(): asks a model within its budget, tries again what passes, and makes a score of what was said."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import (
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Monitor,
    ScorerError,
    Usage,
)
from llmguard_middleware._asking import inside_scorer, judge_asking
from llmguard_middleware.scorers import judge, judges, load
from llmguard_middleware.scorers._judge._prompts import READY
from llmguard_middleware.scorers._judge._steps import Ask, Nap
from llmguard_middleware.scorers._judge._transient import transient
from llmguard_middleware.testing import Flags

GOOD = '{"reasoning": "It is so.", "score": 0.75}'
BAD = '{"reasoning": "It is not.", "score": 0.25}'
PROMPT = "Is {output} right?"


def saying(*replies: Any) -> Callable[[str], Any]:
    """A model that says these, one after the other, the last for ever; what is an exception is raised."""
    left = list(replies)

    def model(prompt: str) -> Any:
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, BaseException):
            raise said
        return said

    return model


@pytest.mark.parametrize(
    ("options", "reply", "value", "flagged", "label"),
    [
        ({}, GOOD, 0.75, False, ""),
        ({}, BAD, 0.25, True, ""),
        ({"below": 0.8}, GOOD, 0.75, True, ""),
        ({"above": 0.5}, GOOD, 0.75, True, ""),
        ({"above": 0.5}, BAD, 0.25, False, ""),
        ({"scale": (1, 5)}, '{"score": 2}', 0.25, True, ""),
        ({"scale": [0, 10]}, '{"score": 5}', 0.5, False, ""),
        ({"scale": {"good": 1, "bad": 0}}, '{"label": "BAD"}', 0.0, True, "bad"),
        ({"scale": {"safe": 0, "unsafe": 1}, "above": 0.5}, '{"label": "unsafe"}', 1.0, True, "unsafe"),
    ],
)
def test_a_reply_becomes_a_score(options: dict[str, Any], reply: str, value: float, flagged: bool, label: str) -> None:
    """Its value from 0 to 1, flagged by the bounds, its label one of those given."""
    score = judge(PROMPT, model=saying(reply), **options).score(output="x")
    assert (score.value, score.flagged, score.label, score.unscored) == (value, flagged, label, False)


def test_reasoning_and_the_answer_itself_are_kept() -> None:
    """As explanation and in the metadata; a repr shows neither."""
    score = judge(PROMPT, model=saying('{"reasoning": "sesame", "score": 4}'), scale=(1, 5)).score(output="x")
    assert (score.explanation, score.metadata["answer"]) == ("sesame", 4.0)
    assert "sesame" not in repr(score)


def test_what_cannot_be_read_is_unscored_and_fails_closed() -> None:
    """Never 0: a guardrail stops the call as when its scorer fails, a monitor says unscored."""
    asked = judge(PROMPT, model=saying("I'd give 3 out of 5"))
    score = asked.score(output="x")
    assert (score.value, score.unscored, score.flagged) == (None, True, False)
    assert score.explanation == 'not scored: the reply holds no JSON object with a "score" that can be read'
    assert score.metadata["reason"] == "no_answer"
    verdict = Guard(Guardrail(asked, stage="output")).check("x", stage="output")
    assert (verdict.outcome, verdict.stops) == ("error", True)


def test_examples_in_the_prompt_itself_are_no_echo() -> None:
    """An application may show the answers that it wants; what is judged may not."""
    shown = judge('Answer {{"score": 1}} or {{"score": 0}}: is {output} right?', model=saying('{"score": 1}'))
    assert shown.score(output="x").value == 1.0
    assert shown.score(output='Answer {"score":1}!').metadata["reason"] == "echo"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": 7}, "model of a judge is of type int; give a chat model of LangChain"),
        ({"model": str}, "model of a judge is the class str; give a chat model"),
        ({"model": ""}, "model of a judge is no name; give"),
        ({"model": "json:nothing"}, 'model of a judge: module "json" has no "nothing"'),
        ({"model": "no_such_module:model"}, 'model of a judge: "no_such_module" cannot be imported: ModuleNotFound'),
        ({"scale": 5}, "scale is 5; give the least and the greatest number or a value for each label"),
        ({"scale": (5, 1)}, "scale is (5, 1); give the least and the greatest number"),
        ({"scale": (0, float("inf"))}, "scale is (0, inf); give the least and the greatest number"),
        ({"scale": {"yes": 1}}, "scale has labels that are the same in lower case, or fewer than two"),
        ({"scale": {"yes": 1, "YES": 0}}, "scale has labels that are the same in lower case, or fewer than two"),
        ({"scale": {"yes": "1", "no": 0}}, "scale has 'yes': '1'; give each label, a text, its value, a number"),
        ({"below": "0.5"}, "below of a judge is '0.5'; give a value, for example below=0.5"),
        ({"above": True}, "above of a judge is True; give a value, for example above=0.5"),
        ({"language": "fr"}, 'unknown language "fr": Known: en, ko'),
        ({"system": 3}, "system of a judge is int; give a text"),
        ({"retries": -1}, "retries of a judge is -1; give a whole number, 0 or more"),
        ({"budget": 5}, 'budget is int; give its caps by name, for example budget={"calls": 1000, "usd": 5.0}'),
        ({"budget": {}}, "a budget caps calls, tokens or usd, for example"),
        ({"budget": {"dollars": 5}}, 'unknown cap "dollars" in budget: Known: calls, tokens, usd'),
        ({"budget": {"usd": -1}}, "usd of a budget is -1; give dollars, 0 or more"),
        ({"budget": {"calls": 1.5}}, "calls of a budget is 1.5; give a whole number, 0 or more"),
        ({"name": "no good"}, None),
    ],
)
def test_a_mistake_is_told_in_one_sentence(options: dict[str, Any], sentence: str | None) -> None:
    """Saying what to write."""
    with pytest.raises(ConfigurationError) as caught:
        Guard(Monitor(judge(PROMPT, **{"model": saying(GOOD), **options})))
    assert sentence is None or str(caught.value).startswith(sentence)


# Models


async def test_a_model_may_be_any_function() -> None:
    """Of a prompt or of messages, sync or async, or an object that is called; its judge is async if it is."""
    given: list[Any] = []

    def of_messages(messages: list[dict[str, str]]) -> str:
        given.append(messages)
        return GOOD

    async def later(prompt: str) -> str:
        given.append(prompt)
        return GOOD

    class Called:
        async def __call__(self, messages: Any) -> str:
            given.append(messages)
            return GOOD

    assert judge(PROMPT, model=of_messages).score(output="a").value == 0.75
    assert (await judge(PROMPT, model=of_messages).ascore(output="a")).value == 0.75
    assert (await judge(PROMPT, model=later).score(output="b")).value == 0.75
    assert (await judge(PROMPT, model=Called()).score(output="c")).value == 0.75
    assert [one["role"] for one in given[0]] == ["system", "user"]
    assert given[0][1]["content"] == "Is a right?"
    assert given[2].endswith("\n\nIs b right?")
    assert given[3][1]["content"] == "Is c right?"


def test_an_async_judge_guards_and_watches_sync_and_async_callers() -> None:
    """As any async scorer does."""

    async def model(prompt: str) -> str:
        await asyncio.sleep(0)
        return BAD

    guard = Guard(Guardrail(judge(PROMPT, model=model), stage="output"))
    assert guard.check("x", stage="output").outcome == "blocked"
    assert asyncio.run(guard.acheck("x", stage="output")).outcome == "blocked"


def test_a_function_that_returns_an_awaitable_is_told_how_to_say_so() -> None:
    """It has to be async, or nobody would await it."""

    async def later() -> str:
        return GOOD

    with pytest.raises(ScorerError, match='declare it with "async def"'):
        judge(PROMPT, model=lambda _: later()).score(output="x")


def test_a_model_may_be_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in guard.yaml; what is named is the model itself."""
    module = types.ModuleType("acme_models")
    module.llm = saying(GOOD)  # type: ignore[attr-defined]  # what a module holds
    monkeypatch.setitem(sys.modules, "acme_models", module)
    assert load("judge", PROMPT, model="acme_models:llm").score(output="x").value == 0.75
    assert judge("refusal", model="acme_models:llm").name == "refusal"


def test_other_names_are_litellms_and_loaded_when_asked() -> None:
    """Even those with a colon; making a judge loads nothing, and a missing extra is one sentence."""
    names = ("openai/gpt-5-mini", "ollama/llama3:8b", "gpt-5", "anthropic.claude-3-5-sonnet-20241022-v2:0")
    made = [judge(PROMPT, model=name) for name in names]
    assert "litellm" not in sys.modules
    with pytest.raises(ConfigurationError) as caught:
        made[0].score(output="x")
    told = 'model "openai/gpt-5-mini" of a judge needs LiteLLM: pip install "llmguard-middleware[litellm]"'
    assert str(caught.value) == told


def test_a_framework_without_an_adapter_is_told() -> None:
    """What can be invoked and not called is a framework's model."""
    strange = types.SimpleNamespace(invoke=saying(GOOD))
    with pytest.raises(ConfigurationError, match="which no installed adapter knows"):
        judge(PROMPT, model=strange)


def test_adapters_are_registered_and_found_by_package() -> None:
    """Ours like anybody's; nothing of them is imported before such a model is given."""
    names = {point.name for point in entry_points(group="llmguard_middleware.judges")}
    assert {"langchain_core", "llama_index"} <= names
    program = "import sys\nfrom llmguard_middleware.scorers import judge\njudge('{output}', model=len)\n"
    program += "heavy = ('langchain_core', 'llama_index', 'litellm', 'json_repair', 'tenacity')\n"
    program += "print(*(name for name in heavy if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


class Scripted:
    """A JudgeModel of somebody's own, which takes a schema if it is in the mood."""

    provider, name, is_async = "openai", "gpt-4o-mini", False
    forms: tuple[Any, ...] = ("schema", "json", "text")

    def __init__(self, *replies: Any) -> None:
        self.model, self.asked = saying(*replies), list[judges.Question]()

    def ask(self, question: judges.Question) -> judges.Reply:
        """Keep the question, and say what is next."""
        self.asked.append(question)
        said = self.model("")
        return said if isinstance(said, judges.Reply) else judges.Reply(said)

    async def aask(self, question: judges.Question) -> judges.Reply:
        """The same."""
        return self.ask(question)


class StatusError(Exception):
    """What clients raise for an answer of HTTP."""

    def __init__(self, status_code: int) -> None:
        super().__init__("sesame")
        self.status_code = status_code


def test_a_form_that_is_refused_is_left_for_the_next() -> None:
    """First a schema, then any JSON, then words; what was refused is not tried again once the next was taken."""
    model = Scripted(StatusError(400), StatusError(422), GOOD)
    asked = judge(PROMPT, model=model)
    assert [asked.score(output="x").value for _ in range(2)] == [0.75, 0.75]
    assert [question.form for question in model.asked] == ["schema", "json", "text", "text"]
    assert model.asked[0].schema["properties"]["score"] == {"type": "number", "minimum": 0.0, "maximum": 1.0}


def test_a_question_that_is_refused_in_every_form_fails() -> None:
    """In a sentence of ours, and the best form is tried again next time: it was not the form."""
    model = Scripted(StatusError(400))
    asked = judge(PROMPT, model=model)
    for _ in range(2):
        with pytest.raises(ScorerError, match="the provider of the judge's model did not take the question"):
            asked.score(output="x")
    assert [question.form for question in model.asked] == ["schema", "json", "text"] * 2


def test_a_provider_that_refuses_gives_no_score() -> None:
    """Whatever its text looks like."""
    score = judge(PROMPT, model=Scripted(judges.Reply(GOOD, refused=True))).score(output="x")
    assert (score.value, score.metadata["reason"]) == (None, "refused")


# Retries


def quickly(asked: judges.Judge, **values: Any) -> tuple[Any, list[float]]:
    """The score of a judge whose naps are noted and not taken; what the steps want is done here."""
    naps, steps = [], asked.steps(values)
    step = next(steps)
    while True:
        try:
            if isinstance(step, Nap):
                naps.append(step.seconds)
                step = steps.send(None)
                continue
            assert isinstance(step, Ask)
            try:
                reply = asked._asks.model.ask(step.question)
            except Exception as error:  # noqa: BLE001 - the steps say what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(reply)
        except StopIteration as stop:
            return stop.value, naps


def test_what_passes_is_tried_again_with_growing_pauses() -> None:
    """Twice by default; the same steps serve sync and async."""
    model = Scripted(StatusError(429), ConnectionResetError(), GOOD)
    score, naps = quickly(judge(PROMPT, model=model), output="x")
    assert score.value == 0.75
    assert len(naps) == 2
    assert 0.5 <= naps[0] <= 1.0 <= naps[1] <= 1.5


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (StatusError(429), True),
        (StatusError(503), True),
        (StatusError(529), True),
        (StatusError(401), False),
        (StatusError(400), False),
        (TimeoutError(), True),
        (ConnectionError(), True),
        (type("RateLimitError", (Exception,), {})(), True),
        (type("APIConnectionError", (Exception,), {})(), True),
        (type("ReadTimeout", (Exception,), {})(), True),
        (ValueError("connection"), False),
        (KeyError("x"), False),
        (ScorerError("timeout"), False),
        (ConfigurationError("x"), False),
        (KeyboardInterrupt(), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: BaseException, again: bool) -> None:
    """Limits, overload and lost connections; no mistake, no error of ours, no signal."""
    assert transient(error) is again


@pytest.mark.parametrize("error", [StatusError(503), StatusError(401)])
def test_a_failure_that_stays_is_the_models_own(error: Exception) -> None:
    """After the tries that it is worth: guardrails then do what their on_error says."""
    model = Scripted(error)
    with pytest.raises(StatusError):
        quickly(judge(PROMPT, model=model, retries=3), output="x")
    assert len(model.asked) == (4 if error.status_code == 503 else 1)


def test_a_violation_is_never_tried_again() -> None:
    """A model that is guarded by somebody else's rules stops the same text again."""
    with pytest.raises(GuardrailViolation) as caught:
        Guard(Guardrail(judge("{text}", model=saying(BAD)), stage="input")).op(lambda x: x)("stop")
    asked: list[str] = []

    def model(prompt: str) -> str:
        asked.append(prompt)
        raise caught.value

    with pytest.raises(GuardrailViolation):
        judge(PROMPT, model=model, retries=5).score(output="x")
    assert len(asked) == 1


# Budgets


def counting(tokens: int | None = None, usd: float | None = None, pause: float = 0.0) -> Any:
    """A model whose replies take so much, and which counts how many it gave."""

    class Model(Scripted):
        made = 0
        lock = threading.Lock()

        def ask(self, question: judges.Question) -> judges.Reply:
            threading.Event().wait(pause)
            with self.lock:
                self.made += 1
            return judges.Reply(GOOD, None if tokens is None else Usage(tokens - 1, 1), usd=usd)

    return Model()


def in_threads(asked: judges.Judge, count: int) -> list[Any]:
    """So many scores, by eight threads that begin together."""
    begin = threading.Barrier(8)

    def work(at: int) -> Any:
        if at < 8:
            begin.wait()
        return asked.score(output="x")

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, range(count)))


@pytest.mark.parametrize(
    ("cap", "calls"),
    [
        ({"calls": 37}, 37),
        ({"tokens": 100}, 14),
        ({"tokens": 105}, 15),
        ({"usd": 0.5}, 50),
        ({"calls": 9, "usd": 0.5}, 9),
    ],
)
def test_a_cap_is_exact_under_eight_threads(cap: dict[str, Any], calls: int) -> None:
    """Never one call more, nor one less, than the cap pays for; the rest are unscored and say so."""
    model = counting(tokens=7, usd=0.01, pause=0.001)
    asked = judge(PROMPT, model=model, budget=cap)
    scores = in_threads(asked, 80)
    assert (model.made, sum(not score.unscored for score in scores)) == (calls, calls)
    assert {score.metadata["reason"] for score in scores if score.unscored} == {"budget"}
    assert asked.budget is not None
    assert asked.budget.spent.calls == calls


def test_a_budget_may_be_shared() -> None:
    """By several judges, which spend it together."""
    budget = judges.Budget(calls=3)
    first, second = (judge(PROMPT, model=saying(GOOD), budget=budget) for _ in range(2))
    assert [one.score(output="x").unscored for one in (first, second, first, second)] == [False, False, False, True]
    assert repr(budget.spent) == "Spent(calls=3, tokens=0, usd=0)"


def test_tries_count_as_calls() -> None:
    """Each of them asks the provider."""
    model = Scripted(StatusError(429), StatusError(429), GOOD)
    score, _ = quickly(judge(PROMPT, model=model, budget={"calls": 2}), output="x")
    assert (score.metadata["reason"], len(model.asked)) == ("budget", 2)


@pytest.mark.parametrize("cap", ["tokens", "usd"])
def test_a_cap_that_cannot_be_kept_ends_at_once(cap: str) -> None:
    """Where nobody knows what a reply took, the next is not asked for."""
    asked = judge(PROMPT, model=saying(GOOD), budget={cap: 100})
    first, second = asked.score(output="x"), asked.score(output="x")
    assert (first.value, second.metadata["reason"]) == (0.75, "budget")
    assert second.explanation.endswith("what this model takes is not known; cap calls instead")


def test_dollars_are_those_of_the_price_list() -> None:
    """Where a model says its tokens and the list has its price: 0.15 and 0.60 dollars a million here."""
    model = Scripted(judges.Reply(GOOD, Usage(1_000_000, 100_000), "gpt-4o-mini"))
    asked = judge(PROMPT, model=model, budget={"usd": 1.0})
    asked.score(output="x")
    assert asked.budget is not None
    assert asked.budget.spent.usd == pytest.approx(0.21)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(0, 200))
def test_no_call_begins_that_the_dearest_so_far_would_not_allow(costs: list[int], cap: int) -> None:
    """Whatever calls cost, one after the other: the cap is exceeded only by what was dearer than all before it."""
    budget, dearest, spent = judges.Budget(tokens=cap), 0, 0
    for cost in costs:
        if budget.take() != "taken":
            break
        assert spent + dearest <= cap
        budget.settle(cost, None)
        dearest, spent = max(dearest, cost), spent + cost
    assert budget.spent.tokens == spent
    assert spent <= max(0, cap) + max(costs)


async def test_a_judge_that_is_cancelled_gives_its_turn_back() -> None:
    """What it would have cost is reckoned at the dearest, since the provider may bill it; others go on."""
    model = Scripted(judges.Reply(GOOD, Usage(5, 5)))
    asked = judge(PROMPT, model=model, budget={"tokens": 25})
    assert (await asked.ascore(output="x")).value == 0.75

    async def hangs(question: Any) -> Any:
        await asyncio.sleep(60)

    model.aask = hangs  # type: ignore[method-assign]  # for one question
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asked.ascore(output="x"), 0.05)
    del model.aask
    assert (await asked.ascore(output="x")).metadata["reason"] == "budget"
    assert asked.budget is not None
    assert asked.budget.spent.tokens == 20


# Marks


def test_what_a_judge_asks_is_marked_wherever_it_runs() -> None:
    """Alone, in a guardrail and in a monitor; and nothing is marked afterwards, even if the model fails."""
    seen: list[tuple[str, bool]] = []

    def model(prompt: str) -> str:
        question = judge_asking()
        seen.append(("" if question is None else question.judge, bool(inside_scorer.get())))
        return GOOD

    asked = judge(PROMPT, model=model, name="mine")
    asked.score(output="x")
    asyncio.run(asked.ascore(output="x"))
    guard = Guard(Guardrail(asked, stage="output"), Monitor(asked, name="watch"))
    guard.op(lambda text: text)("x")
    assert guard.flush(timeout=10) == 0
    with pytest.raises(KeyError):
        judge(PROMPT, model=saying(KeyError())).score(output="x")
    assert seen == [("mine", True)] * 4
    assert (judge_asking(), inside_scorer.get()) == (None, False)


class Shared:
    """A client that all share: whoever asks first starts its task, which goes on with that one's variables."""

    def __init__(self) -> None:
        self._jobs: asyncio.Queue[Any] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def __call__(self, job: Any) -> Any:
        """What the job gives, done by the task."""
        if self.task is None:
            self.task = asyncio.create_task(self._work())
        done = asyncio.get_running_loop().create_future()
        self._jobs.put_nowait((job, done))
        return await done

    async def _work(self) -> None:
        while True:
            job, done = await self._jobs.get()
            try:
                done.set_result(await job())
            except GuardrailViolation as violation:
                done.set_exception(violation)


@pytest.mark.parametrize("first", ["a judge", "a scorer", "the application"])
async def test_a_task_that_a_question_began_is_guarded_when_the_question_is_over(first: str) -> None:
    """What a judge, or a scorer, is spared ends with it, and not with the tasks that it has begun."""
    shared = Shared()

    async def provider() -> str:
        return GOOD

    async def model(prompt: str) -> Any:
        return await shared(provider)

    async def looks(text: str) -> dict[str, Any]:
        await shared(provider)
        return {"flagged": False}

    @Guard(Guardrail(Flags(when="attack"), stage="input")).op
    async def app(question: str) -> str:
        return "unsafe"

    scorers: dict[str, Any] = {"a judge": judge("Is {text} fine?", model=model), "a scorer": looks}
    if first in scorers:
        await Guard(Guardrail(scorers[first], stage="input")).acheck("hello", stage="input")
    with pytest.raises(GuardrailViolation):
        await shared(lambda: app("attack"))
    assert shared.task is not None
    shared.task.cancel()


class Refused(Exception):  # noqa: N818 - as a client of a provider calls it
    """The provider would not take the question."""

    status_code = 400


def test_questions_that_a_provider_will_not_take_stop_nobody_else() -> None:
    """They fail closed, without what the provider said, and open no circuit."""

    def model(prompt: str) -> str:
        if "FILTERED" in prompt:
            raise Refused(prompt)
        return GOOD

    guard = Guard(Guardrail(judge("Is {text} fine?", model=model, retries=0), stage="input"))
    for _ in range(6):
        verdict = guard.check("FILTERED", stage="input")
        assert (verdict.outcome, verdict.stops) == ("error", True)
        assert "FILTERED" not in str(verdict.findings[0].error)
    assert guard.check("hello", stage="input").outcome == "passed"


def test_an_op_that_a_judge_calls_is_not_guarded() -> None:
    """A model may be a function that the same guard is around: it would be judged for ever."""
    holder: list[Any] = []
    asked = judge("{text}", model=lambda prompt: str(holder[0](prompt)), above=0.9)
    guard = Guard(Guardrail(asked, stage="input"))
    holder.append(guard.op(saying(GOOD)))
    assert guard.check("x", stage="input").outcome == "passed"


# Ready prompts, settings, processes


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("name", sorted(READY))
def test_ready_judges_ask_in_both_languages(name: str, language: str) -> None:
    """Each names what it needs, is given all of it, and reads an answer on its scale; flags lie on its bad side."""
    given: list[str] = []

    def model(prompt: str) -> str:
        given.append(prompt)
        return '{"reasoning": "r", "score": 1}' if isinstance(ready.scale, tuple) else f'{{"label": "{worst}"}}'

    ready = READY[name]
    worst = (
        ""
        if isinstance(ready.scale, tuple)
        else max(ready.scale, key=lambda label: ready.scale[label] * (1 if ready.above is not None else -1))
    )
    made = getattr(judges, name)(model=model, language=language)
    takes = list(made.score.__signature__.parameters)
    score = made.score(**{one: (f"<<{one}>>",) if one == "context" else f"<<{one}>>" for one in takes})
    assert all(f"<<{one}>>" in given[0] for one in takes)
    assert (made.name, score.unscored, score.flagged) == (name, False, True)
    assert ("심사자" in given[0]) == (language == "ko")
    assert getattr(judges, name).__doc__


def test_the_two_languages_ask_for_the_same() -> None:
    """The same names, the same labels, the same steps of the scale."""
    for ready in READY.values():
        english, korean = ready.prompts["en"], ready.prompts["ko"]
        for mark in ("{output}", "{question}", "{context}", "{text}", "{reference}", "{input}"):
            assert (mark in english) == (mark in korean), ready.name
        marks = (
            [f'"{label}":' for label in ready.scale] if isinstance(ready.scale, dict) else [f"\n{n}:" for n in "54321"]
        )
        assert all(mark in english and mark in korean for mark in marks), ready.name


def test_a_system_prompt_of_ones_own_keeps_the_form() -> None:
    """It says who the judge is; how to answer is added."""
    given: list[Any] = []

    def model(messages: Any) -> str:
        given.append(messages[0]["content"])
        return GOOD

    judge(PROMPT, model=model, system="You are a {pirate}.").score(output="x")
    assert given[0].startswith("You are a {pirate}.\nThink first")
    assert '"score": <a number from 0 to 1>' in given[0]


def test_a_judge_is_named_in_a_guard_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ready prompt or one's own, a model by its path, and a budget."""
    module = types.ModuleType("acme_models")
    module.llm = saying('{"label": "refused"}')  # type: ignore[attr-defined]  # what a module holds
    module.other = saying(BAD)  # type: ignore[attr-defined]  # as above
    monkeypatch.setitem(sys.modules, "acme_models", module)
    file = tmp_path / "guard.yaml"
    file.write_text(
        """
guardrails:
  - scorer: judge
    stage: output
    options: {prompt: refusal, model: "acme_models:llm", column_map: {question: text}}
    action: log
  - scorer: judge
    name: polite
    stage: output
    options: {prompt: "Is {output} polite?", model: "acme_models:other", budget: {calls: 10}, language: ko}
    action: log
"""
    )
    verdict = Guard.from_config(file).check("no", stage="output")
    assert [(finding.rule, finding.outcome) for finding in verdict.findings] == [
        ("judge", "flagged"),
        ("polite", "flagged"),
    ]


def test_digests_tell_judges_apart() -> None:
    """By what they ask, whom, and what they flag; the same settings have the same digest."""

    def digest(prompt: str = PROMPT, **options: Any) -> str:
        return Guard(Monitor(judge(prompt, **{"model": len, **options}))).digest

    made = [
        digest(),
        digest(below=0.4),
        digest("{output}?"),
        digest(model=repr),
        digest(scale=(0, 5)),
        digest(language="ko"),
    ]
    made.append(digest(scale={"yes": 1, "no": 0}))
    assert len(set(made)) == len(made)
    assert digest() == made[0]


def test_a_judge_is_pickled_with_what_it_has_spent() -> None:
    """For monitors that score in another process."""
    asked = judge(PROMPT, model=shout, budget={"calls": 2})
    asked.score(output="x")
    again = pickle.loads(pickle.dumps(asked))
    assert [again.score(output="x").unscored for _ in range(2)] == [False, True]
    assert asked.budget is not None
    assert asked.budget.spent.calls == 1


def shout(prompt: str) -> str:
    """A model that can be pickled."""
    return GOOD


def test_both_drivers_do_the_same_steps() -> None:
    """One generator asks; sync and async only carry it out."""
    for replies in ([GOOD], ["nothing"], [StatusError(400), GOOD], [StatusError(401)]):
        outcomes: list[Any] = []
        for run in (lambda one: one.score(output="x"), lambda one: asyncio.run(one.ascore(output="x"))):
            try:
                outcomes.append(run(judge(PROMPT, model=Scripted(*replies))))
            except StatusError as error:  # noqa: PERF203 - an outcome like another
                outcomes.append(error.status_code)
        assert outcomes[0] == outcomes[1]


def test_many_threads_ask_at_once() -> None:
    """Each gets the reply to its own question."""

    def model(prompt: str) -> str:
        return f'{{"reasoning": "r", "score": {int(prompt.rpartition(" ")[2]) / 100}}}'

    asked = judge("x {output}", model=model)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda n: asked.score(output=str(n)).value, range(101)))
    assert values == [n / 100 for n in range(101)]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_reply_makes_a_score_or_none(reply: str) -> None:
    """Through everything, never an exception."""
    score = judge(PROMPT, model=lambda _: reply).score(output=reply)
    assert score.unscored == (score.value is None)
