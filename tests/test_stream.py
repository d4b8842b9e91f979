"""Streamed text: what leaves equals, character for character, what the whole answer would have become."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmguard_middleware import Call, Guard, Guardrail, GuardrailViolation, Hash, Mask, Score, TextSpan, scorer
from llmguard_middleware._drive import adrive, drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import pii, secrets
from llmguard_middleware.testing import Flags, Raises

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PLANTED = (
    "hong.gildong@example.com",
    "a@b.co",
    "x_1%+-.y@mail-1.example.co.kr",
    "900101-1234567",
    "9001011234567",
    "900101\u20132234567",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "378282246310005",
    "010-1234-5678",
    "+82 10 1234 5678",
    "+821012345678",
    "123-45-6789",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "sk-proj-" + "Ab3_-" * 8,
    "xoxb-1234567890-abcdef",
    "AIza" + "Sy_-9" * 7,
    "sk-ant-api03-" + "Ab3_-" * 8,
    "eyJ" + "hbGciOi" * 3 + ".eyJ" + "zdWIiOi" * 3 + "." + "aB3_-" * 5,
    "1234567890:AA" + "Hdq_-Tc" * 4 + "vCH1v",
    "0123456789abcdef" * 2 + "-us14",
    "-----BEGIN PRIVATE KEY-----\n" + ("MIIEvQIBADANBgkq" * 4 + "\n") * 3 + "-----END PRIVATE KEY-----",
    "GB59 NAWV 7713 6867 0493 56",
    "DE89370400440532013000",
    "02-345-6789",
    "(650) 253-0000",
    "124-81-00998",
    "11-12-345678-90",
    "48.90.248.226",
    "2001:db8::8a2e:370:7334",
    "00:1A:2b:3c:4D:5e",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "hong (at) example dot com",
    "hong [at] example.com",
    "공일공 일이삼사 오육칠팔",
    "\uff14\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11",
    "4111\u200b1111\u200b1111\u200b1111",
    "900101\u2011\u200d1234567",
)
# What the words before it tell; these leave.
TOLD = (
    "생년월일: 1990년 1월 5일",
    "born on January 5, 1990",
    "계좌 110-123-456789",
    "여권 M12345678",
    "전화 358 0594",
    "driver license F1234567",
    "postgres://hong:p4ssw0rd@db.example.com/x",
    'api_key = "4f9c8e7d6b5a4f3e2d1c0b9a8f7e6d5c"',
    "비밀번호는 hunter2!x입니다",
    "Authorization: Bearer 0a9B8c7D6e5F4g3H2i1J",
    "Server=db;Pwd=a1!b2@c3#;Database=x",
)
LONG = (
    "1",
    "7 ",
    "12-",
    "a",
    "a.",
    "a@b.cc@",
    "@",
    "sk-",
    "A",
    "_",
    "+82",
    "\u2013",
    "가",
    "4111 1111 1111 1111 ",
    " ",
    "gh",
    "\u200b",
    "1.",
    "a:",
    " at ",
    "dot ",
    "일",
    "GB59 ",
    "card ",
    "계좌 1",
    "born ",
    "-----BEGIN ",
    "PRIVATE KEY-----",
    "eyJa",
    ".",
    "token: ",
    "aB3",
)

piece = st.one_of(
    st.sampled_from(PLANTED + TOLD),
    st.text("0123456789@ .-\u2013\u200b+:/()_aZs\uff53\uff11가나다라\n", max_size=40),
    st.builds(lambda unit, length: (unit * length)[:length], st.sampled_from(LONG), st.integers(1, 700)),
    st.builds(lambda whole, end: whole[:end], st.sampled_from(PLANTED + TOLD), st.integers(1, 30)),
)
texts = st.lists(piece, max_size=8).map("".join)
sizes = st.lists(st.integers(1, 200), min_size=1, max_size=12)


def redacting(*scorers: Any, actions: Sequence[Any] = ("redact",)) -> Guard:
    """A guard that edits the output by each of these scorers, with these actions in turn."""
    rules = [Guardrail(s, stage="output", action=a) for s, a in zip(scorers, itertools.cycle(actions), strict=False)]
    return Guard(*rules)


EDITING = ("redact", Mask(), Mask(char="#", keep_last=3), Hash(key="k" * 16), "pseudonymize")


def without_nonce(text: str) -> str:
    """Pseudonyms carry a number that nobody can guess; two runs differ in nothing else."""
    return re.sub(r"(?<=_)[0-9a-f]{8}(?=>)", "nonce", text)


def cut(text: str, sizes: Sequence[int]) -> Iterator[str]:
    """`text` in pieces of these sizes, again and again."""
    at = turn = 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        yield text[at : at + size]
        at, turn = at + size, turn + 1


def released(guard: Guard, pieces: Iterable[str]) -> list[str]:
    """All that had left after each piece, and at the end."""
    stream = Flow(guard, Call("chat")).stream()
    so_far = ""
    prefixes = []
    for one in pieces:
        so_far += stream.feed(one)
        prefixes.append(so_far)
    return [*prefixes, so_far + drive(stream.finish(), guard.workers)]


def assert_streams_alike(guard: Guard, text: str, sizes: Sequence[int]) -> None:
    """Every prefix that leaves is a prefix of what the whole text becomes, and in the end all of it has left."""
    whole = without_nonce(guard.check(text, stage="output").guarded)
    prefixes = [without_nonce(prefix) for prefix in released(guard, cut(text, sizes))]
    assert all(whole.startswith(prefix) for prefix in prefixes)
    assert prefixes[-1] == whole


@settings(max_examples=200, deadline=None)
@given(texts, sizes)
@example("a" * 1000 + "@b.com rest", [1])
@example("1" * 1000 + " 4111 1111 1111 1111 " + "1" * 500, [64])
@example("a@b.cc" + "@d.ee" * 300 + " 010-1234-5678", [63, 65])
def test_pii_streamed_equals_pii_at_once(text: str, sizes: list[int]) -> None:
    """Personal data is redacted in a stream exactly as in the whole text, however the text is cut."""
    assert_streams_alike(redacting(pii()), text, sizes)


@settings(max_examples=200, deadline=None)
@given(texts, sizes)
@example("sk-" * 600 + "!", [64])
@example("x" * 600 + " sk-" + "a" * 600, [1, 3])
def test_secrets_streamed_equal_secrets_at_once(text: str, sizes: list[int]) -> None:
    """Credentials are redacted in a stream exactly as in the whole text, however the text is cut."""
    assert_streams_alike(redacting(secrets()), text, sizes)


@settings(max_examples=200, deadline=None)
@given(texts, sizes)
def test_two_scorers_streamed_equal_both_at_once(text: str, sizes: list[int]) -> None:
    """Two local guardrails over one stream redact what both together redact in the whole text."""
    assert_streams_alike(redacting(pii(), secrets()), text, sizes)


@settings(max_examples=500, deadline=None)
@given(texts, sizes, st.lists(st.sampled_from(EDITING), min_size=2, max_size=2))
@example("a@b.cc" + "@d.ee" * 4000 + " 010-1234-5678 " + "가" * 100, [61, 7], [Mask(keep_last=3), "redact"])
@example("a@b.cc" + "@d.ee" * 4000 + "x", [1000], ["pseudonymize", "pseudonymize"])
@example("a@b.cc" + "@d.ee" * 3000 + "@d.e!!", [3], ["pseudonymize", Mask()])
@example("hong@example.com " * 40, [1], ["pseudonymize", Hash(key="k" * 16)])
def test_every_edit_of_spans_streams_alike(text: str, sizes: list[int], actions: list[Any]) -> None:
    """Whatever the actions of two local guardrails do to spans, a stream gives what the whole text gives."""
    assert_streams_alike(redacting(pii(), secrets(), actions=actions), text, sizes)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["EMAIL_ADDRESS", "KR_RRN", "CREDIT_CARD", "PHONE_NUMBER", "US_SSN"]), texts, sizes)
def test_each_kind_of_pii_streams_alike_alone(kind: str, text: str, sizes: list[int]) -> None:
    """One kind alone has a short reach, and its stream still equals the whole."""
    assert_streams_alike(redacting(pii(kind)), text, sizes)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["AWS_ACCESS_KEY", "OPENAI_API_KEY", "JWT", "PASSWORD", "CONNECTION_STRING", "PRIVATE_KEY"]),
    texts,
    sizes,
)
def test_each_kind_of_secret_streams_alike_alone(kind: str, text: str, sizes: list[int]) -> None:
    """One kind alone has a short reach, and its stream still equals the whole."""
    assert_streams_alike(redacting(secrets(kind)), text, sizes)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(PLANTED),
    st.text("가나 \n", min_size=1, max_size=80),
    st.text("다라 \n", min_size=1, max_size=80),
    sizes,
)
def test_no_planted_match_is_ever_readable(planted: str, before: str, after: str, sizes: list[int]) -> None:
    """No prefix of a stream holds a planted match, nor more than nothing of it, at any time."""
    prefixes = released(redacting(pii(), secrets()), cut(before + planted + after, sizes))
    assert not any(planted in prefix or prefix.endswith(planted[:1]) for prefix in prefixes)


@pytest.mark.parametrize("planted", PLANTED + TOLD)
def test_a_match_is_redacted_wherever_the_cut_falls(planted: str) -> None:
    """For each boundary in and around a match, two chunks give what one chunk gives."""
    guard = redacting(pii(), secrets())
    text = "연락처: " + "가" * 60 + planted + "입니다." + "나" * 70
    whole = guard.check(text, stage="output").guarded
    assert planted not in whole
    assert {released(guard, (text[:at], text[at:]))[-1] for at in range(len(text) + 1)} == {whole}


@scorer(cheap=True, reach=1)
def letters_a(text: str) -> Score:
    """Runs of "a" that no "x" precedes: whether an "a" belongs to one depends on one character."""
    spans = tuple(TextSpan(*match.span(), "A") for match in re.finditer("(?<!x)a+", text))
    return Score(flagged=bool(spans), spans=spans)


@scorer(cheap=True, reach=0)
def digits(text: str) -> Score:
    """Runs of digits: whether a digit belongs to one depends on nothing else."""
    spans = tuple(TextSpan(*match.span(), "N") for match in re.finditer(r"\d+", text))
    return Score(flagged=bool(spans), spans=spans)


@settings(max_examples=300, deadline=None)
@given(st.text("axb", max_size=300), sizes)
@example("b" * 62 + "xaa" + "b" * 65, [65])
def test_a_scorer_of_ones_own_streams_alike(text: str, sizes: list[int]) -> None:
    """A local scorer needs no more than an honest `reach`: what its look-behind saw stays in sight."""
    assert_streams_alike(redacting(letters_a), text, sizes)


@settings(max_examples=300, deadline=None)
@given(st.text("12b", max_size=300), sizes)
@example("b" * 60 + "1" * 10, [64])
def test_a_match_that_may_still_grow_is_held(text: str, sizes: list[int]) -> None:
    """With a reach of 0 a run that ends where the chunk ends is held, for it may go on."""
    assert_streams_alike(redacting(digits), text, sizes)


def test_a_local_stream_releases_before_its_end() -> None:
    """Text without anything suspicious leaves while the answer still arrives."""
    assert released(redacting(pii(), secrets()), ["가" * 200, "나"])[0] == "가" * 200


def test_the_memory_of_a_window_is_bounded() -> None:
    """A window keeps what a match can reach of a long answer, not all of it."""
    stream = Flow(redacting(pii()), Call("chat")).stream()
    for _ in range(2000):
        stream.feed("some words 가나다 12 ")
    assert stream._window is not None
    assert len(stream._window._raw) < 1000


def test_edits_are_told_on_the_offsets_of_the_whole_answer(telemetry: Any) -> None:
    """The verdict on a streamed answer has the edits that the verdict on the whole answer has."""
    text = "가" * 500 + " a@b.co " + "나" * 500 + " 010-1234-5678 "
    guard = Guard(Guardrail(pii(), stage="output", action="redact"), **telemetry.providers)
    flow = Flow(guard, Call("chat"))
    stream = flow.stream()
    for one in cut(text, [7]):
        stream.feed(one)
    drive(stream.finish(), guard.workers)
    assert flow.verdicts[0].edits == guard.check(text, stage="output").edits


def test_a_blocking_rule_holds_the_whole_answer() -> None:
    """Nothing leaves before a guardrail that may block has judged the whole answer."""
    guard = Guard(Guardrail(Flags(when="bad"), stage="output"), Guardrail(pii(), stage="output", action="redact"))
    assert released(guard, ["a@b.co ", "good " * 100]) == ["", "", "<EMAIL_ADDRESS> " + "good " * 100]


async def test_a_blocked_stream_raises_for_async_readers_too() -> None:
    """finish() raises the violation through the async driver as through the sync one."""
    guard = Guard(Guardrail(Flags(when="bad"), stage="output"))
    stream = Flow(guard, Call("chat")).stream()
    assert stream.feed("bad") == ""
    with pytest.raises(GuardrailViolation, match='guardrail "flags" of guard "default" blocked the output'):
        await adrive(stream.finish(), guard.workers)


def test_a_shadow_rule_lets_a_stream_pass_at_once() -> None:
    """A guardrail that only logs holds nothing back and still judges the whole."""
    rule = Flags(when="ab")
    assert released(Guard(Guardrail(rule, stage="output", action="log")), ["a", "b"]) == ["a", "ab", "ab"]
    assert rule.seen == ["ab"]


def test_a_local_scorer_that_fails_stops_the_stream() -> None:
    """A local scorer that raises in a window stops the answer, as its on_error says, before anything left."""
    guard = redacting(Raises(RuntimeError("secret"), cheap=True, reach=3))
    stream = Flow(guard, Call("chat")).stream()
    with pytest.raises(GuardrailViolation, match="could not judge the output"):
        stream.feed("x" * 100)


def test_a_local_scorer_that_is_allowed_to_fail_lets_the_stream_pass() -> None:
    """With on_error="allow" a failing local scorer redacts nothing."""
    fails = Raises(RuntimeError("secret"), cheap=True, reach=3)
    guard = Guard(Guardrail(fails, stage="output", action="redact", on_error="allow"))
    assert released(guard, ["x" * 100])[-1] == "x" * 100


def test_an_async_scorer_is_not_run_in_a_window() -> None:
    """A local scorer that is async needs the whole answer, for a window has nobody to await it."""
    guard = redacting(Flags(when="bad", cheap=True, use_async=True, reach=3))
    assert released(guard, ["x bad " + "y" * 100]) == ["", "x <FAKE> " + "y" * 100]


def test_text_after_a_private_key_is_not_held_with_it() -> None:
    """What follows the last line of a key leaves while the answer still arrives."""
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkq\n" * 4 + "-----END PRIVATE KEY-----"
    assert released(redacting(secrets()), [key, " words" * 100, "."])[1].startswith("<PRIVATE_KEY> words words")
