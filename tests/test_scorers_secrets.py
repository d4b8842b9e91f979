"""secrets(): credentials by the formats of those who issue them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st
from issued_keys import DOCUMENTED, NEAR_MISSES, issued

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Score, TextSpan
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import secrets

SHARED = Path(__file__).parents[2] / "shared" / "data"

FOUND = [
    ("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS_ACCESS_KEY", "ASIAIOSFODNN7EXAMPLE"),
    ("GITHUB_TOKEN", "ghp_" + "a1B2" * 9),
    ("GITHUB_TOKEN", "gho_" + "a" * 255),
    ("OPENAI_API_KEY", "sk-proj-" + "Ab3_-" * 8 + "z"),
    ("OPENAI_API_KEY", "sk-abcdefghijklmnopqrstuvwx"),
    ("SLACK_TOKEN", "xoxb-1234567890-abcdef"),
    ("GOOGLE_API_KEY", "AIza" + "Sy_-9" * 7),
]


@pytest.mark.parametrize(("kind", "secret"), FOUND)
@pytest.mark.parametrize("around", [("", ""), ("key=", "\n"), ('"', '",'), ("키는 ", "입니다"), ("-", ".")])
def test_it_is_found_where_it_is(kind: str, secret: str, around: tuple[str, str]) -> None:
    """A credential is found with its kind and its place, in code, in quotes and in a sentence."""
    before, after = around
    span = TextSpan(len(before), len(before) + len(secret), kind)
    score = Score(value=1.0, flagged=True, label=kind, spans=(span,))
    assert secrets().score(before + secret + after) == score
    assert secrets(kind).score(before + secret + after) == score


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AKIA",
        "AKIAIOSFODNN7EXAMPL",
        "AKIAIOSFODNN7EXAMPLEX",
        "xAKIAIOSFODNN7EXAMPLE",
        "ghp_short",
        "ghx_" + "a" * 36,
        "sk-short",
        "task-" + "a" * 40,
        "xoxb-123",
        "xoxz-1234567890-abcdef",
        "AIza" + "a" * 34,
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    """Words with such a beginning, and keys that are too short or too long, are no credentials."""
    assert secrets().score(text) == Score(value=0.0)


def test_a_key_within_a_key_is_one() -> None:
    """Overlapping candidates are one span."""
    text = "sk-" + "a1" * 10 + "-sk-" + "b2" * 10
    assert secrets().score(text).spans == (TextSpan(0, len(text), "OPENAI_API_KEY"),)


def test_an_unknown_kind_is_refused() -> None:
    """A kind that does not exist is a ConfigurationError with the one that was meant."""
    with pytest.raises(ConfigurationError) as caught:
        secrets("GITHUB_TOKENS")
    said = 'secrets() knows no kind "GITHUB_TOKENS": did you mean "GITHUB_TOKEN"? Known: '
    assert str(caught.value).startswith(said)


AROUND = (("", ""), ("key=", "\n"), ('"', '",'), ("키는 ", "입니다"), ("use ", "."), ("export X=", ";"), ("(", ")"))


@pytest.mark.parametrize(("kind", "template"), DOCUMENTED)
def test_a_documented_key_is_found(kind: str, template: str) -> None:
    """Keys of every format that issuers document, made by chance: at least 95 of 100, in code and in sentences."""
    chance = random.Random(f"{kind} {template}")
    texts = [_within(issued(template, chance), chance) for _ in range(100)]
    found = [kind in secrets().score(text).label.split(",") for text in texts]
    assert sum(found) >= 95


def _within(key: str, chance: random.Random) -> str:
    before, after = chance.choice(AROUND)
    return before + key + after


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_what_looks_like_a_key_is_none(name: str) -> None:
    """Ids, hashes, images, lock files, variables and sentences about secrets: at most 2 of 100."""
    chance = random.Random(name)
    assert sum(secrets().score(NEAR_MISSES[name](chance)).flagged for _ in range(100)) <= 2


def test_a_private_key_goes_as_a_whole() -> None:
    """From the first dash to the last, its lines breaks or escapes; all that is there, where the end is missing."""
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 20
    head, end = "-----BEGIN PRIVATE KEY-----\n", "-----END PRIVATE KEY-----"
    for key in (head + body + end, (head + body + end).replace("\n", "\\n"), head + body):
        assert Guard(Guardrail(secrets(), stage="output", action="redact")).check(
            f"a {key}|b", stage="output"
        ).guarded == ("a <PRIVATE_KEY>|b")


def test_only_the_value_that_a_word_tells_goes() -> None:
    """The name of a setting stays, and so do the rest of a connection string and of the sentence."""
    texts = {
        "DB_PASSWORD=tr0ub4dor&3 PORT=1": "DB_PASSWORD=<PASSWORD> PORT=1",
        "Server=db;Pwd=a1!b2@c3#;Database=x": "Server=db;Pwd=<PASSWORD>;Database=x",
        "postgres://hong:p4ss@db/x": "postgres://hong:<CONNECTION_STRING>@db/x",
        "비밀번호는 hunter2!x입니다": "비밀번호는 <PASSWORD>입니다",
        '{"api_key": "4f9c8e7d6b5a4f3e2d1c0b9a"}': '{"api_key": "<API_KEY>"}',
        "OPENAI_API_KEY=sk-proj-" + "Ab3_-" * 8: "OPENAI_API_KEY=<OPENAI_API_KEY>",
    }
    guard = Guard(Guardrail(secrets(), stage="output", action="redact"))
    assert {text: guard.check(text, stage="output").guarded for text in texts} == texts


def test_comments_hold_no_secrets() -> None:
    """None of 1,000 Korean comments, 500 sentences with personal data and 100 prompts is flagged, if they are here."""
    for file in sorted(SHARED.glob("*.jsonl")):
        rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
        assert [row for row in rows if secrets().score(row).flagged] == []


@pytest.mark.parametrize(
    "unit",
    ["sk-", "sk-a1", "eyJa.eyJ", "-----BEGIN PRIVATE KEY-----", "token: ", "a.", "://a:", "secret=a1", "0/", ":AA"],
)
def test_what_is_made_to_be_slow_is_linear(unit: str) -> None:
    """Eight times as much of what begins like a key everywhere takes about eight times as long, not 64."""
    assert growth(secrets().score, unit) < 32


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_scored(text: str) -> None:
    """Whatever the characters, lone surrogates and letters that grow in lower case too: spans lie inside, in order."""
    spans = secrets().score(text + " İ password: hunter2!x").spans
    places = [place for span in spans for place in (span.start, span.end)]
    assert places == sorted(places)
    assert spans[-1].kind == "PASSWORD"
    assert spans[-1].end == len(text) + 22


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize(
    "password", ["pässwort-1", "비밀번호42", "pa\u200bss\u0301 1".replace(" ", "\u2066"), "plain-pass1"]
)
def test_a_password_of_any_script_is_held_until_its_url_is_whole(password: str, size: int) -> None:
    """What leaves in pieces is what leaves at once: no character of it."""
    said = f"see https://us\u00e9r:{password}@db.example.com/x and postgres://a:{password}"
    guard = Guard(Guardrail(secrets(), stage="output", action="redact"))
    stream = Flow(guard, Call("chat")).stream()
    left = [stream.feed(said[at : at + size]) for at in range(0, len(said), size)]
    left.append(drive(stream.finish(), guard.workers))
    assert "".join(left) == guard.check(said, stage="output").guarded
    assert "".join(left).startswith("see https://us\u00e9r:<CONNECTION_STRING>@db.example.com/x")
