"""json_schema(), pydantic_model(), valid_xml(): answers in the format that was asked for."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Monitor, Score
from llmguard_middleware.scorers import json_schema, load, pydantic_model, valid_xml
from llmguard_middleware.testing import CapturedTelemetry

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z ]+$"},
        "price": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]},
        "kind": {"enum": ["tea", "pot"]},
        "on": {"type": "string", "format": "date"},
        "tags": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "required": ["name", "price"],
    "additionalProperties": False,
}


class Item(BaseModel):
    """What a shop sells."""

    name: str
    price: float = Field(ge=0)
    kind: Literal["tea", "pot"] = "tea"
    tags: dict[str, int] = Field(default_factory=dict)
    parts: list[Item] = Field(default_factory=list)


@dataclass
class Pair:
    """A dataclass, which pydantic validates as well."""

    left: int
    right: int


def wrong(why: str, label: str = "mismatch") -> Score:
    """The score of an answer that is not in its format."""
    return Score(value=0.0, flagged=True, label=label, explanation=why)


RIGHT = Score(value=1.0)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"name": "a pot", "price": 3}', RIGHT),
        ('{"name": "a", "price": null, "on": "2026-02-28", "tags": {"x": 1}}', RIGHT),
        ("{}", wrong('the whole: needs the property "name"; the whole: needs the property "price"')),
        ("[]", wrong("the whole: must be of type object")),
        ('{"name": "Kim Minsu", "price": 1}', wrong('/name: does not meet pattern "^[a-z ]+$"')),
        (
            '{"name": "a", "price": -1}',
            wrong("/price: does not meet minimum 0 or must be of type null"),
        ),
        ('{"name": "a", "price": 1, "kind": "hidden"}', wrong('/kind: does not meet enum ["tea", "pot"]')),
        ('{"name": "a", "price": 1, "on": "2026-02-30"}', wrong('/on: does not meet format "date"')),
        ('{"name": "a", "price": 1, "tags": {"Kim": "x"}}', wrong("/tags/*: must be of type integer")),
        ('{"name": "a", "price": 1, "Kim": 1}', wrong("the whole: has a property that the schema does not allow")),
        ('{"name": }', wrong("Expecting value at line 1, column 10", "invalid")),
        ("NaN", wrong("NaN is no JSON", "invalid")),
        ('{"name": 1, "price": "\\ud800"}', wrong("holds a value that JSON has no words for", "invalid")),
        ('"\\ud800"', wrong("holds a value that JSON has no words for", "invalid")),
        ("[" * 200_000, wrong("nested too deep", "invalid")),
        ("[" * 800 + "]" * 800, wrong("nested too deep", "invalid")),
        ('{"a":' * 501 + "1" + "}" * 501, wrong("nested too deep", "invalid")),
        ("```json\n[]\n```", wrong("Expecting value at line 1, column 1", "invalid")),
    ],
)
def test_json_fits_a_schema_or_is_told_where_it_does_not(text: str, score: Score) -> None:
    """Places and the schema's words; of the answer's own words none, not even the names of its properties."""
    assert json_schema(SCHEMA).score(text) == score


def test_the_first_five_mistakes_are_told() -> None:
    """An explanation that a model can work with, however much is wrong."""
    why = json_schema({"items": {"type": "integer"}}).score(json.dumps(["x"] * 100)).explanation
    assert why == "".join(f"/{n}: must be of type integer; " for n in range(5)) + "and more"


def test_a_schema_may_be_a_mapping_or_json_or_a_file(tmp_path: Path) -> None:
    """Or a bool, as JSON Schema has it."""
    (tmp_path / "item.json").write_text(json.dumps(SCHEMA))
    for schema in (SCHEMA, json.dumps(SCHEMA, indent=1), tmp_path / "item.json", str(tmp_path / "item.json")):
        assert json_schema(schema).score("[]") == wrong("the whole: must be of type object")
    assert json_schema(schema=True).score("[]") == RIGHT
    assert json_schema(schema=False).score("[]").flagged


@pytest.mark.parametrize("scorer", [json_schema(SCHEMA, fenced=True), pydantic_model(Item, fenced=True)])
def test_an_answer_may_stand_in_a_fence(scorer: Any) -> None:
    """As chat models write it, if that is allowed."""
    assert scorer.score('```json\n{"name": "a", "price": 1}\n```\n') == RIGHT


def nested(levels: int, inside: Any = 1) -> Any:
    """A list in a list in a list."""
    for _ in range(levels):
        inside = [inside]
    return inside


RECURSIVE = {
    "$defs": {"n": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/n"}}, {"type": "integer"}]}},
    "$ref": "#/$defs/n",
}


def test_values_that_lie_deep_neither_raise_nor_end_the_process() -> None:
    """Of texts and of values that a program gives back: 500 levels are judged, more are told."""
    scorer = json_schema(RECURSIVE)
    assert scorer.score(output=nested(500)) == RIGHT
    for levels in (501, 100_000):
        assert scorer.score(output=nested(levels)) == wrong("nested too deep", "invalid")
        assert pydantic_model(list[Any]).score(output=nested(levels)) == wrong("nested too deep", "invalid")


def test_alternatives_inside_themselves_take_no_exponential_time() -> None:
    """jsonschema-rs would collect what is wrong in each of 2^100 ways; the explanation does without them."""
    part = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}
    schema = {"$defs": {"n": {"anyOf": [{**part, "required": ["b"]}, {**part, "required": ["c"]}]}}}
    value: Any = 3
    for _ in range(100):
        value = {"b": 1, "c": 1, "a": value}
    for root in ({"$ref": "#/$defs/n"}, {"type": "object", "allOf": [{"$ref": "#/$defs/n"}]}):
        score = json_schema({**schema, **root}).score(json.dumps(value))
        assert score == wrong("does not fit the schema: it meets none of its alternatives")


@pytest.mark.parametrize("union", [False, True])
def test_a_long_list_of_mistakes_is_judged_in_linear_time(union: bool) -> None:
    """Of long texts the first mistake is told."""
    items: Any = {"type": "array", "items": {"type": "integer"}}
    scorer = json_schema({"anyOf": [items, {"type": "null"}]} if union else items)
    assert growth(lambda text: scorer.score(f'[{text}"x"]'), '"x",', small=100_000) < 20
    none = "does not fit the schema: it meets none of its alternatives"
    expected = wrong(none if union else "/0: must be of type integer")
    assert scorer.score(f'["x"{", 1" * 20_000}]') == expected
    assert scorer.score(output=["x"] * 1_000_000) == expected  # a value that has no text to measure


def test_a_pattern_of_a_schema_cannot_hang() -> None:
    """A pattern for which Python's own engine would take for ever."""
    scorer = json_schema({"pattern": "^(a+)+$"})
    assert scorer.score(json.dumps("a" * 100_000 + "!")) == wrong('the whole: does not meet pattern "^(a+)+$"')
    tricky = json_schema({"pattern": r"^(?=a)(a+)+\1$"})
    assert growth(lambda text: tricky.score(json.dumps(text + "!")), "a", small=200_000) < 20


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (3, "the schema of json_schema() is int; give a mapping or the path of a file"),
        ({"type": "strin"}, "the schema of json_schema() is no JSON schema: look at /type"),
        (
            {"properties": {"a": {"pattern": "("}}},
            "the schema of json_schema() is no JSON schema: look at /properties/a/pattern",
        ),
        ({"$ref": "#/nope"}, "the schema of json_schema() is no JSON schema: what it refers to must be inside it"),
        (
            {"$ref": "http://127.0.0.1:1/x.json"},
            "the schema of json_schema() is no JSON schema: what it refers to must be inside it",
        ),
        (
            "nowhere.json",
            "the schema of json_schema() cannot be read (FileNotFoundError); a text is the path of a file",
        ),
        (Path(__file__), "the file of json_schema() holds no JSON"),
        ('{"type": ', "the text of json_schema() holds no JSON"),
    ],
)
def test_a_schema_that_is_none_is_refused(schema: Any, sentence: str) -> None:
    """One sentence, when the scorer is made; nothing is fetched."""
    with pytest.raises(ConfigurationError) as caught:
        json_schema(schema)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("call", "missing", "extra"),
    [("json_schema({})", "jsonschema_rs", "formats"), ("levenshtein()", "rapidfuzz", "similarity")],
)
def test_a_missing_extra_is_one_sentence(call: str, missing: str, extra: str) -> None:
    """Told when the scorer is made, with what to install."""
    program = f"""
import sys
sys.modules["{missing}"] = sys.modules["{missing}.distance"] = None
from llmguard_middleware import ConfigurationError
from llmguard_middleware.scorers import json_schema, levenshtein
try:
    {call}
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    package = missing.replace("_", "-")
    name = call.partition("(")[0]
    assert done.stdout == f'{name}() needs {package}: pip install "llmguard-middleware[{extra}]"\n'


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"name": "a", "price": "3"}', RIGHT),
        ("{}", wrong("/name: missing; /price: missing")),
        ("[]", wrong("the whole: model_type")),
        ('{"name": "a", "price": "hidden"}', wrong("/price: float_parsing")),
        ('{"name": "a", "price": 1, "tags": {"Kim": "x"}}', wrong("/tags/*: int_parsing")),
        ('{"name": "a", "price": 1, "kind": "Kim"}', wrong("/kind: literal_error")),
        (
            '{"name": "a", "price": 1, "parts": [{"name": "b", "price": -1}]}',
            wrong("/parts/0/price: greater_than_equal"),
        ),
        ('{"name": ', wrong("EOF while parsing a value at line 1 column 9", "invalid")),
        ("[" * 200_000, wrong("recursion limit exceeded at line 1 column 202", "invalid")),
    ],
)
def test_an_answer_is_what_a_model_takes_or_is_told_where_it_is_not(text: str, score: Score) -> None:
    """Places, and pydantic's types of errors."""
    assert pydantic_model(Item).score(text) == score


