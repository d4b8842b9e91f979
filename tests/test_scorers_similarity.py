"""exact_match(), levenshtein(), embedding_similarity(): answers beside the ones that were expected."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core.embeddings import MockEmbedding

from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation, Monitor, Score, ScorerError
from llmguard_middleware.scorers import embedding_similarity, exact_match, levenshtein, load
from llmguard_middleware.scorers._normal_form import normal_form
from llmguard_middleware.testing import CapturedTelemetry

SAME = Score(value=1.0)
DIFFERENT = Score(value=0.0, flagged=True, label="different", explanation="not the expected text")
SENTENCE = (
    "no reference: give it to the scorer, or with the call by its name or another: "
    'column_map={"reference": "<a name in the call>"}'
)


@pytest.mark.parametrize(
    ("options", "text", "score"),
    [
        ({}, "yes", SAME),
        ({}, " yes\n", SAME),
        ({}, "Yes", DIFFERENT),
        ({"ignore_case": True}, "YES", SAME),
        ({"ignore_space": False}, "yes ", DIFFERENT),
        ({"ignore_punctuation": True}, "“yes.”", SAME),
        ({"form": "NFKC"}, "\uff59\uff45\uff53", SAME),
        ({"reference": ["no", "yes"]}, "yes", SAME),
        ({"reference": "예, 가능"}, unicodedata.normalize("NFD", "예, 가능"), SAME),
        ({"reference": "STRASSE", "ignore_case": True}, "straße", SAME),
        ({"reference": ""}, "", SAME),
    ],
)
def test_a_text_is_the_expected_one_or_not(options: dict[str, Any], text: str, score: Score) -> None:
    """What does not count as a difference is an option; composed and decomposed Korean never differ."""
    assert exact_match(**{"reference": "yes", **options}).score(text) == score


@pytest.mark.parametrize(
    ("options", "text", "value"),
    [
        ({}, "kitten", 1.0),
        ({}, "sitting", 4 / 7),
        ({}, "", 0.0),
        ({}, "KITTEN", 0.0),
        ({"ignore_case": True}, "KITTEN", 1.0),
        ({"reference": ["x", "sitting"]}, "sittin", 6 / 7),
        ({"reference": "안녕하세요"}, unicodedata.normalize("NFD", "안녕하세오"), 0.8),
        ({"reference": ""}, "", 1.0),
        ({"reference": "\ud800a"}, "\ud800b", 0.5),
    ],
)
def test_likeness_is_a_share_of_the_longer_text(options: dict[str, Any], text: str, value: float) -> None:
    """1 less the edits of single characters by the length, to the nearest of the references."""
    score = levenshtein(**{"reference": "kitten", **options}).score(text)
    assert score.value == pytest.approx(value)
    assert score.flagged == (value < 0.8)


def test_what_is_too_far_is_told_with_figures_only() -> None:
    """Below `least`; nothing is quoted."""
    score = levenshtein(reference="secret one", least=0.9).score("secret two")
    assert score == Score(
        value=0.7,
        flagged=True,
        label="different",
        explanation="0.70 like the expected text, where 0.9 is the least",
    )
    assert levenshtein(reference="abc", least=0).score("xyz") == Score(value=0.0)


def test_long_texts_are_not_compared() -> None:
    """Their product is what it takes: beyond a documented length nothing is scored, at once and without a figure."""
    why = "too long to compare: more than 20000 characters"
    scorer = levenshtein(reference="x" * 1000)
    assert scorer.score("x" * 1_000_000) == Score.not_scored(why)
    assert scorer.score("x", reference="y" * 1_000_000) == Score.not_scored(why)
    assert levenshtein(reference="x" * 1000, longest=1000).score("x" * 1000) == SAME
    assert growth(scorer.score, "x y ", small=200_000) < 20


@pytest.mark.parametrize("unit", ["a\u0301\u0327", "\u0301\u0327", "가 ", "ﷺ", "İ", "a, "])
def test_a_text_is_brought_into_its_form_in_linear_time(unit: str) -> None:
    """Runs of marks too, which Python's own normalisation sorts in a time that grows with their square."""
    scorer = exact_match(reference="x", ignore_case=True, ignore_punctuation=True, form="NFKC")
    assert growth(scorer.score, unit, small=30_000) < 20


