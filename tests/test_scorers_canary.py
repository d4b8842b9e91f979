"""canary(): a system prompt that leaks, by a token in it or by its own words."""

from __future__ import annotations

import base64
import codecs
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Message, Score, TextSpan
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import canary, load

SHARED = Path(__file__).parents[2] / "shared" / "data"

TOKEN = "k7mq2xw9trb4hv6z"
PROMPT = """You are HelpBot, the support assistant of Acme Corp. Never reveal the discount code. Always answer politely,
in the language of the customer. 고객의 개인정보를 절대 말하지 마세요.
답변은 반드시 세 문장 이내로 작성하고, 환불은 7일 이내에만 가능합니다."""


def redacted(scorer: Any, text: str, prompt: str = "") -> str:
    """What a guard makes of it."""
    guard = Guard(Guardrail(scorer, stage="output", action="redact"))
    return guard.check(text, stage="output", inputs={"system": prompt}).guarded


def streamed(scorer: Any, text: str, size: int, prompt: str) -> str:
    """The same in chunks of this size."""
    guard = Guard(Guardrail(scorer, stage="output", action="redact"))
    stream = Flow(guard, Call("chat", messages=(Message("system", prompt), Message("user", "hi")))).stream()
    left = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size))
    return left + drive(stream.finish(), guard.workers)


def forms(token: str) -> dict[str, str]:
    """A token in many ways to write it."""
    data = token.encode()
    return {
        "plain": token,
        "upper case": token.upper(),
        "spaced": " ".join(token),
        "on lines": "\n".join(token),
        "with dashes": "-".join(token),
        "with markup": "**".join(token),
        "between syllables": "가".join(token),
        "with what nobody sees": "\u200b".join(token),
        "full width": "".join(chr(ord(one) + 0xFEE0) for one in token),
        "backwards": token[::-1],
        "backwards, spaced": " ".join(token[::-1]),
        "ROT13": codecs.encode(token, "rot13"),
        "Base64": base64.b64encode(data).decode(),
        "Base64 of a sentence": base64.b64encode(f"my token: {token}.".encode()).decode(),
        "Base64 of another": base64.b64encode(f"the token: {token}.".encode()).decode(),
        "Base64 of a third": base64.b64encode(f"token: {token}.".encode()).decode(),
        "Base64 of capitals": base64.b64encode(token.upper().encode()).decode(),
        "Base64 on lines": "\n".join(base64.b64encode(data).decode()[at : at + 5] for at in range(0, 48, 5)),
        "hexadecimal": data.hex(),
        "hexadecimal pairs": data.hex(" ").upper(),
        "a list of bytes": ", ".join(map(hex, data)),
        "escapes": "".join(f"\\x{one:02x}" for one in data),
        "percent": "".join(f"%{one:02X}" for one in data),
        "numbers": " ".join(map(str, data)),
        "octal": "".join(f"\\{one:03o}" for one in data),
        "binary": " ".join(f"{one:08b}" for one in data),
        "Unicode escapes": "".join(f"\\u{one:04x}" for one in data),
        "Base32": base64.b32encode(f"my token: {token}.".encode()).decode(),
        "Base64 of UTF-16": base64.b64encode(f"token: {token}.".encode("utf-16-le")).decode(),
        "entities": "".join(f"&#{one};" for one in data),
    }


@pytest.mark.parametrize("form", forms(TOKEN))
@pytest.mark.parametrize("around", [("", ""), ("토큰은 ", "입니다"), ('The token is "', '".')])
def test_a_token_is_found_however_it_is_written(form: str, around: tuple[str, str]) -> None:
    """Within its place, and as one span."""
    before, after = around
    written = forms(TOKEN)[form]
    score = canary(TOKEN).score(before + written + after)
    assert (score.flagged, score.label) == (True, "CANARY")
    (span,) = score.spans
    assert len(before) <= span.start < span.end <= len(before + written)


@settings(max_examples=100, deadline=None)
@given(st.from_regex(r"[A-Za-z0-9]{8,32}", fullmatch=True), st.sampled_from(sorted(forms(TOKEN))))
def test_any_token_is_found(token: str, form: str) -> None:
    """Whatever its letters and its length."""
    assert canary(token).score(f"x {forms(token)[form]} y").flagged


@pytest.mark.parametrize(
    "text", ["", TOKEN[:-1], TOKEN[1:], "k 7 m q 2", TOKEN.replace("2", "3"), (" " * 9).join(TOKEN), "a" * 1000]
)
def test_what_is_not_the_token_is_left_alone(text: str) -> None:
    """A part of it, another one, and letters that stand far apart."""
    assert canary(TOKEN).score(text) == Score(value=0.0)


def test_a_new_token_goes_into_the_prompt() -> None:
    """It is made by chance, stands before the prompt, and is not shown."""
    trap, other = canary(), canary()
    assert trap.tokens != other.tokens
    assert trap.add("Be kind.") == f"[{trap.tokens[0]}]\nBe kind."
    assert redacted(trap, trap.add("Be kind.")) == "[<CANARY>]\nBe kind."
    assert trap.tokens[0] not in repr(trap) + trap.options
    assert trap.options == other.options
    assert canary(TOKEN).options != canary(TOKEN[::-1]).options
    assert pickle.loads(pickle.dumps(trap)).score(trap.tokens[0]).flagged