def test_what_pydantic_validates_may_be_the_model() -> None:
    """Lists of models and dataclasses, by themselves and by their import path; strict if that is wanted."""
    assert pydantic_model(list[Pair]).score('[{"left": 1, "right": "2"}]') == RIGHT
    strict = pydantic_model("fractions:Fraction", strict=True)
    assert strict.score('"1/3"') == RIGHT
    assert pydantic_model(Pair, strict=True).score('{"left": 1, "right": "2"}') == wrong("/right: int_type")


def test_a_program_s_own_value_is_judged_as_it_is() -> None:
    """A mapping, a list or a model that a call gave back, as monitors and apply_scorer see it."""
    item = Item(name="a", price=1)
    assert pydantic_model(Item).score(output=item) == pydantic_model(Item).score(output=item.model_dump()) == RIGHT
    assert pydantic_model(Item).score(output={"name": "a"}) == wrong("/price: missing")
    plain = json_schema(SCHEMA)
    assert plain.score(output={"name": "a", "price": 1}) == RIGHT
    assert plain.score(output=Pair(1, 2), text="{}").label == "mismatch"  # nobody knows its JSON: its text counts
    assert plain.score(output={"name": 1, (1, 2): 3}) == wrong("holds a value that JSON has no words for", "invalid")
    assert plain.score(output={"name": {1, 2}}) == wrong("holds a value that JSON has no words for", "invalid")
    assert json_schema({"required": ["name"]}).score(output=item) == RIGHT