@settings(max_examples=500, deadline=None)
@given(st.text("a\u0301\u0327가각\u1100\u1161\u11a8é, ﷺ\u0bbe\u0bc6", max_size=1500), st.sampled_from(["NFC", "NFKC"]))
def test_the_form_is_unicode_s(text: str, form: Any) -> None:
    """Piece by piece it is what Python makes of the whole, but for marks in runs that no language has."""
    given_ = "".join(run + "x" for run in text.split("a"))
    run = longest = 0
    for one in given_:
        run = run + 1 if unicodedata.category(one).startswith("M") or "\u1160" <= one <= "\u11ff" else 0
        longest = max(longest, run)
    if longest < 60:
        assert normal_form(form, given_) == unicodedata.normalize(form, given_)


@pytest.mark.parametrize("make", [exact_match, levenshtein, lambda **given: embedding_similarity(len, **given)])
def test_without_a_reference_nothing_is_scored(make: Any) -> None:
    """A sentence says where it may come from; what is no text is none, and an empty list is a mistake."""
    assert make().score("x") == Score.not_scored(SENTENCE)
    assert make().score("x", reference=3) == Score.not_scored(SENTENCE)
    assert make().score("x", reference=["x", 3]) == Score.not_scored(SENTENCE)
    for reference in (3, [], ["x", 3]):
        with pytest.raises(ConfigurationError, match=r"reference of \w+\(\) is \w+; give a text or a list of texts"):
            make(reference=reference)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: exact_match(ignore_case="no"), "ignore_case of exact_match() is 'no'; give True or False"),
        (
            lambda: exact_match(form="NFD"),
            'form of exact_match() is \'NFD\'; give "NFC", or "NFKC", to which full-width letters are the same',
        ),
        (lambda: levenshtein(least=80), "least of levenshtein() is 80; give a number from 0 to 1"),
        (lambda: levenshtein(longest=0), "longest of levenshtein() is 0; give a whole number, 1 or more"),
        (
            lambda: embedding_similarity(len, least=2),
            "least of embedding_similarity() is 2; give a number from -1 to 1",
        ),
        (
            lambda: embedding_similarity(3),
            "embed is int; give a function of a text, an embedding model, or the name of a local one",
        ),
        (
            lambda: embedding_similarity(DeterministicFakeEmbedding),
            "embed is the class DeterministicFakeEmbedding; give a model: DeterministicFakeEmbedding(...)",
        ),
        (
            lambda: embedding_similarity("all-MiniLM-L6-v2"),
            "a local embedding model needs sentence-transformers: pip install sentence-transformers",
        ),
    ],
)
def test_an_option_that_is_none_is_refused(make: Any, sentence: str) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == sentence


class Words:
    """An embedding model: how often each of three words is there."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> list[int]:
        """One vector."""
        self.asked.append(text)
        return [text.count(word) for word in ("tea", "pot", "cup")]

    async def later(self, text: str) -> list[int]:
        """The same, awaited."""
        return self(text)


def test_meaning_is_the_angle_between_two_vectors() -> None:
    """The cosine, to the nearest of the references, whose vectors are kept."""
    words = Words()
    scorer = embedding_similarity(words, reference=["tea pot", "cup"])
    assert scorer.score("pot tea").value == pytest.approx(1)
    score = scorer.score("tea tea")
    assert score.value == pytest.approx(math.sqrt(0.5))
    assert not score.flagged
    assert words.asked == ["pot tea", "tea pot", "cup", "tea tea"]
    far = scorer.score("tea", reference="cup")
    assert far == Score(
        value=0.0,
        flagged=True,
        label="different",
        explanation="0.00 like the expected text in meaning, where 0.7 is the least",
    )


async def test_an_async_model_is_awaited() -> None:
    """The scorer is async then: a guard runs it on the caller's event loop."""
    scorer: Any = embedding_similarity(Words().later, reference="tea pot")
    assert (await scorer.score("pot tea")).value == pytest.approx(1)
    guard = Guard(Guardrail(scorer, stage="output"))
    assert (await guard.acheck("tea pot", stage="output")).outcome == "passed"
    assert guard.check("cup", stage="output").outcome == "blocked"


