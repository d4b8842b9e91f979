"""Policy: swapped under load, chosen by attributes, told apart by its digest."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmguard_middleware import (
    Breaker,
    Call,
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Hash,
    Mask,
    Message,
    Monitor,
    MonitorQueue,
    Pseudonymize,
    Reask,
    Replace,
    VerdictCache,
    scorer,
)
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._policy import Policy
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags, Returns


def named(name: str) -> Guardrail:
    """A rule that replaces every text by its name."""
    return Guardrail(Returns(True, cheap=True), stage="input", name="rule", action=Replace(name))


def acme(call: Call) -> bool:
    """Whether it is that tenant's call."""
    return call.attributes.get("tenant.id") == "acme"


def test_a_variant_is_chosen_by_what_the_caller_says_of_its_calls() -> None:
    """attributes() decide for check(), ops and adapters; outside, the common rules apply; inner blocks add to outer."""
    guard = Guard()
    guard.swap(Policy([named("common")]), variants=[(acme, Policy([named("acme")]))])

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    def asked() -> tuple[str, str]:
        return guard.check("x", stage="input").guarded, echo("x")

    assert asked() == ("common", "common")
    with guard.attributes(tenant__id="acme"):
        assert asked() == ("acme", "acme")
        with guard.attributes(other=1):
            assert asked() == ("acme", "acme")
        with guard.attributes(tenant__id="beta"):
            assert asked() == ("common", "common")
    assert asked() == ("common", "common")
    assert guard.check("x", stage="input", attributes={"tenant.id": "acme"}).guarded == "acme"


def test_a_variant_judges_where_the_common_policy_has_no_rule() -> None:
    """A tenant's input rules hold also if nobody else has any: in check(), ops and chat calls."""
    guard = Guard()
    guard.swap(Policy([]), variants=[(acme, Policy([Guardrail(Returns(True, cheap=True), stage="input")]))])
    assert guard.check("x", stage="input").outcome == "passed"
    with guard.attributes(tenant__id="acme"):
        assert guard.check("x", stage="input").outcome == "blocked"
        flow = Flow(guard, Call("chat"))
        with pytest.raises(GuardrailViolation):
            drive(flow.admit([Message("user", "x")]), guard.workers)


def test_the_verdict_says_which_policy_it_was() -> None:
    """Each verdict carries the digest of the policy that made it."""
    common, other = Policy([named("common")]), Policy([named("acme")])
    guard = Guard()
    guard.swap(common, variants=[(acme, other)])
    assert guard.check("x", stage="input").digest == common.digest == guard.digest
    assert guard.check("x", stage="input", attributes={"tenant.id": "acme"}).digest == other.digest


def test_what_runs_below_a_call_keeps_its_policy() -> None:
    """A swap in the middle of a call does not change the rules of the call, nor of those below it."""
    guard = Guard(named("old"))

    @guard.op
    def below(text: str) -> str:
        """The same."""
        return text

    @guard.op
    def above(text: str) -> str:
        """Swaps, then goes on."""
        guard.swap(Policy([named("new")]))
        return below("x")

    assert above("x") == "old"
    assert above("x") == "new"


def test_a_swap_is_one_step_for_those_who_ask_meanwhile() -> None:
    """Under load a call gets the old rules or the new ones, never the common ones of one and the variants of the other.

    Before, everybody is strict; then all but one tenant are let through. That tenant never is.
    """
    strict, lax = Policy([named("strict")]), Policy([])
    guard = Guard()
    guard.swap(strict)
    stop = threading.Event()
    seen: set[str] = set()

    def ask() -> None:
        while not stop.is_set():
            seen.add(guard.check("x", stage="input", attributes={"tenant.id": "acme"}).guarded)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for _ in range(2000):
            guard.swap(lax, variants=[(acme, strict)])
            guard.swap(strict)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert seen == {"strict"}


