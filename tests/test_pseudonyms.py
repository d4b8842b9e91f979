"""Pseudonyms: placeholders to the model, the originals back in the answer."""

from __future__ import annotations

import re
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import Call, Guard, Guardrail, Message, Monitor, Pseudonymize, Score, TextSpan, scorer
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._pseudonyms import Pseudonyms, Restorer
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = Pseudonymize()


def asked(flow: Flow, *texts: str) -> list[str]:
    """What the model is given for these messages of a user."""
    return drive(flow.admit([Message("user", text) for text in texts]), flow.guard.workers)


def answered(flow: Flow, text: str) -> str:
    """What the caller gets for this answer of the model."""
    return drive(flow.release([text]), flow.guard.workers)[0]


def pseudonymizing(**options: Any) -> Guard:
    """A guard that gives the model placeholders for personal data."""
    return Guard(Guardrail(pii(), stage="input", action=Pseudonymize(**options)))


def test_the_model_sees_placeholders_and_the_caller_the_originals() -> None:
    """A value has one placeholder throughout the call, numbered by first appearance; the answer gets it back."""
    flow = Flow(pseudonymizing(), Call("chat"))
    first, second = asked(flow, "I am a@b.co, not c@d.eu", "again a@b.co")
    placeholders = re.findall(r"<EMAIL_ADDRESS_\d+_[0-9a-f]{8}>", first)
    assert [one.split("_")[2] for one in placeholders] == ["1", "2"]
    assert second == f"again {placeholders[0]}"
    assert answered(flow, f"Hello {placeholders[1]} and {placeholders[0]}") == "Hello c@d.eu and a@b.co"


def test_two_calls_share_nothing() -> None:
    """A placeholder of one call means nothing in another."""
    guard = pseudonymizing()
    one, two = Flow(guard, Call("chat")), Flow(guard, Call("chat"))
    (of_one,), (of_two,) = asked(one, "a@b.co"), asked(two, "a@b.co")
    assert of_one != of_two
    assert answered(two, of_one) == of_one


def test_what_a_user_types_is_plain_text() -> None:
    """A look-alike is not restored, also if its number is one that was given out."""
    flow = Flow(pseudonymizing(), Call("chat"))
    typed = "<EMAIL_ADDRESS_1> <EMAIL_ADDRESS_1_00000000> {EMAIL_ADDRESS_1}"
    (given_,) = asked(flow, f"{typed} a@b.co")
    assert given_.startswith(typed)
    assert answered(flow, given_) == f"{typed} a@b.co"


def test_what_is_put_back_is_not_looked_at_again() -> None:
    """An original that holds another placeholder does not get that one's original too."""
    pseudonyms = Pseudonyms()
    first = pseudonyms.placeholder("A", "one", PLAIN)
    second = pseudonyms.placeholder("B", f"holds {first}", PLAIN)
    assert pseudonyms.restore(f"{second} {first}") == f"holds {first} one"


def test_a_vault_keeps_them_beyond_the_call() -> None:
    """`vault` has every placeholder with its original; the verdict of check() restores its own."""
    vault: dict[str, str] = {}
    verdict = pseudonymizing(vault=vault).check("mail a@b.co", stage="input")
    (name,) = vault
    assert vault == {name: "a@b.co"}
    assert verdict.guarded == f"mail {name}"
    assert verdict.restore(f"to {name}: <EMAIL_ADDRESS>") == "to a@b.co: <EMAIL_ADDRESS>"


def test_a_verdict_restores_pseudonyms_and_nothing_else() -> None:
    """What was redacted stays so."""
    guard = Guard(
        Guardrail(Flags(when="name", kind="NAME"), stage="input", action="pseudonymize"),
        Guardrail(Flags(when="pin", name="pins", kind="PIN"), stage="input", action="redact"),
    )
    verdict = guard.check("name pin", stage="input")
    assert verdict.restore(verdict.guarded) == "name <PIN>"


@pytest.mark.parametrize(("tools", "expected"), [(False, "<EMAIL_ADDRESS_1_"), (True, "a@b.co")])
def test_tools_get_originals_only_if_told(tools: bool, expected: str) -> None:
    """Arguments of tools keep the placeholders unless `restore_tools`."""
    flow = Flow(pseudonymizing(restore_tools=tools), Call("chat"))
    (text,) = asked(flow, "a@b.co")
    assert flow.root.pseudonyms.restore(text, tools=True).startswith(expected)
    assert flow.root.pseudonyms.restore(text) == "a@b.co"


def test_only_the_rule_that_says_so_restores_for_tools() -> None:
    """With two rules the values of one are for tools, those of the other not."""
    guard = Guard(
        Guardrail(Flags(when="ann", kind="NAME"), stage="input", action=Pseudonymize(restore_tools=True)),
        Guardrail(Flags(when="1234", name="pins", kind="PIN"), stage="input", action=Pseudonymize()),
    )
    flow = Flow(guard, Call("chat"))
    (text,) = asked(flow, "ann 1234")
    assert re.fullmatch(r"ann <PIN_1_\w+>", flow.root.pseudonyms.restore(text, tools=True))