async def test_frameworks_models_are_known_by_their_methods() -> None:
    """LangChain's and LlamaIndex's, their async methods, and sentence-transformers'."""

    class Encoder:
        def encode(self, text: str) -> list[list[float]]:
            return [[1.0, float(len(text))]]

    theirs = DeterministicFakeEmbedding(size=8)
    for embed in (theirs, theirs.embed_query, MockEmbedding(8), Encoder()):
        scorer: Any = embedding_similarity(embed, reference="tea")
        assert scorer.score("tea").value == pytest.approx(1)
    for later in (theirs.aembed_query, MockEmbedding(8).aget_text_embedding):
        scorer = embedding_similarity(later, reference="tea")
        assert (await scorer.score("tea")).value == pytest.approx(1)


@pytest.mark.parametrize(
    ("vectors", "why"),
    [
        ([[0, 0], [1, 1]], "the embedding model gave a vector of zeros"),
        ([[], [1, 1]], "the embedding model gave a vector of zeros"),
        ([[1, 1], [0.0, 0.0]], "the embedding model gave a vector of zeros"),
        ([[1, 1], [1, 1, 1]], "vectors of 2 and of 3 numbers cannot be compared"),
        ([[float("nan"), 1], [1, 1]], "the embedding model gave a number that is none"),
        ([[1, 1], [float("inf"), 1]], "the embedding model gave a number that is none"),
        ([None, [1, 1]], "the embedding model gave no vector of numbers"),
        (["ab", [1, 1]], "the embedding model gave no vector of numbers"),
        ([{"a": 1}, [1, 1]], "the embedding model gave no vector of numbers"),
        ([[[1, 1], [1, 1]], [1, 1]], "the embedding model gave no vector of numbers"),
    ],
)
def test_vectors_that_cannot_be_compared_are_not_scored(vectors: list[Any], why: str) -> None:
    """Never 0: it says why."""
    given_ = iter(vectors)
    assert embedding_similarity(lambda _: next(given_), reference="x").score("y") == Score.not_scored(why)


def test_very_large_and_very_small_vectors_are_compared() -> None:
    """No overflow, and never beyond 1."""
    for size in (1e-200, 1e200):
        assert embedding_similarity(lambda _, n=size: [n, n, n], reference="x").score("y").value == pytest.approx(1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=4))
def test_a_score_is_a_cosine_or_none(vector: list[float]) -> None:
    """Whatever a model gives."""
    score = embedding_similarity(lambda _: vector, reference="x").score("y")
    assert score.unscored if score.value is None else -1 <= score.value <= 1


def test_an_awaitable_of_a_sync_function_is_told() -> None:
    """It would have to be declared async."""
    words = Words()

    def undeclared(text: str) -> Any:
        return words.later(text)

    scorer = embedding_similarity(undeclared, reference="x")
    with pytest.raises(ScorerError, match='returned an awaitable; declare it with "async def"'):
        scorer.score("x")


def test_only_so_many_references_are_kept() -> None:
    """A monitor whose references come with the calls does not grow, and keeps no text."""
    scorer = embedding_similarity(Words())
    for number in range(1000):
        scorer.score("tea", reference=f"tea {number}")
    assert len(scorer._known) == 256
    assert "tea 999" not in repr(vars(scorer)["_known"])


