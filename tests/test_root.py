"""Root: what one outermost call shares with those below it, and what a conversation remembers."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from llmguard_middleware import Call, Guard, Guardrail, GuardrailViolation, Message, Score, scorer
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._policy import Policy
from llmguard_middleware._root import Conversations
from llmguard_middleware.testing import Flags, Hangs, Returns


def turn(guard: Guard, *texts: str, conversation: str = "", **call: Any) -> list[str]:
    """One call with these messages of a user; the texts that the model is given."""
    flow = Flow(guard, Call("chat", conversation=conversation, **call))
    admitted = drive(flow.admit([Message("user", text) for text in texts]), guard.workers)
    drive(flow.release(["answer"]), guard.workers)
    flow.answered(output="answer")
    return admitted


def test_a_text_is_scored_once_under_one_outermost_call() -> None:
    """An inner op that gets the text of the outer one takes the finding over, and its edits."""
    fake = Flags(when="bad")
    guard = Guard(Guardrail(fake, stage="input", action="redact"))

    @guard.op
    def below(text: str) -> str:
        """What it got."""
        return text

    @guard.op
    def above(text: str, again: str) -> list[str]:
        """Asks twice below, with texts of its own."""
        return [below("fine"), below("fine"), below(again)]

    assert above("bad", "fine") == ["fine", "fine", "fine"]
    assert fake.seen == ["bad", "fine"]


def test_the_same_text_at_another_stage_is_another_text() -> None:
    """What passed as input is still judged as output."""
    fake = Flags(when="bad")
    guard = Guard(Guardrail(fake, stage="input", name="in"), Guardrail(fake, stage="output", name="out"))

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    assert echo("x") == "x"
    assert fake.seen == ["x", "x"]


def test_a_scorer_that_failed_is_asked_again() -> None:
    """What could not be scored was not scored: the same text is tried anew, under the same outermost call too."""
    broken = [True]

    @scorer
    def moody(text: str) -> bool:
        """Fails at first."""
        if broken:
            broken.pop()
            raise ValueError
        return True

    guard = Guard(Guardrail(moody, stage="input", on_error="allow"))

    @guard.op
    def below(text: str) -> str:
        """What it got."""
        return text

    @guard.op
    def above() -> list[str]:
        """Asks twice."""
        return [below("x"), below("x")]

    with pytest.raises(GuardrailViolation, match="blocked the input"):
        above()


def test_a_scorer_that_weighs_the_text_against_other_things_is_asked_for_each() -> None:
    """The same text with another question is another judgement."""

    @scorer
    def fits(text: str, question: str) -> bool:
        """Whether the answer is none to the question."""
        return question == "why?"

    guard = Guard(Guardrail(fits, stage="output"))

    @guard.op
    def below(question: str) -> str:
        """Always the same."""
        return "yes"

    @guard.op
    def above(topic: str) -> list[str]:
        """Two questions, one answer."""
        return [below("is it?"), below("why?")]

    with pytest.raises(GuardrailViolation):
        above("x")


def test_history_that_passed_is_not_scored_again_in_the_next_turn() -> None:
    """Within a conversation a message is scored once, by each rule; without one, or in another, each time."""
    fake = Flags(when="bad")
    guard = Guard(Guardrail(fake, stage="input"))
    turn(guard, "one", conversation="c")
    turn(guard, "one", "two", conversation="c")
    turn(guard, "one", "two", "three", conversation="c")
    assert fake.seen == ["one", "two", "three"]
    turn(guard, "one", conversation="d")
    turn(guard, "one")
    turn(guard, "one")
    assert fake.seen[3:] == ["one", "one", "one"]


def test_history_that_was_edited_or_blocked_is_judged_again() -> None:
    """Only what passed is remembered: a blocked or edited text is judged anew in each turn."""
    block, edit = Flags(when="bad", name="block"), Flags(when="odd", name="edit")
    guard = Guard(Guardrail(block, stage="input"), Guardrail(edit, stage="input", action="redact"))
    for _ in range(2):
        with pytest.raises(GuardrailViolation):
            turn(guard, "bad", conversation="c")
    assert [turn(guard, "odd", conversation="c") for _ in range(2)] == [["<FAKE>"], ["<FAKE>"]]
    assert edit.seen.count("odd") == 2
    assert block.seen == ["bad", "bad", "odd"]


def test_history_is_scored_again_once_the_policy_changed() -> None:
    """What passed under other rules says nothing under these."""
    old, new = Flags(when="bad"), Flags(when="one")
    guard = Guard(Guardrail(old, stage="input"))
    turn(guard, "one", conversation="c")
    guard.swap(Policy([Guardrail(new, stage="input", timeout=3)]))
    with pytest.raises(GuardrailViolation):
        turn(guard, "one", conversation="c")


def test_a_conversation_under_one_variant_tells_nothing_to_another() -> None:
    """Two tenants whose rules have the same name do not share what passed, whatever they call their conversations."""
    lax = Policy([Guardrail(Returns(0.5), stage="input", name="tone", above=0.9)])
    strict = Policy([Guardrail(Returns(0.5), stage="input", name="tone", above=0.1)])
    guard = Guard()
    guard.swap(strict, variants=[(lambda call: call.attributes.get("tenant.id") == "acme", lax)])
    turn(guard, "x", conversation="1", attributes={"tenant.id": "acme"})
    with pytest.raises(GuardrailViolation):
        turn(guard, "x", conversation="1", attributes={"tenant.id": "beta"})


def test_a_conversation_keeps_no_text() -> None:
    """Not the text itself, nor what the scorer returned or said about it."""

    @scorer
    def quotes(text: str) -> dict[str, Any]:
        """Says too much."""
        return {"flagged": False, "reason": f"nothing in {text}", "heard": text}

    guard = Guard(Guardrail(quotes, stage="input"))
    turn(guard, "my secret", conversation="c")
    assert "secret" not in repr(deep(guard._policies.conversations))


def deep(value: Any, depth: int = 0) -> Any:
    """Everything inside, as plain values, whatever a repr hides."""
    if depth > 12:
        return "..."
    if isinstance(value, dict):
        return [(key, deep(item, depth + 1)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [deep(item, depth + 1) for item in value]
    if isinstance(value, Score) or hasattr(value, "__slots__"):
        return [deep(getattr(value, name, None), depth + 1) for name in value.__slots__]
    return deep(vars(value), depth + 1) if hasattr(value, "__dict__") and not callable(value) else value


def test_a_conversation_forgets_the_oldest() -> None:
    """Its memory is bounded."""
    fake = Flags(when="bad")
    guard = Guard(Guardrail(fake, stage="input"))
    guard._policies.conversations = Conversations(size=2)
    for text in ("a", "b", "c", "c", "a"):
        turn(guard, text, conversation="c")
    assert fake.seen == ["a", "b", "c", "a"]


def test_a_root_that_lives_long_does_not_grow() -> None:
    """An agent that runs for days keeps a bounded number of texts."""
    guard = Guard(Guardrail(Returns(False, cheap=True), stage="input"))
    flow = Flow(guard, Call("chat"))
    for number in range(5000):
        drive(flow.judge(str(number), "input"), guard.workers)
    assert len(flow.root._findings) <= 4096


def blocking_op(guard: Guard) -> Any:
    """An op that is blocked if it gets "bad"."""

    @guard.op
    def inner(text: str) -> str:
        """The same."""
        return text

    return inner


def test_a_violation_in_a_thread_below_sticks() -> None:
    """A block in a thread started with the context of an op stops the op, though nobody looked at the thread."""
    guard = Guard(Guardrail(Flags(when="bad", cheap=True), stage="input"))
    inner = blocking_op(guard)

    @guard.op
    def outer(text: str) -> str:
        """Runs others in threads, and takes no notice of what becomes of them."""

        def run(part: str) -> None:
            with pytest.raises(GuardrailViolation):
                inner(part)

        threads = [threading.Thread(target=copy_context().run, args=(run, "bad")) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return "done"

    with pytest.raises(GuardrailViolation):
        outer("fine")


async def test_a_violation_in_a_task_below_sticks() -> None:
    """A block in one of several tasks under an op stops the later calls below it, and the op itself."""
    guard = Guard(Guardrail(Flags(when="bad", cheap=True), stage="input"))
    calls: list[str] = []

    @guard.op
    async def inner(text: str) -> str:
        """The same."""
        calls.append(text)
        return text

    @guard.op
    async def outer(text: str) -> str:
        """Swallows all."""
        await asyncio.gather(*(inner(part) for part in ("a", "bad", "b")), return_exceptions=True)
        with pytest.raises(GuardrailViolation):
            await inner("later")
        return "done"

    with pytest.raises(GuardrailViolation, match='guardrail "flags"'):
        await outer("fine")
    assert "later" not in calls


def test_a_violation_does_not_stick_to_the_next_call() -> None:
    """What stopped one outermost call says nothing to another, on the same thread or in others."""
    guard = Guard(Guardrail(Flags(when="bad", cheap=True), stage="input"))
    inner = blocking_op(guard)

    def ask(number: int) -> bool:
        try:
            return inner("bad" if number % 2 else "good") == "good"
        except GuardrailViolation:
            return bool(number % 2)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_a_violation_sticks_to_the_guards_around() -> None:
    """A call under another guard that swallows the violation of one below does not get away with it either."""
    strict = Guard(Guardrail(Flags(when="bad", cheap=True), stage="input"), name="strict")
    inner = blocking_op(strict)

    @Guard(name="lax").op
    def outer(text: str) -> str:
        """Swallows it."""
        try:
            return str(inner(text))
        except GuardrailViolation:
            return "refused"

    with pytest.raises(GuardrailViolation, match='"strict"'):
        outer("bad")


async def test_a_race_that_ends_early_leaves_no_task() -> None:
    """A call that fails while a racing guardrail is under way cancels it."""
    hangs = Hangs(use_async=True)
    guard = Guard(Guardrail(hangs, stage="input", race=True))

    @guard.op
    async def fails(text: str) -> str:
        """Raises once the guardrail runs."""
        while not hangs.started.is_set():  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(0)
        raise KeyError(text)

    with pytest.raises(KeyError):
        await fails("x")
    while not hangs.cancelled.is_set():  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def test_a_race_that_flags_releases_nothing() -> None:
    """The model's answer, there before the verdict, is not given to anybody: whole or streamed."""
    guard = Guard(Guardrail(Flags(when="bad"), stage="input", race=True))
    asked: list[str] = []

    @guard.op
    def whole(text: str) -> str:
        """An answer."""
        asked.append(text)
        return "answer"

    @guard.op
    def pieces(text: str) -> Any:
        """An answer in pieces."""
        asked.append(text)
        yield "ans"
        yield "wer"

    with pytest.raises(GuardrailViolation):
        whole("bad")
    got: list[str] = []
    with pytest.raises(GuardrailViolation):
        got.extend(pieces("bad"))
    assert got == []
    assert asked == ["bad", "bad"]
    assert list(pieces("fine")) == ["ans", "wer"]
