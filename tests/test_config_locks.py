"""Locked rules: no file, tenant or variable removes or weakens one; making it stronger is always allowed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Mask, Score
from llmguard_middleware._actions import KEYED
from llmguard_middleware._call import Call
from llmguard_middleware._policy import Policy

BASE = """\
guardrails:
  - scorer: pii
    name: hidden
    stage: [input, output]
    action: {mask: {keep_last: 2}}
    allow: [a@b.com, {pattern: "x+"}]
    above: 1
    locked: true
  - scorer: secrets
    name: stopped
    stage: input
    roles: [user, system]
    where: {model: ["gpt-*", m], tenant.id: acme}
    below: 5
    locked: true
  - {scorer: pii, name: shadow, stage: output, action: log, timeout: 5, breaker: {failures: 3}, locked: true}
  - {scorer: prompt_injection, name: plain, stage: input, locked: true}
  - {scorer: pii, name: open, stage: input}
monitors:
  - {scorer: pii, name: watched, sample: 0.5, where: {operation: [chat, x]}, on: every, timeout: 9, locked: true}
"""


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch):
    """A base policy in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE)


@cache
def unchanged() -> Guard:
    """The guard of the base itself."""
    return Guard.from_config("base.yaml", environ={})


def effective(document: dict[str, Any], environ: dict[str, str] | None = None) -> Guard:
    """The guard of a file that extends the base."""
    Path("child.yaml").write_text(yaml.safe_dump({"extends": "base.yaml", **document}))
    return Guard.from_config("child.yaml", environ=environ or {})


WEAKER = [
    ("hidden", {"action": "log"}, "action log is weaker than mask"),
    ("hidden", {"action": {"mask": {"keep_last": 3}}}, "keep_last can be no more than 2"),
    ("hidden", {"action": "block"}, "role assistant, system would go"),
    ("hidden", {"above": 2}, "above can be no more than 1"),
    ("hidden", {"above": None}, "above can be no more than 1"),
    ("hidden", {"allow": ["a@b.com", "c@d.com"]}, "nothing can be added to allow, which is 1 longer"),
    ("hidden", {"stage": "input"}, "stage output would go"),
    ("hidden", {"roles": ["user"]}, "role assistant, system, tool would go"),
    ("hidden", {"where": {"model": "gpt-*"}}, 'where cannot ask for "model"'),
    ("hidden", {"on_error": "allow"}, "on_error cannot become allow"),
    ("hidden", {"active": False}, "it cannot be switched off"),
    ("hidden", {"locked": False}, "it cannot be unlocked"),
    ("hidden", {"scorer": "secrets"}, "scorer cannot be changed"),
    ("hidden", {"options": {"kinds": ["US_SSN"]}}, "options cannot be changed"),
    ("hidden", {"args": ["US_SSN"]}, "args cannot be changed"),
    ("stopped", {"action": "redact"}, "action redact is weaker than block"),
    ("stopped", {"action": "reask"}, "action reask is weaker than block"),
    ("stopped", {"below": 4}, "below can be no less than 5"),
    ("stopped", {"below": None}, "below can be no less than 5"),
    ("stopped", {"where": {"model": ["gpt-*"], "tenant.id": "acme"}}, 'where cannot leave out a value of "model"'),
    ("stopped", {"where": {"model": ["gpt-*", "m"], "x": 1}}, 'where cannot ask for "x"'),
    ("stopped", {"race": True}, "it cannot be made to race"),
    ("plain", {"above": 0.1}, "the scorer decides what is flagged; no threshold can be set"),
    ("plain", {"stage": "output", "stream": "window"}, "stage input would go"),
    ("shadow", {"timeout": 4}, "timeout can be no less than 5 while on_error is allow"),
    ("shadow", {"breaker": {"failures": 2}}, "breaker cannot open earlier or for longer while on_error is allow"),
    ("shadow", {"breaker": {"failures": 3, "cooldown": 60}}, "breaker cannot open earlier or for longer"),
    ("shadow", {"stream": "window"}, "stream cannot become window"),
    ("watched", {"sample": 0.4}, "sample can be no less than 0.5"),
    ("watched", {"on": "outermost"}, "on cannot become outermost"),
    ("watched", {"timeout": 8}, "timeout can be no less than 9"),
    ("watched", {"where": {"operation": "chat"}}, 'where cannot leave out a value of "operation"'),
]