def test_an_answers_own_values_do_not_come_back_as_what_the_model_was_given() -> None:
    """What an output rule pseudonymizes for the caller stays so, whatever the input rules gave the model."""
    guard = Guard(
        Guardrail(Flags(when="ann", kind="NAME"), stage="input", action="pseudonymize"),
        Guardrail(Flags(when="bob", name="out", kind="NAME"), stage="output", action="pseudonymize"),
    )
    flow = Flow(guard, Call("chat"))
    (text,) = asked(flow, "ann")
    assert re.fullmatch(r"ann <NAME_1_\w{8}>", answered(flow, f"{text} bob"))


def test_monitors_see_placeholders() -> None:
    """What telemetry and monitors are told of the answer has the placeholders, not the originals."""
    seen: list[str] = []

    def look(output: str) -> bool:
        """Takes a note."""
        seen.append(output)
        return False

    guard = Guard(Guardrail(pii(), stage="input", action="pseudonymize"), Monitor(look))

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    assert echo("mail a@b.co") == "mail a@b.co"
    assert guard.flush(5) == 0
    assert re.fullmatch(r"mail <EMAIL_ADDRESS_1_\w{8}>", seen[0])


def test_threads_of_one_call_never_share_a_placeholder() -> None:
    """Values found at once in many threads below one call have a placeholder each, and one only."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            pseudonyms = Pseudonyms()
            given_: list[tuple[str, str]] = []
            barrier = threading.Barrier(8)
            failed: list[Exception] = []

            def find(
                who: int,
                pseudonyms: Pseudonyms = pseudonyms,
                given_: list[tuple[str, str]] = given_,
                barrier: threading.Barrier = barrier,
                failed: list[Exception] = failed,
            ) -> None:
                barrier.wait()
                try:
                    for number in range(40):
                        value = f"value {number % 20 + 20 * (who % 2)}"
                        name = pseudonyms.placeholder("K", value, PLAIN)
                        given_.append((name, value))
                        assert pseudonyms.restore(name) == value
                except Exception as error:  # noqa: BLE001 - told by the thread that asserts
                    failed.append(error)

            threads = [threading.Thread(target=find, args=(who,)) for who in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failed == []
            assert len({name for name, _ in given_}) == len({value for _, value in given_}) == len(set(given_))
    finally:
        sys.setswitchinterval(interval)


def pieces_of(text: str, sizes: list[int]) -> Iterator[str]:
    """`text` in pieces of these sizes, again and again."""
    at = turn = 0
    while at < len(text):
        yield text[at : at + sizes[turn % len(sizes)]]
        at, turn = at + sizes[turn % len(sizes)], turn + 1


KINDS = ("A", "AB", "A_1", "<", "A<B", ">", "a b", "<<A")


@settings(max_examples=2000, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(["x", "xy", "<", "<A_1"])), min_size=1, max_size=4),
    st.lists(
        st.one_of(st.integers(0, 3), st.sampled_from(["<", ">", "A", "_1_", "text", "<A_1_"]), st.text(max_size=3)),
        max_size=10,
    ),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
)
def test_a_placeholder_split_over_chunks_is_restored(
    values: list[tuple[str, str]], parts: list[Any], sizes: list[int]
) -> None:
    """However a stream is cut, it is restored as the whole is, and no prefix is another."""
    pseudonyms = Pseudonyms()
    names = [pseudonyms.placeholder(kind, value, PLAIN) for kind, value in values]
    # Whole placeholders, and parts of them that come to nothing.
    text = "".join(names[part % len(names)] if isinstance(part, int) else part for part in parts)
    text += names[0][: sizes[0]]
    whole = pseudonyms.restore(text)
    restorer = Restorer(pseudonyms)
    released = ""
    for piece in pieces_of(text, sizes):
        released += restorer.feed(piece)
        assert whole.startswith(released)
    assert released + restorer.finish() == whole


def test_text_without_a_placeholder_leaves_at_once() -> None:
    """Only what may be the start of a placeholder that was given out is held."""
    pseudonyms = Pseudonyms()
    name = pseudonyms.placeholder("NAME", "ann", PLAIN)
    restorer = Restorer(pseudonyms)
    assert restorer.feed("1 < 2, <b>bold</b> <NAMES") == "1 < 2, <b>bold</b> <NAMES"
    assert restorer.feed("<NA") == ""
    assert restorer.feed(name[3:]) == "ann"


def test_a_stream_restores_and_judges_placeholders() -> None:
    """Output rules judge the answer with placeholders; the reader gets originals, whatever the chunks."""
    seen: list[str] = []

    @scorer(cheap=True, reach=3)
    def shout(text: str) -> Score:
        """Finds "wow"."""
        seen.append(text)
        spans = tuple(TextSpan(*found.span(), "W") for found in re.finditer("wow", text))
        return Score(spans=spans, flagged=bool(spans))

    guard = Guard(
        Guardrail(pii(), stage="input", action="pseudonymize"), Guardrail(shout, stage="output", action="redact")
    )

    @guard.op
    def stream(text: str) -> Iterator[str]:
        """Letter by letter."""
        yield from f"wow {text}!" + " " * 100

    assert "".join(stream("a@b.co")) == "<W> a@b.co!" + " " * 100
    assert seen
    assert not any("a@b.co" in text for text in seen)