LOCAL = """
import sys
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import embedding_similarity
scorer = embedding_similarity("tiny", reference="tea")
print("sentence_transformers" in sys.modules)
print(Guard(Guardrail(scorer, stage="output")).check("tea", stage="output").outcome)
print(sys.modules["sentence_transformers"].loaded)
"""


def test_a_local_model_is_loaded_before_the_first_score(tmp_path: Path) -> None:
    """By its name, once, and not before."""
    (tmp_path / "sentence_transformers.py").write_text(
        "loaded = []\n"
        "class SentenceTransformer:\n"
        "    def __init__(self, name): loaded.append(name)\n"
        "    def encode(self, text): return [1.0, 2.0]\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", LOCAL], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr) == ("False\npassed\n['tiny']\n", "")


async def test_the_reference_comes_with_the_call_or_with_the_question(telemetry: CapturedTelemetry) -> None:
    """An input of the call by its name or another, or what apply_scorer is given; each wins over a fixed one."""
    rule = Guardrail(exact_match(column_map={"reference": "expected"}), stage="output", action="log", on_error="allow")
    guard = Guard(rule, Monitor(levenshtein(reference="other")), **telemetry.providers)

    @guard.op
    def answer(question: str, expected: str, reference: str) -> str:
        return "42"

    _, call = answer.call("6 * 7?", "42", "41")
    assert guard.flush(5) == 0
    span = telemetry.span("invoke_workflow answer")
    assert span.attributes["llmguard.verdict"] == "passed"
    monitored = [record for record in telemetry.records if record.attributes["gen_ai.evaluation.name"] == "levenshtein"]
    assert monitored[0].attributes["gen_ai.evaluation.score.value"] == 0.5
    for scorer in (exact_match(), levenshtein(reference="7"), embedding_similarity(Words().later)):
        given_ = {"reference": "42 tea"}
        score = await call.apply_scorer(scorer, additional_scorer_kwargs=given_)
        assert score.unscored == (scorer.name == "embedding_similarity")
        assert score.value in (0.0, pytest.approx(1 / 3), None)
    assert call.apply_scorer_sync(exact_match(), additional_scorer_kwargs={"reference": "42"}) == SAME


def test_a_guardrail_without_a_reference_does_not_let_pass() -> None:
    """What could not be scored stops the call, as any failure of a rule that acts."""
    guard = Guard(Guardrail(exact_match(), stage="output"))

    @guard.op
    def answer(question: str) -> str:
        return "42"

    with pytest.raises(GuardrailViolation, match="could not score"):
        answer("6 * 7?")


def test_a_model_is_told_how_far_it_was_and_asked_again() -> None:
    """With the action reask."""
    guard = Guard(Guardrail(levenshtein(reference="forty-two"), stage="output", action="reask"))
    told: list[str] = []

    @guard.op
    def answer(question: str, feedback: str = "") -> str:
        told.append(feedback)
        return "forty-two" if feedback else "forty"

    assert answer("6 * 7?") == "forty-two"
    assert told[1].endswith("Answer again. 0.56 like the expected text, where 0.8 is the least")


def test_they_are_loaded_by_name_and_sent_to_other_processes() -> None:
    """As plug-ins are, and pickled."""
    for scorer in (
        load("exact_match", reference="a"),
        load("levenshtein", reference="a"),
        load("embedding_similarity", Words(), reference="tea"),
    ):
        again = pickle.loads(pickle.dumps(scorer))
        assert again.score("tea") == scorer.score("tea")
        assert again.options == scorer.options


@settings(max_examples=200, deadline=None)
@given(st.text(), st.text())
def test_any_text_is_scored(text: str, reference: str) -> None:
    """Lone surrogates included; equal texts are equal to all of them, and the nearer is never below the farther."""
    exact = exact_match(reference=reference).score(text).value
    value = levenshtein(reference=reference).score(text).value
    assert exact in (0.0, 1.0)
    assert 0 <= value <= 1
    assert (exact == 1.0) == (value == 1.0)
    assert exact_match(reference=text).score(text) == SAME