def ways(rule: str, change: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """The same change by the file's own list, its overrides, a tenant and variables."""
    section = "monitors" if rule == "watched" else "guardrails"
    variables = {f"LLMGUARD__{rule.upper()}__{name.upper()}": json.dumps(v) for name, v in change.items()}
    tenants = {"attribute": "t", "acme": {"override": {rule: change}}}
    listed = {section: [{"name": rule, **change}]}
    return [
        (listed, {}),
        ({"override": {rule: change}}, {}),
        ({"tenants": tenants}, {}),
        ({"tenants": {"attribute": "t", "acme": listed}}, {}),
        ({}, variables),
    ]


@pytest.mark.parametrize(("rule", "change", "sentence"), WEAKER)
def test_a_locked_rule_cannot_be_weakened(rule, change, sentence):
    """Whoever tries, by file, tenant or variable, is told both places and what cannot be."""
    line = next(n for n, text in enumerate(BASE.splitlines(), 1) if f"name: {rule}" in text)
    locked = next(n for n, text in enumerate(BASE.splitlines(), 1) if n >= line and "locked" in text)
    for document, environ in ways(rule, change):
        with pytest.raises(ConfigurationError) as caught:
            effective(document, environ)
        found = [one for one in str(caught.value).splitlines() if sentence in one]
        assert len(found) == 1
        assert f'rule "{rule}" is locked in base.yaml:{locked}: {sentence}' in found[0]
        assert found[0].startswith("environment variable LLMGUARD__" if environ else "child.yaml:")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("hidden", {"action": "redact"}),
        ("hidden", {"action": "block", "roles": ["system", "user", "assistant", "tool"]}),
        ("hidden", {"action": {"hash": {"key_env": "KEY"}}}),
        ("hidden", {"above": 0.5, "below": -1}),
        ("hidden", {"allow": ["A@B.com"]}),
        ("hidden", {"stage": ["input", "output", "retrieval"]}),
        ("hidden", {"timeout": 0.5}),
        ("hidden", {"locked": True, "description": "x", "cache": {}}),
        ("stopped", {"where": None, "roles": ["user", "system", "tool"]}),
        ("stopped", {"where": {"model": ["m", "gpt-*", "n"]}}),
        ("shadow", {"timeout": 50, "breaker": False}),
        ("shadow", {"on_error": "block", "timeout": 1}),
        ("shadow", {"action": "pseudonymize"}),
        ("watched", {"sample": 1, "where": None, "timeout": 10}),
    ],
)
def test_a_locked_rule_can_be_made_stronger(rule, change):
    """What is at least as strong is accepted from everywhere."""
    for document, environ in ways(rule, change):
        effective(document, {**environ, "KEY": "0123456789abcdef"})