def test_a_model_deep_in_itself_is_judged() -> None:
    """Pydantic's own limit on models in models is a mistake of the answer, too."""
    deep: Any = {"name": "a", "price": 1}
    for _ in range(240):
        deep = {"name": "a", "price": 1, "parts": [deep]}
    assert pydantic_model(Item).score(output=deep).flagged in (True, False)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("Item", 'the model of pydantic_model() is "Item"; write "package.module:Model"'),
        (
            "nowhere:Item",
            (
                'model "nowhere:Item" cannot be imported: ModuleNotFoundError (there is no module "nowhere"); '
                'write "package.module:attribute"'
            ),
        ),
        (
            Item(name="a", price=1),
            (
                "pydantic_model() was given what pydantic makes no validator of (PydanticSchemaGenerationError); "
                "give a subclass of BaseModel, or another type"
            ),
        ),
    ],
)
def test_a_model_that_is_none_is_refused(model: Any, sentence: str) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        pydantic_model(model)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("scorer", [json_schema(SCHEMA), pydantic_model(Item)])
def test_they_can_be_sent_to_another_process(scorer: Any) -> None:
    """For monitors that run in a pool of processes."""
    again = pickle.loads(pickle.dumps(scorer))
    assert again.score("{}") == scorer.score("{}")
    assert again.options == scorer.options