def test_a_swap_is_refused_as_a_whole_if_it_has_a_mistake() -> None:
    """A policy that cannot be made leaves the guard as it was."""
    guard = Guard(named("old"))
    with pytest.raises(ConfigurationError, match='two rules are called "rule"'):
        guard.swap(Policy([named("a"), named("b")]))
    assert guard.check("x", stage="input").guarded == "old"


def test_monitors_are_swapped_too() -> None:
    """After a swap the new monitors score, and those of a variant its calls only."""
    seen: list[str] = []

    def watches(name: str) -> Monitor:
        def look(output: str) -> bool:
            seen.append(name)
            return False

        return Monitor(look, name=name)

    guard = Guard(watches("old"))

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    echo("x")
    guard.swap(Policy([watches("new")]), variants=[(acme, Policy([watches("acme")]))])
    echo("x")
    with guard.attributes(tenant__id="acme"):
        echo("x")
    assert guard.flush(5) == 0
    assert sorted(seen) == ["acme", "new", "old"]


def test_without_keeps_the_identity() -> None:
    """A guard without some rules is the same guard to calls below it: one root, one violation, one bypass."""
    blocks = Guardrail(Flags(when="bad", cheap=True), stage="input")
    guard = Guard(blocks)
    rest = guard.without([blocks])
    assert rest.identity is guard.identity
    assert (rest.name, rest.digest) == (guard.name, guard.digest)

    @guard.op
    def inner(text: str) -> str:
        """The same."""
        return text

    @rest.op
    def outer(text: str) -> str:
        """Swallows."""
        with pytest.raises(GuardrailViolation):
            inner(text)
        return "done"

    with pytest.raises(GuardrailViolation):
        outer("bad")
    with guard.bypass(reason="test"):
        assert rest.check("bad", stage="input").findings == ()


# --- the digest ------------------------------------------------------------------------------------------------------


@scorer
def tone(text: str) -> float:
    """A value."""
    return 0.5


def often(score: Any) -> bool:
    """A predicate."""
    return bool(score.value)


def seldom(score: Any) -> bool:
    """Another."""
    return not score.value


OPTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "name": {"name": "other"},
    "stage": {"stage": "output"},
    "action": {"action": "log"},
    "redact": {"action": "redact"},
    "mask": {"action": "mask"},
    "mask more": {"action": Mask(keep_last=4)},
    "mask with": {"action": Mask(char="#")},
    "replace": {"action": "replace"},
    "replace by": {"action": Replace("gone")},
    "hash": {"action": Hash(key="k" * 16)},
    "hash by another key": {"action": Hash(key="l" * 16)},
    "pseudonymize": {"action": "pseudonymize"},
    "pseudonymize for tools": {"action": Pseudonymize(restore_tools=True)},
    "pseudonymize for long": {"action": Pseudonymize(vault={})},
    "reask": {"action": "reask", "stage": "output"},
    "reask twice": {"action": Reask(attempts=2), "stage": "output"},
    "reask so": {"action": Reask(feedback="Again."), "stage": "output"},
    "above": {"above": 0.5},
    "below": {"below": 0.5},
    "above more": {"above": 0.6},
    "when": {"when": often},
    "when else": {"when": seldom},
    "on_error": {"on_error": "allow"},
    "timeout": {"timeout": 3},
    "roles": {"roles": ["user"]},
    "where": {"where": {"model": "gpt-*"}},
    "where else": {"where": {"model": "gpt-4*"}},
    "allow": {"allow": ["a@b.co"]},
    "allow a pattern": {"allow": [re.compile("a@b.co")]},
    "allow a pattern so": {"allow": [re.compile("a@b.co", re.IGNORECASE)]},
    "race": {"race": True},
    "stream": {"stage": "output", "stream": "window"},
    "cache": {"cache": VerdictCache()},
    "cache longer": {"cache": VerdictCache(ttl=1)},
    "breaker": {"breaker": Breaker(failures=1)},
    "no breaker": {"breaker": None},
    "active": {"active": False},
}