def test_a_locked_rule_cannot_be_disabled():
    """Neither the file nor a tenant removes it; both places are told."""
    for document, place in (
        ({"disable": ["hidden"]}, "child.yaml:2:3"),
        ({"tenants": {"attribute": "t", "acme": {"disable": ["hidden"]}}}, "child.yaml:5:7"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            effective(document)
        assert str(caught.value) == f'{place}: rule "hidden" is locked in base.yaml:8: it cannot be disabled'


def test_a_guard_with_a_locked_rule_stays_strict():
    """`unenforceable: warn` would let an adapter go on without it."""
    with pytest.raises(
        ConfigurationError, match=r"unenforceable cannot become warn: a rule is locked in base\.yaml:8$"
    ):
        effective({"unenforceable": "warn"})


def test_what_is_made_stronger_stays_so():
    """A tenant is held to the rule as the file has it, not to what the base had."""
    document = {
        "override": {"hidden": {"action": "redact"}},
        "tenants": {"attribute": "t", "acme": {"override": {"hidden": {"action": "hash"}}}},
    }
    document["tenants"]["acme"]["override"]["hidden"]["action"] = "mask"
    with pytest.raises(ConfigurationError, match="action mask is weaker than redact"):
        effective(document)


def test_a_rule_may_be_locked_by_the_file_that_extends():
    """A lock that a child adds holds for its tenants."""
    document = {
        "override": {"open": {"locked": True}},
        "tenants": {"attribute": "t", "acme": {"disable": ["open"]}},
    }
    with pytest.raises(ConfigurationError, match=r'rule "open" is locked in child\.yaml:4: it cannot be disabled'):
        effective(document)


# What a rule does, asked of the rules in force and not of what the files say.
RANK = {
    "block": 0,
    "reask": 1,
    "replace": 1,
    "redact": 2,
    "hash": 3,
    "encrypt": 4,
    "pseudonymize": 5,
    "mask": 6,
    "log": 7,
}
CALLS = [
    Call(operation, model=model, attributes={"tenant.id": tenant, "x": x} if tenant else {})
    for operation in ("chat", "x", "other")
    for model in ("gpt-5", "m", "other")
    for tenant in ("acme", "beta", "")
    for x in (1, True)
]
SCORES = [Score(value=v, flagged=f) for v in (-2.0, 0.0, 0.5, 1.0, 1.5, 2.5, 4.5, 5.5) for f in (True, False)]
TEXTS = ["a@b.com", "A@B.COM", "c@d.com", "x", "xx", "y"]


def flags(rule: Guardrail, score: Score, text: str) -> bool:
    """Whether the rule acts on a text with this score."""
    flagged = rule.condition.flags(score, "") if rule.condition else bool(score.flagged)
    return flagged and not (rule.allowed and not rule.allowed.without(Score(value=1.0, flagged=True), text).flagged)


def assert_as_strong(old: Guardrail, policy: Policy) -> None:
    """There is one rule in the policy that stands for the old one, and it lets nothing pass that the old one stops."""
    name = old.name.removesuffix(f"-{old.stage}")
    (new,) = [
        r for r in policy.guardrails if r.stage == old.stage and r.name in (old.name, name, f"{name}-{old.stage}")
    ]
    assert new.bound.described == old.bound.described
    assert RANK[new.action] <= RANK[old.action]
    if isinstance(new.remedy, Mask) and isinstance(old.remedy, Mask):
        assert new.remedy.keep_last <= old.remedy.keep_last
    assert new.on_error == "block" or old.on_error == "allow"
    if new.on_error == "allow":
        assert new.timeout >= old.timeout
        assert new.breaker is None or (old.breaker and new.breaker.failures >= old.breaker.failures)
        assert new.breaker is None or (old.breaker and new.breaker.cooldown <= old.breaker.cooldown)
    assert not new.race or old.race
    assert new.stream == "hold" or old.stream == "window"
    for call in CALLS:
        if old.filter is None or old.filter(call):
            assert new.filter is None or new.filter(call)
    for role in ("system", "user", "assistant", "tool"):
        assert old.stage != "input" or new.covers(role) or not old.covers(role)
    for score in SCORES:
        for text in TEXTS:
            assert flags(new, score, text) or not flags(old, score, text)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "scorer": st.sampled_from(["pii", "secrets"]),
    "options": st.sampled_from([{}, {"kinds": ["US_SSN"]}]),
    "args": st.sampled_from([[], ["US_SSN"]]),
    "stage": st.sampled_from(["input", "output", "retrieval", ["input"], ["output", "input"], ["input", "tool_call"]]),
    "action": st.sampled_from(
        [*(word for word in RANK if word not in KEYED), *({word: {"key_env": "KEY"}} for word in KEYED)]
        + [{"mask": {"keep_last": n}} for n in (0, 2, 4)]
        + [{"pseudonymize": {"restore_tools": True}}]
    ),
    "above": st.sampled_from([None, -1, 0.5, 1, 2, 9]),
    "below": st.sampled_from([None, -1, 2, 5, 9]),
    "on_error": st.sampled_from(["block", "allow"]),
    "timeout": st.sampled_from([1, 5, 10, 20]),
    "roles": st.none() | st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, unique=True),
    "where": st.none()
    | st.dictionaries(
        st.sampled_from(["model", "tenant.id", "operation", "x"]),
        st.lists(st.sampled_from(["gpt-*", "m", "acme", "chat", "x", 1, True]), min_size=1) | st.just("acme"),
        min_size=1,
    ),
    "allow": st.lists(st.sampled_from(["a@b.com", "A@B.com", "c@d.com", {"pattern": "x+"}, {"pattern": "y"}])),
    "race": st.booleans(),
    "stream": st.sampled_from(["hold", "window"]),
    "cache": st.sampled_from([False, {}]),
    "breaker": st.sampled_from([False, {}, {"failures": 1}, {"failures": 3}, {"failures": 9, "cooldown": 90}]),
    "active": st.booleans(),
    "locked": st.booleans(),
    "description": st.just("x"),
    "sample": st.sampled_from([0, 0.5, 1]),
    "on": st.sampled_from(["every", "outermost"]),
}
NAMES = ["hidden", "stopped", "shadow", "plain", "open", "watched"]
changes = st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)
overrides = st.dictionaries(st.sampled_from(NAMES), changes, max_size=2)
listed = st.lists(st.builds(lambda name, change: {"name": name, **change}, st.sampled_from(NAMES), changes), max_size=2)
sometimes = st.sampled_from([[], [], [], ["open"], ["hidden"], ["watched"]])
part = st.fixed_dictionaries({}, optional={"disable": sometimes, "override": overrides, "guardrails": listed})
TELLING = ["stage", "action", "above", "below", "on_error", "timeout", "roles", "where", "allow", "stream", "breaker"]
one_field = st.tuples(st.sampled_from(NAMES[:4]), st.sampled_from(TELLING)).flatmap(
    lambda chosen: FIELDS[chosen[1]].map(lambda value: {"override": {chosen[0]: {chosen[1]: value}}})
)
documents = (
    one_field
    | one_field
    | st.builds(
        lambda own, acme, defaults, warn: {
            **own,
            "tenants": {"attribute": "t", "acme": acme},
            **({"defaults": defaults} if defaults else {}),
            **({"unenforceable": "warn"} if warn else {}),
        },
        part,
        part,
        st.none() | st.just({"on_error": "allow", "timeout": 1, "breaker": {"failures": 1}}),
        st.sampled_from([False, False, False, True]),
    )
)
variables = st.dictionaries(
    st.sampled_from([(name, field) for name in NAMES for field in FIELDS]), st.integers(0, 99), max_size=1
)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@settings(deadline=None, max_examples=200)
@given(document=documents, environ=variables, data=st.data())
def test_no_document_weakens_a_locked_rule(document, environ, data):
    """Whatever a child, its tenants and variables say, it is refused or every locked rule is as strong as before."""
    before = unchanged()
    given_variables = {
        f"LLMGUARD__{name.upper()}__{field.upper()}": json.dumps(data.draw(FIELDS[field])) for name, field in environ
    }
    try:
        after = effective(document, {**given_variables, "KEY": "0123456789abcdef"})
    except ConfigurationError:
        return
    assert after.unenforceable == "raise"
    acme = after.policy_for(Call("chat", attributes={"t": "acme"}))
    for policy in (after.policy, acme):
        for old in before.guardrails:
            if old.name != "open":
                assert_as_strong(old, policy)
        (monitor,) = [one for one in policy.monitors if one.name == "watched"]
        (old_monitor,) = before.monitors
        assert monitor.active
        assert monitor.sample >= old_monitor.sample
        assert monitor.on == "every"
        assert monitor.timeout >= old_monitor.timeout
        assert all(monitor.matches is None or monitor.matches(c) for c in CALLS if old_monitor.matches(c))