def test_digests_tell_schemas_and_models_apart() -> None:
    """Another schema, another model or another option is another policy."""

    def digest(scorer: Any) -> str:
        return Guard(Guardrail(scorer, stage="output", name="format")).digest

    scorers = [json_schema(SCHEMA), json_schema({}), json_schema({}, fenced=True), json_schema({}, formats=False)]
    scorers += [pydantic_model(Item), pydantic_model(Pair), pydantic_model(Pair, strict=True)]
    scorers += [valid_xml(), valid_xml(fragments=True)]
    assert len({digest(scorer) for scorer in scorers}) == len(scorers)
    assert digest(json_schema(dict(SCHEMA))) == digest(json_schema(SCHEMA))


@pytest.mark.parametrize(
    ("text", "whole", "fragment"),
    [
        ("<a b='1'>&lt;가</a>", "", ""),
        (
            "<?xml version='1.0' encoding='utf-8'?>\n<a/>",
            "",
            "XML or text declaration not at start of entity at line 1, column 1",
        ),
        ("<a/><b/> and text", "junk after document element at line 1, column 5", ""),
        ("\n<secret>", "no element found at line 2, column 9", "mismatched tag at line 2, column 11"),
        ("<a></b>", "mismatched tag at line 1, column 6", "mismatched tag at line 1, column 6"),
        ("</f><f>", "not well-formed (invalid token) at line 1, column 2", "mismatched tag at line 1, column 3"),
        ("<a>&nbsp;</a>", "undefined entity at line 1, column 4", "undefined entity at line 1, column 4"),
        ("<a>\ud800</a>", "holds a lone surrogate", "holds a lone surrogate"),
        ("<!DOCTYPE html><html/>", "", "not well-formed (invalid token) at line 1, column 3"),
        ("<svg:a svg:b='1'/>", "", ""),
    ],
)
def test_xml_is_well_formed_or_told_where_it_is_not(text: str, whole: str, fragment: str) -> None:
    """Whole documents, and pieces of one; nothing is quoted."""
    assert valid_xml().score(text) == (wrong(whole, "invalid") if whole else RIGHT)
    assert valid_xml(fragments=True).score(text) == (wrong(fragment, "invalid") if fragment else RIGHT)
    assert valid_xml(fenced=True).score(f"```xml\n{text}\n```").flagged == bool(whole)


LAUGHS = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
DECLARED = wrong("a document type with declarations of its own is not accepted", "invalid")


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (f'<!DOCTYPE a [<!ENTITY a0 "ha">{LAUGHS}]><a>&a9;</a>', DECLARED),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', DECLARED),
        ('<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x"> %x;]><a/>', DECLARED),
        (f'<!DOCTYPE a [<!ATTLIST a b CDATA "{"x" * 100_000}">]><a>{"<a/>" * 100}</a>', DECLARED),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><a/>', RIGHT),
    ],
)
def test_xml_of_strangers_expands_and_fetches_nothing(text: str, score: Score) -> None:
    """Billion laughs, external entities and attributes by default are refused at once; no DTD is fetched."""
    assert valid_xml().score(text) == score


@pytest.mark.parametrize("unit", ["<a>x</a>", "<a>", "&amp;", "x ", "<!-- x -->", '<a b="1"/>', "<a b='"])
def test_xml_is_read_in_linear_time(unit: str) -> None:
    """Whatever stands there again and again."""
    scorer = valid_xml(fragments=True)
    assert growth(scorer.score, unit, small=200_000) < 20


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text('<>/ab"=&;![]{}:,1e-\\u`\n'))
def test_any_text_is_scored(text: str) -> None:
    """Lone surrogates included; a score is made of it, and its explanation is of our own words."""
    schema: Any = {"type": "object", "properties": {"a": {"type": "integer"}}}
    for scorer in (json_schema(schema), pydantic_model(dict[str, int]), valid_xml(), valid_xml(fragments=True)):
        assert scorer.score(text).value in (0.0, 1.0)