def test_it_is_made_from_a_file() -> None:
    """By name with plain options, the token from the environment."""
    options = {"tokens": ["${PROMPT_TOKEN:-k7mq2xw9trb4hv6z}"], "least": 20}
    rule = {"scorer": "canary", "options": options, "stage": "output", "action": "redact"}
    guard = Guard.from_config({"guardrails": [rule]})
    assert guard.check(f"It is {TOKEN}.", stage="output").guarded == "It is <CANARY>."


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (
            "Sure: you are helpbot — the SUPPORT assistant of Acme Corp; never reveal it!",
            "Sure: <SYSTEM_PROMPT> it!",
        ),
        ("지침: 고객의 개인정보를 절대 말하지 마세요 답변은 반드시 세 문장 이내로.", "지침: <SYSTEM_PROMPT>."),
        (" ".join("youarehelpbotthesupportassistantofacmecorpneverreveal"), "<SYSTEM_PROMPT>"),
        ("Always answer politely, please. 환불은 7일 이내에만 가능합니다.", None),
        ("I am the assistant of Acme Corp and reveal nothing, never, in no language of any customer.", None),
    ],
)
def test_words_of_the_prompt_give_it_away(answer: str, left: str | None) -> None:
    """Long stretches of it, whatever the case, the spaces and the signs; single phrases do not."""
    assert redacted(canary(TOKEN), answer, PROMPT) == (answer if left is None else left)
    assert redacted(canary(TOKEN, least=None), answer, PROMPT) == answer
    assert redacted(canary(TOKEN), answer) == answer


def test_shorter_stretches_count_if_that_is_asked_for() -> None:
    """`least` is in letters; a Korean syllable counts as two."""
    assert redacted(canary(TOKEN, least=20), "Always answer politely!", PROMPT) == "<SYSTEM_PROMPT>!"
    assert redacted(canary(TOKEN, least=16), "그건 7일 이내에만 가능합니다.", PROMPT) == "그건 <SYSTEM_PROMPT>."


PIECES = [
    *(TOKEN, TOKEN[:9], TOKEN[9:], TOKEN[::-1][:6], TOKEN[::-1][6:], " ".join(TOKEN[:8]), "-", " ", "\n", "    ", "가"),
    *(
        base64.b64encode(TOKEN.encode()).decode()[:13],
        base64.b64encode(TOKEN.encode()).decode()[13:],
        TOKEN.encode().hex(),
    ),
    *(
        PROMPT[:70],
        PROMPT[70:90],
        PROMPT[90:140],
        PROMPT[140:],
        "x" * 300,
        "word " * 150,
        "k",
        "!",
        "\ud800",
        " ".join(PROMPT[:60]),
    ),
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=20).map("".join), st.integers(1, 200), st.sampled_from([None, 48, 90])
)
def test_it_streams_as_it_judges(text: str, size: int, least: int | None) -> None:
    """A stream is redacted as the whole text is, whatever the chunks; so a token that is split is found."""
    scorer = canary(TOKEN, least=least)
    assert streamed(scorer, text, size, PROMPT) == redacted(scorer, text, PROMPT)


@settings(max_examples=200, deadline=None)
@given(st.text("aA \u212ab-", max_size=120), st.integers(1, 40))
def test_a_token_that_begins_within_itself_streams_as_well(text: str, size: int) -> None:
    """As does one with letters that are others' lower case."""
    scorer = canary("aaaaaaaa", "kkkkkkkk", least=None)
    assert streamed(scorer, text + "kkkkkkkk", size, "") == redacted(scorer, text + "kkkkkkkk")


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=300), st.text(st.characters(), max_size=100))
def test_any_text_is_scored(text: str, prompt: str) -> None:
    """Whatever the characters, in the text and in the prompt; loaded by name as well."""
    score = load("canary", TOKEN, least=16).score(text + " " + TOKEN, prompt)
    assert score.spans[-1].end == len(text) + 17
    assert all(isinstance(span, TextSpan) for span in score.spans)


@pytest.mark.parametrize("tokens", [("short",), ("with space here",), (3,), ("a" * 33,), ("비밀비밀비밀비밀",)])
def test_what_is_no_token_is_refused(tokens: Any) -> None:
    """One sentence, which does not quote it."""
    with pytest.raises(ConfigurationError) as caught:
        canary(*tokens)
    assert str(caught.value) == "canary() takes tokens of 8 to 32 letters and digits of ASCII, or none to make one"


@pytest.mark.parametrize("least", [0, 15, 1001, True, "48", 20.0])
def test_a_least_that_is_none_is_refused(least: Any) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        canary(least=least)
    assert str(caught.value) == f"least is {least!r}; it must be a whole number of letters from 16 to 1000, or None"


@pytest.mark.parametrize("unit", [TOKEN, TOKEN[0] + " ", "6b ", PROMPT, "a ", "107 "])
def test_what_is_made_to_be_slow_is_linear(unit: str) -> None:
    """Eight times as much of what begins like a token or a prompt takes about eight times as long, not 64."""
    trap = canary(TOKEN)
    assert growth(lambda text: trap.score(text + TOKEN, PROMPT), unit) < 32


def test_ordinary_texts_leak_nothing() -> None:
    """None of the comments, sentences and prompts is flagged, if they are here."""
    trap = canary()
    for file in sorted(SHARED.glob("*.jsonl")):
        rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
        assert [row for row in rows if trap.score(row, PROMPT).flagged] == []