def digests() -> dict[str, str]:
    """The digest of each policy that differs from another by one option."""
    return {what: Guard(Guardrail(tone, **{"stage": "input", **options})).digest for what, options in OPTIONS.items()}


def test_every_option_of_a_rule_changes_the_digest() -> None:
    """No two policies that judge differently have the same digest."""
    found = digests()
    same: dict[str, list[str]] = {}
    for what, digest in found.items():
        same.setdefault(digest, []).append(what)
    assert [names for names in same.values() if len(names) > 1] == []


def test_a_digest_is_the_same_in_every_process(said_by_processes: Callable[[str], set[str]]) -> None:
    """Whatever the seed of its hashes."""
    assert len(said_by_processes("import test_policy; print(test_policy.digests())")) == 1


def test_secrets_are_not_in_a_digest() -> None:
    """A rule's description tells keys apart without holding them."""
    rule = Guardrail(tone, stage="input", action=Hash(key="my very secret key"))
    assert "secret" not in repr(rule.described())
    assert "secret" not in repr(rule)


def test_scorers_and_their_order_are_in_the_digest() -> None:
    """Another scorer, the same with other options, or another order of rules is another policy."""
    a, b = (Guardrail(Flags(name=name), stage="input") for name in "ab")
    found = [
        Guard(a, b).digest,
        Guard(b, a).digest,
        Guard(a).digest,
        Guard(Guardrail(pii(), stage="input")).digest,
        Guard(Guardrail(pii("EMAIL_ADDRESS"), stage="input")).digest,
        Guard(Monitor(tone)).digest,
        Guard(Monitor(tone, sample=0.5)).digest,
        Guard(Monitor(tone, on="every")).digest,
    ]
    assert len(set(found)) == len(found)
    assert Guard(a, b, queue=MonitorQueue(size=3)).digest == Guard(a, b).digest


# --- where -----------------------------------------------------------------------------------------------------------


def test_a_filter_that_raises_takes_the_call(caplog: pytest.LogCaptureFixture) -> None:
    """A guardrail is never skipped because of a mistake in its filter, and the log has no content."""

    def broken(call: Call) -> bool:
        raise KeyError(call.inputs["text"])

    guard = Guard(Guardrail(Returns(True, cheap=True), stage="input", where=broken))

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    with pytest.raises(GuardrailViolation):
        echo("private")
    assert "a filter of a guardrail failed (KeyError), so the guardrail applies" in caplog.text
    assert "private" not in caplog.text


def test_a_filter_keeps_a_rule_from_other_calls() -> None:
    """A rule with `where` judges the calls that match, in check(), ops and streams."""
    guard = Guard(
        Guardrail(Flags(when="bad", cheap=True, reach=3), stage="output", action="redact", where={"tenant.id": "acme"})
    )

    @guard.op
    def stream(text: str) -> Any:
        """Letter by letter."""
        yield from text

    assert "".join(stream("so bad")) == "so bad"
    assert guard.check("bad", stage="output").guarded == "bad"
    with guard.attributes(tenant__id="acme"):
        assert "".join(stream("so bad")) == "so <FAKE>"
        assert guard.check("bad", stage="output").guarded == "<FAKE>"


@pytest.mark.parametrize(
    ("roles", "judged"),
    [(["user"], ["u"]), (["system", "assistant"], ["s", "a"]), (None, ["u", "t"])],
)
def test_roles_say_whose_messages_are_judged(roles: Any, judged: list[str]) -> None:
    """A blocking rule judges what users and tools say, unless `roles` says otherwise."""
    fake = Returns(False, cheap=True)
    guard = Guard(Guardrail(fake, stage="input", roles=roles))
    flow = Flow(guard, Call("chat"))
    messages = [Message(role, role[0]) for role in ("system", "user", "assistant", "tool")]
    assert drive(flow.admit(messages), guard.workers) == ["s", "u", "a", "t"]
    assert fake.seen == judged