SECRET = "Kim-Minsu-901231"
KEYS = st.sampled_from([SECRET, "name", "price", "kind", "tags", "parts"])


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.sampled_from([SECRET, 1, None, True, 1.5]),
        lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=4),
    )
)
def test_no_explanation_quotes_the_answer(value: Any) -> None:
    """Neither texts nor the names of properties that the schema does not know."""
    text = json.dumps(value)
    for scorer in (json_schema(SCHEMA), pydantic_model(Item)):
        assert SECRET not in scorer.score(text).explanation


def test_a_model_is_told_what_was_wrong_and_asked_again(telemetry: CapturedTelemetry) -> None:
    """With the action reask the explanation is what the model gets; an answer that fits then passes."""
    guard = Guard(Guardrail(json_schema(SCHEMA), stage="output", action="reask"), **telemetry.providers)
    told: list[str] = []

    @guard.op
    def answer(question: str, feedback: str = "") -> str:
        told.append(feedback)
        return '{"name": "a", "price": 1}' if feedback else '{"name": "a"}'

    assert answer("what is sold?") == '{"name": "a", "price": 1}'
    assert told == [
        "",
        'Your last answer is not acceptable. Answer again. the whole: needs the property "price"',
    ]


async def test_they_score_in_the_background_and_when_asked(telemetry: CapturedTelemetry) -> None:
    """As a monitor of what a function gives back, and by apply_scorer."""
    guard = Guard(Monitor(pydantic_model(Item)), **telemetry.providers)

    @guard.op
    def answer(question: str) -> dict[str, Any]:
        return {"name": "a"}

    _, call = answer.call("what is sold?")
    assert guard.flush(5) == 0
    (record,) = telemetry.records
    assert record.attributes["gen_ai.evaluation.score.label"] == "mismatch"
    assert (await call.apply_scorer(json_schema(SCHEMA))).explanation == 'the whole: needs the property "price"'


def test_a_file_names_them_with_their_options(tmp_path: Path) -> None:
    """A schema inline or in a file of its own, a model by its path."""
    (tmp_path / "item.json").write_text(json.dumps(SCHEMA))
    file = tmp_path / "guard.yaml"
    file.write_text(
        f"""
version: 1
guardrails:
  - {{scorer: json_schema, name: inline, stage: output, action: log, options: {{schema: {{type: object}}}}}}
  - {{scorer: json_schema, name: file, stage: output, action: log, options: {{schema: {tmp_path / "item.json"}}}}}
  - {{scorer: pydantic_model, stage: output, action: log, options: {{model: "fractions:Fraction", fenced: true}}}}
  - {{scorer: valid_xml, stage: output, action: log, options: {{fragments: true}}}}
  - {{scorer: exact_match, stage: output, action: log, options: {{reference: ["yes", "no"], ignore_case: true}}}}
  - {{scorer: levenshtein, stage: output, action: log, options: {{reference: abc, least: 0.5}}}}
"""
    )
    guard = Guard.from_config(file)
    verdict = guard.check("Yes", stage="output")
    assert {finding.rule: finding.score.label for finding in verdict.findings if finding.score} == {
        "inline": "invalid",
        "file": "invalid",
        "pydantic_model": "invalid",
        "valid_xml": "",
        "exact_match": "",
        "levenshtein": "different",
    }


OFFLINE = """
import sys
from llmguard_middleware import Call
from llmguard_middleware.scorers import *
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.exit(event))
dtd = '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><a/>'
json_schema({"type": "string", "format": "uri"}).score('"http://127.0.0.1:1/"')
pydantic_model(dict[str, int]).score('{"a": 1}')
valid_xml().score(dtd)
exact_match(reference="a").score("a")
levenshtein(reference="a").score("b")
embedding_similarity(lambda text: [1.0], reference="a").score("b")
provider_block().score(Call("chat"))
print("done")
"""


def test_no_socket_is_opened() -> None:
    """By none of them, whatever they are given."""
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_they_are_loaded_by_name() -> None:
    """As plug-ins are."""
    assert load("json_schema", {"type": "null"}).score("null") == load("valid_xml").score("<a/>") == RIGHT
