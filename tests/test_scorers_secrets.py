"""secrets(): credentials by the formats of those who issue them."""

from __future__ import annotations

import pytest

from llmguard_middleware import ConfigurationError, Score, TextSpan
from llmguard_middleware.scorers import secrets

FOUND = [
    ("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS_ACCESS_KEY", "ASIAIOSFODNN7EXAMPLE"),
    ("GITHUB_TOKEN", "ghp_" + "a1B2" * 9),
    ("GITHUB_TOKEN", "gho_" + "a" * 255),
    ("OPENAI_API_KEY", "sk-proj-" + "Ab3_-" * 8 + "z"),
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
    text = "sk-" + "a" * 20 + "-sk-" + "b" * 20
    assert secrets().score(text).spans == (TextSpan(0, len(text), "OPENAI_API_KEY"),)


def test_an_unknown_kind_is_refused() -> None:
    """A kind that does not exist is a ConfigurationError with all kinds."""
    with pytest.raises(ConfigurationError) as caught:
        secrets("AWS_KEY")
    assert str(caught.value) == (
        'secrets() knows no kind "AWS_KEY": did you mean "AWS_ACCESS_KEY"? '
        "Known: AWS_ACCESS_KEY, GITHUB_TOKEN, OPENAI_API_KEY, SLACK_TOKEN, GOOGLE_API_KEY"
    )
