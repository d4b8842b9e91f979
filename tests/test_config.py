"""guard.yaml: what a file makes, and that every mistake in it is told at its place."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from llmguard_middleware import (
    Breaker,
    ConfigurationError,
    Encrypt,
    Guard,
    Guardrail,
    Hash,
    Mask,
    Monitor,
    MonitorQueue,
    Replace,
    VerdictCache,
    scorers,
)
from llmguard_middleware._call import Call
from llmguard_middleware.config import explain
from llmguard_middleware.scorers import pii, prompt_injection, secrets

EXAMPLE = Path(__file__).parents[1] / "examples/guard.yaml"
KEY = "0123456789abcdef-secret"

WHOLE = """
version: 1
name: support-bot
unenforceable: warn
refusal: Sorry.
queue: {size: 7, drop: oldest}
defaults: {timeout: 5, on_error: block}
guardrails:
  - scorer: pii
    options: {kinds: [EMAIL_ADDRESS]}
    name: pii-input
    stage: input
    action: {mask: {keep_last: 4}}
    where: {tenant.id: [acme]}
    allow: ["help@example.com", {pattern: "^test-.*"}]
    roles: [user]
    cache: {size: 10, ttl: 60}
    breaker: {failures: 2}
    description: Addresses never reach the model
    locked: true
  - {scorer: secrets, stage: [output, tool_call], action: {hash: {key_env: KEY}}, breaker: false, timeout: 1}
  - {scorer: prompt_injection, stage: input, above: 0.5, race: true}
  - {scorer: pii, name: shadow, args: [CREDIT_CARD, US_SSN], stage: output, action: log, active: false}
monitors:
  - {scorer: prompt_injection, name: late, sample: 0.1, where: {operation: chat}, on: every}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files into the current folder, which is empty, and say what the first is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files: str) -> str:
        for name, text in files.items():
            Path(name.replace("__", ".")).write_text(text, encoding="utf-8")
        return next(iter(files)).replace("__", ".")

    return write


TENANTS = {"attribute": "t", "acme": {}}


def problems(file, environ=None):
    """The lines of the error that this file makes."""
    with pytest.raises(ConfigurationError) as caught:
        Guard.from_config(file, environ=environ or {})
    return str(caught.value).splitlines()


def test_a_file_makes_the_guard_that_the_same_words_in_python_make(write):
    """Every key of the file is the option of the same name: the rules have the same digest as those built by hand."""
    guard = Guard.from_config(write(guard__yaml=WHOLE), environ={"KEY": KEY})
    common = {"timeout": 5, "on_error": "block"}
    by_hand = Guard(
        Guardrail(
            pii("EMAIL_ADDRESS"),
            name="pii-input",
            stage="input",
            action=Mask(keep_last=4),
            where={"tenant.id": ["acme"]},
            allow=["help@example.com", re.compile("^test-.*")],
            roles=["user"],
            cache=VerdictCache(10, 60),
            breaker=Breaker(2),
            **common,
        ),
        Guardrail(secrets(), name="secrets-output", stage="output", action=Hash(KEY), breaker=None, timeout=1),
        Guardrail(secrets(), name="secrets-tool_call", stage="tool_call", action=Hash(KEY), breaker=None, timeout=1),
        Guardrail(prompt_injection(), stage="input", above=0.5, race=True, **common),
        Guardrail(pii("CREDIT_CARD", "US_SSN"), name="shadow", stage="output", action="log", active=False, timeout=5),
        Monitor(prompt_injection(), name="late", sample=0.1, where={"operation": "chat"}, on="every"),
    )
    assert guard.digest == by_hand.digest
    assert (guard.name, guard.unenforceable, guard.refusal) == ("support-bot", "warn", "Sorry.")
    first = guard.guardrails[0]
    assert (first.cache, first.breaker, first.description) == (
        VerdictCache(10, 60),
        Breaker(2),
        "Addresses never reach the model",
    )
    assert [rule.breaker for rule in guard.guardrails[1:]] == [None, None, Breaker()]


def test_options_of_the_program_win_over_the_file(write, telemetry):
    """What from_config is given goes to Guard, in place of what the file says."""
    file = write(guard__yaml=WHOLE)
    guard = Guard.from_config(file, environ={"KEY": KEY}, name="mine", **telemetry.providers)
    with guard.bypass(reason="a test"):
        pass
    assert "mine" in str(telemetry.records)
    assert (guard.name, guard.refusal) == ("mine", "Sorry.")


def test_encrypt_is_told_where_its_key_is(write):
    """As hash is; a key in the file itself is refused, and the words for people say what becomes of a text."""
    rule = {"scorer": "pii", "stage": "input", "action": {"encrypt": {"key_env": "KEY"}}}
    guard = Guard.from_config({"guardrails": [rule]}, environ={"KEY": KEY[:16]})
    assert guard.guardrails[0].remedy == Encrypt(key=KEY[:16])
    assert Encrypt(key=KEY[:16]).decrypt(guard.check("to a@b.com", stage="input").guarded) == "to a@b.com"
    assert "encrypted as" in explain({"guardrails": [rule]}, environ={"KEY": KEY[:16]})
    for action, sentence in (
        ("encrypt", "encrypt needs a secret key; write encrypt: with key_env: NAME below it"),
        ({"encrypt": {"key": KEY}}, "a key does not belong into a file"),
        ({"encrypt": {"key_env": "NOPE"}}, "environment variable NOPE, which holds the key of encrypt, is not set"),
        ({"encrypt": {"key_env": "KEY"}}, 'action "encrypt" needs a secret key of 16, 24 or 32 bytes'),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            Guard.from_config({"guardrails": [{**rule, "action": action}]}, environ={"KEY": KEY})


def test_a_mapping_is_a_file_without_a_file():
    """A dict of the same shape makes the same guard; its mistakes are told by their path."""
    guard = Guard.from_config({"guardrails": [{"scorer": "pii", "stage": "input", "action": "redact"}]}, environ={})
    assert guard.check("a@b.com", stage="input").guarded == "<EMAIL_ADDRESS>"
    assert problems({"guardrails": [{"scorer": "pii", "stage": "inptu"}]}) == [
        (
            'guardrails[0].stage: unknown stage "inptu": did you mean "input"? '
            "Known: input, output, retrieval, tool_call, tool_result, embedding"
        )
    ]
    with pytest.raises(ConfigurationError, match="a configuration is a path or a mapping, and this is of type int"):
        Guard.from_config(7)


def test_scorers_of_ones_own_are_named_by_their_path(write):
    """`package.module:attribute` is a scorer, or what makes one of `args` and `options`; `*kinds` may be an option."""
    write(
        own_scorers__py="""
def long(text: str): return {"value": len(text), "flagged": len(text) > 3}
def words(*words, loud=False):
    def has_word(text: str): return {"flagged": any(w in text for w in words) and loud}
    return has_word
""",
        guard__yaml="""
guardrails:
  - {scorer: "own_scorers:long", stage: input}
  - {scorer: "own_scorers:words", name: one, stage: output, args: [bad], options: {loud: true}}
  - {scorer: "own_scorers:words", name: two, stage: retrieval, options: {words: [worse], loud: true}}
""",
    )
    guard = Guard.from_config("guard.yaml", environ={})
    assert [rule.name for rule in guard.guardrails] == ["long", "one", "two"]
    assert guard.check("long", stage="input").outcome == "blocked"
    assert guard.check("a bad word", stage="output").outcome == "blocked"
    assert guard.check("a worse word", stage="retrieval").outcome == "blocked"
    assert guard.check("a bad word", stage="retrieval").outcome == "passed"


def test_yaml_is_read_as_version_1_2(write):
    """`on` is a key, not true; yes, 1:30 and 010 are texts; anchors and merge keys work."""
    guard = Guard.from_config(
        write(
            guard__yaml="""
guardrails:
  - &pii {scorer: pii, name: a, stage: input, where: {x: [yes, 010, 1:30, 2001-01-01]}}
  - {<<: *pii, name: b}
monitors: [{scorer: prompt_injection, on: every}]
"""
        ),
        environ={},
    )
    assert [dict(rule.where) for rule in guard.guardrails] == [{"x": ["yes", "010", "1:30", "2001-01-01"]}] * 2
    assert guard.monitors[0].on == "every"


def test_all_mistakes_are_listed_in_order_each_at_its_place(write):
    """One error lists every problem as file:line:column: sentence, in the order of the file, with the nearest name."""
    file = write(
        guard__yaml="""\
nmae: x
guardrails:
  - scorer: pii
    stage: inputt
    action: redcat
    above: high
    roles: [usr]
    onerror: block
  - {scorer: pi, name: b, stage: input, timeout: 0}
  - {scorer: pii, name: b, stage: input}
  - {scorer: "no_such:thing", stage: input}
  - {scorer: pii, name: "no good!", stage: input}
  - {scorer: pii, name: c, stage: output, race: true}
  - {scorer: pii, name: d, stage: output, options: {kinds: [EMAIL]}}
  - {scorer: pii, name: e}
  - {name: f, stage: input}
  - {scorer: pii, name: g, stage: input, allow: [{pattern: "("}]}
  - {scorer: pii, name: h, stage: input, action: hash}
  - {scorer: pii, name: i, stage: input, action: {mask: {}, redact: {}}}
  - 5
monitors:
  - {scorer: pii, name: b}
  - {scorer: pii, name: m, sample: 2, above: 1}
tenants:
  acme: {override: {bb: {action: redact}, m: {sample: 0.5}}}
"""
    )
    known_files = "defaults, disable, extends, guardrails, monitors, name, override, queue, refusal, tenants,"
    known_rule = (
        "above, action, active, allow, args, below, breaker, cache, description, locked, name, on_error, options, race,"
    )
    assert problems(file) == [
        f'guard.yaml:1:1: unknown key "nmae": did you mean "name"? Known: {known_files} unenforceable, version',
        (
            'guard.yaml:4:12: unknown stage "inputt": did you mean "input"? '
            "Known: input, output, retrieval, tool_call, tool_result, embedding"
        ),
        (
            'guard.yaml:5:13: unknown action "redcat": did you mean "redact"? '
            "Known: block, redact, mask, hash, encrypt, pseudonymize, replace, reask, log"
        ),
        'guard.yaml:6:12: above is "high"; give a number',
        'guard.yaml:7:13: unknown roles "usr": did you mean "user"? Known: system, user, assistant, tool',
        (
            f'guard.yaml:8:5: unknown key "onerror": did you mean "on_error"? Known: {known_rule} '
            "roles, scorer, stage, stream, timeout, where"
        ),
        (
            'guard.yaml:9:14: no scorer is registered as "pi"; give one of these or "package.module:attribute": '
            'did you mean "pii"? '
            f"Known: {', '.join(sorted(set(scorers.__all__) - {'judges', 'load'}))}"
        ),
        "guard.yaml:9:50: timeout is 0; give a number greater than 0.0",
        (
            'guard.yaml:10:5: two rules are called "b", this one and that in guard.yaml:9; '
            'give one of them another name, for example "b-2"'
        ),
        (
            'guard.yaml:11:14: scorer "no_such:thing" cannot be imported: ModuleNotFoundError '
            '(there is no module "no_such"); write "package.module:attribute"'
        ),
        (
            'guard.yaml:12:25: rule name "no good!" is not usable: start with a letter or digit and use letters, '
            'digits, "-" and "_" only, for example name="no-good"'
        ),
        'guard.yaml:13:49: race=True of rule "c" is for block and log at the input stage: the model has read the text',
        (
            'guard.yaml:14:52: pii() knows no kind "EMAIL": '
            "Known: EMAIL_ADDRESS, KR_RRN, KR_FRN, CREDIT_CARD, US_SSN, US_ITIN, KR_BRN, KR_DRIVER_LICENSE, "
            "BANK_ACCOUNT, PHONE_NUMBER, IBAN_CODE, PASSPORT, US_DRIVER_LICENSE, DATE_OF_BIRTH, IP_ADDRESS, "
            "MAC_ADDRESS, URL_CREDENTIALS, CRYPTO"
        ),
        'guard.yaml:15:5: guardrail "e" has no "stage"; give one or a list',
        'guard.yaml:16:5: rule "f" has no "scorer"',
        (
            'guard.yaml:17:60: pattern is "("; give a regular expression '
            "(missing ), unterminated subpattern at position 0)"
        ),
        "guard.yaml:18:50: hash needs a secret key; write hash: with key_env: NAME below it",
        "guard.yaml:19:50: action is a mapping; give one action, such as mask: with keep_last: 4 below it",
        "guard.yaml:20:5: guardrails is 5; give a mapping",
        (
            'guard.yaml:22:5: two rules are called "b", this one and that in guard.yaml:9; '
            'give one of them another name, for example "b-2"'
        ),
        "guard.yaml:23:36: sample is 2; give a number that is 1.0 or less",
        (
            'guard.yaml:23:39: unknown key "above": Known: active, args, batch_size, batch_wait, '
            "description, locked, name, on, options, sample, scorer, timeout, where"
        ),
        'guard.yaml:24:1: tenants need "attribute": the call attribute that tells them apart',
        'guard.yaml:25:21: there is no rule "bb": did you mean "b"? Known: pii, b, thing, c, d, e, f, g, h, i, m',
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", 'guard.yaml:1:1: is empty; begin with "version: 1"'),
        ("- a\n", 'guard.yaml:1:1: holds no mapping; begin with "version: 1"'),
        ("a: [1\nb: 2\n", "guard.yaml:2:2: is not YAML: expected ',' or ']', but got ':'"),
        ("a: 1\n---\nb: 2\n", "guard.yaml:2:1: is not YAML: but found another document"),
        ("name: a\nname: b\n", 'guard.yaml:2:1: key "name" is here twice; the other is in line 1'),
        ("name: !!python/name:os.system x\n", "has the tag tag:yaml.org,2002:python/name:os.system, which is not"),
        ("name: &a [*a]\n", "guard.yaml:1:7: holds itself"),
        ("? [a]\n: b\n", "guard.yaml:1:3: a key must be a word"),
        ("version: 2\n", "guard.yaml:1:10: version is 2; give 1"),
        ("name: '${NOPE}'\n", "guard.yaml:1:7: environment variable NOPE is not set; set it or write ${NOPE:-default}"),
        (
            "name: '${'\n",
            "guard.yaml:1:7: has a ${ that is no variable; write ${NAME}, ${NAME:-default}, or $${ for ${",
        ),
        ("extends: nowhere.yaml\n", 'guard.yaml:1:10: cannot be read: there is no file "nowhere.yaml"'),
        ("extends: guard.yaml\n", "guard.yaml:1:10: extends goes round in a circle: guard.yaml -> guard.yaml"),
        ("disable: [pii]\n", 'guard.yaml:1:11: there is no rule "pii": there are none to change'),
        ("1: 2\n", "guard.yaml:1:1: key 1 is no text; put it in quotes"),
        (
            "guardrails: [{scorer: pii, stage: input, where: {1: 2}}]\n",
            "guard.yaml:1:50: key 1 is no text; put it in quotes",
        ),
        (
            "guardrails: [{scorer: pii, stage: input, action: {hash: {key: abcdefghijklmnopqrst}}}]\n",
            "guard.yaml:1:58: a key does not belong into a file; put it into an environment variable and name that",
        ),
        (
            "guardrails: [{scorer: pii, stage: input, action: {hash: {key_env: NOPE}}}]\n",
            "guard.yaml:1:50: environment variable NOPE, which holds the key of hash, is not set",
        ),
        (
            "guardrails: [{scorer: pii, name: a, stage: [input]}, {scorer: pii, name: a-input, stage: input}]\n",
            'two rules are called "a-input", this one and that in guard.yaml:1',
        ),
        (
            "guardrails: [{scorer: 'ends:it', stage: input}]",
            'guard.yaml:1:23: scorer "ends:it" cannot be imported: its module ends the program',
        ),
        (
            "guardrails: [{scorer: 'fails:make', stage: input, options: {key: abc}}]",
            'guard.yaml:1:23: scorer "fails:make" cannot be made: RuntimeError',
        ),
        (
            "guardrails: [{scorer: pii, stage: input}]\ntenants: {attribute: a, b: {override: {pii: {sample: 1}}}}\n",
            'guard.yaml:2:54: guardrail "pii" has no "sample": did you mean "name"?',
        ),
    ],
)
def test_a_mistake_is_one_sentence_at_its_place(write, text, sentence):
    """YAML that is none, missing files, keys in a file and scorers that fail are told with their place."""
    write(ends__py="raise SystemExit(3)\n", fails__py="def make(key): raise RuntimeError(key)\n")
    found = problems(write(guard__yaml=text))
    assert len(found) == 1
    assert sentence in found[0]
    assert "abc" not in found[0]


def test_a_file_that_is_missing_or_no_text_is_one_sentence(write):
    """A missing file, a folder and bytes that are no UTF-8 are told, not raised as they come."""
    assert problems("missing.yaml") == ['missing.yaml: cannot be read: there is no file "missing.yaml"']
    assert problems(".") == [".: cannot be read: .: Is a directory"]
    Path("latin.yaml").write_bytes("name: x\nrefusal: é\n".encode("latin-1"))
    assert problems("latin.yaml") == ["latin.yaml:2:1: is not UTF-8; save the file in that encoding"]


def test_what_came_from_the_environment_is_never_quoted(write):
    """A value that a variable gave is told by the name of the variable."""
    file = write(guard__yaml="guardrails: [{scorer: pii, stage: '${STAGE}', timeout: '${TIME}'}]\n")
    found = problems(file, {"STAGE": "hunter2", "TIME": "hunter3"})
    assert found == [
        (
            "guard.yaml:1:35: unknown stage the value of ${STAGE}: "
            "Known: input, output, retrieval, tool_call, tool_result, embedding"
        ),
        "guard.yaml:1:56: timeout is the value of ${TIME}; give a number",
    ]


def test_variables_are_filled_in(write):
    """${NAME} and ${NAME:-default} are read as YAML unless quoted; an empty variable has its default; $${ is ${."""
    guard = Guard.from_config(
        write(
            guard__yaml="""
name: ${NAME}
refusal: "${EMPTY:-no} $${x} ${NUMBER}"
guardrails:
  - scorer: pii
    stage: input
    timeout: ${NUMBER:-5}
    where: {}
""".replace("    where: {}\n", "")
        ),
        environ={"NAME": "bot", "NUMBER": "2.5", "EMPTY": ""},
    )
    assert (guard.name, guard.refusal, guard.guardrails[0].timeout) == ("bot", "no ${x} 2.5", 2.5)


def test_a_variable_overrides_a_field_of_a_rule(write):
    """LLMGUARD__RULE__FIELD wins over the file and its tenants; the value is YAML and is not filled in again."""
    file = write(
        guard__yaml="""
guardrails: [{scorer: pii, name: pii-input, stage: input, action: block}]
tenants: {attribute: t, acme: {override: {pii-input: {action: log}}}}
"""
    )
    guard = Guard.from_config(
        file,
        environ={
            "LLMGUARD__PII_INPUT__ACTION": "{replace: {text: 'no ${x}'}}",
            "LLMGUARD__PII_INPUT__ON_ERROR": "allow",
            "LLMGUARD": "x",
        },
    )
    assert guard.guardrails[0].remedy == Replace("no ${x}")
    assert guard.guardrails[0].on_error == "allow"
    with guard.attributes(t="acme"):
        assert guard.check("a@b.com", stage="input").guarded == "no ${x}"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("LLMGUARD__PIII__ACTION", "log", 'there is no rule "PIII": did you mean "PII"? Known: PII, A_B'),
        ("LLMGUARD__PII__ACTIN", "log", 'there is no field "ACTIN": did you mean "ACTION"? Known: ABOVE, ACTION,'),
        ("LLMGUARD__PII__NAME", "x", 'there is no field "NAME": Known: ABOVE'),
        ("LLMGUARD__PII", "log", "names no field; write LLMGUARD__<RULE>__<FIELD>"),
        ("LLMGUARD__PII__ACTION", "lgo", 'unknown action "lgo": did you mean "log"?'),
        ("LLMGUARD__PII__ROLES", "[a", "its value is not YAML"),
        ("LLMGUARD__A_B__ACTION", "log", "may mean any of a-b, a_b; give them names that differ more"),
    ],
)
def test_a_variable_that_fits_nothing_is_named(write, variable, value, sentence):
    """An override of no rule or field, or with a wrong value, is an error with the variable's name."""
    file = write(
        guard__yaml="""
guardrails:
  - {scorer: pii, stage: input}
  - {scorer: pii, name: a-b, stage: input}
  - {scorer: pii, name: a_b, stage: input}
"""
    )
    (found,) = problems(file, {variable: value})
    assert found.startswith(f"environment variable {variable}: {sentence}")


def test_a_base_policy_is_extended(write):
    """Files chain; a rule of the same name changes field by field; others are added; disable removes; defaults last."""
    Path("sub").mkdir()
    Path("sub/base.yaml").write_text(
        """
defaults: {timeout: 3}
name: base
guardrails:
  - {scorer: pii, stage: input, action: redact, above: 0.5}
  - {scorer: secrets, stage: input}
"""
    )
    Path("sub/middle.yaml").write_text("extends: base.yaml\nguardrails: [{name: pii, action: mask, above: null}]\n")
    guard = Guard.from_config(
        write(
            guard__yaml="""
extends: sub/middle.yaml
name: mine
disable: [secrets]
override: {pii: {timeout: 9}}
guardrails: [{scorer: secrets, name: late, stage: output}]
"""
        ),
        environ={},
    )
    assert [(rule.name, rule.action, rule.above, rule.timeout) for rule in guard.guardrails] == [
        ("pii", "mask", None, 9),
        ("late", "block", None, 3),
    ]
    assert guard.name == "mine"


def test_mistakes_of_a_base_and_circles_are_told_by_file(write):
    """A base's own mistakes are told with its name, and a circle with all that are in it."""
    write(a__yaml="extends: b.yaml\nnmae: x\n", b__yaml="extends: a.yaml\nnaem: x\n")
    found = problems("a.yaml")
    assert found[0].startswith('a.yaml:2:1: unknown key "nmae"')
    assert found[1] == "b.yaml:1:10: extends goes round in a circle: a.yaml -> b.yaml -> a.yaml"
    assert found[2].startswith('b.yaml:2:1: unknown key "naem"')


def test_a_name_stays_of_one_kind(write):
    """A monitor that is called like a guardrail of the base is a mistake, not a change of it."""
    write(base__yaml="guardrails: [{scorer: pii, stage: input}]\n")
    assert problems(write(guard__yaml="extends: base.yaml\nmonitors: [{scorer: pii}]\n")) == [
        'guard.yaml:2:12: "pii" is a guardrail in base.yaml:1, no monitor'
    ]


def test_tenants_have_rules_of_their_own(write):
    """A call whose attribute names a tenant is judged by that tenant's rules, every other by the common ones."""
    guard = Guard.from_config(
        write(
            guard__yaml="""
guardrails:
  - {scorer: pii, stage: input, action: redact}
  - {scorer: secrets, stage: output}
tenants:
  attribute: tenant.id
  acme:
    disable: [secrets]
    override: {pii: {action: block}}
    guardrails: [{scorer: pii, name: more, stage: output, action: redact}]
    monitors: [{scorer: prompt_injection, name: theirs}]
"""
        ),
        environ={},
    )
    mail, key = "a@b.com", "AKIAIOSFODNN7EXAMPLE"
    common = [guard.check(mail, stage="input"), guard.check(mail, stage="output"), guard.check(key, stage="output")]
    with guard.attributes(tenant__id="acme"):
        acme = [guard.check(mail, stage="input"), guard.check(mail, stage="output"), guard.check(key, stage="output")]
    assert [verdict.outcome for verdict in common] == ["redacted", "passed", "blocked"]
    assert [verdict.outcome for verdict in acme] == ["blocked", "redacted", "passed"]
    assert len({verdict.digest for verdict in common}) == len({verdict.digest for verdict in acme}) == 1


def test_a_tenants_monitors_score_that_tenants_calls_only(write):
    """A monitor that one tenant adds never sees the call of another, and sees what that tenant's guardrails left."""
    write(
        seen_texts__py="""
seen = []
def saw(output: str):
    seen.append(output)
    return 1.0
""",
        guard__yaml="""
tenants:
  attribute: t
  acme:
    guardrails: [{scorer: pii, stage: output, action: redact}]
    monitors: [{scorer: "seen_texts:saw"}]
""",
    )
    guard = Guard.from_config("guard.yaml", environ={})
    for tenant in ("other", "acme"):
        call = Call("chat", output=f"{tenant} a@b.com", answered=True, attributes={"t": tenant})
        guard.observe(call, policy=guard.policy_for(call))
    assert guard.flush() == 0
    assert sys.modules["seen_texts"].seen == ["acme <EMAIL_ADDRESS>"]


def test_the_example_is_fine():
    """examples/guard.yaml makes a guard that redacts, and blocks for the tenant who wants that."""
    guard = Guard.from_config(EXAMPLE, environ={})
    assert guard.check("a@b.com", stage="input").guarded == "<EMAIL_ADDRESS>"
    with guard.attributes(tenant__id="acme"):
        assert guard.check("a@b.com", stage="input").outcome == "blocked"


def bomb(levels, merged=False):
    """A file of a few hundred bytes whose aliases stand for 9 ** levels values."""
    names = "abcdefghijkl"[: levels + 1]
    lines = ["a: &a {k: 1}" if merged else "a: &a [x]"]
    for before, name in pairwise(names):
        nine = ", ".join([f"*{before}"] * 9)
        lines.append(f"{name}: &{name} " + (f"{{<<: [{nine}]}}" if merged else f"[{nine}]"))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("merged", [False, True])
def test_aliases_that_stand_for_too_much_are_a_mistake(write, merged):
    """A file of a few hundred bytes that would fill the memory is refused while it is read."""
    found = problems(write(guard__yaml=bomb(11, merged=merged)))
    told = "is not YAML: merges too much" if merged else "repeats more than 10,000 values by aliases; write them out"
    assert [line for line in found if told in line]


def test_aliases_within_reason_are_fine(write):
    """What is named once and used in several rules is what aliases are for."""
    text = "guardrails:\n- &a {scorer: pii, stage: input, where: &w {model: [a, b]}}\n"
    text += "".join(f"- {{<<: *a, name: n{n}, where: *w}}\n" for n in range(100))
    assert len(Guard.from_config(write(guard__yaml=text), environ={}).guardrails) == 101


@pytest.mark.parametrize("given", [{}, {"version": 1}, {"guardrails": [], "monitors": []}, {"tenants": TENANTS}])
def test_a_configuration_without_a_rule_is_a_mistake(given):
    """A guard that guards nothing is no guard."""
    assert problems(given) == ['config: has no rule; list some under "guardrails" or "monitors"']


def test_a_queue_is_built(write):
    """`queue` is a MonitorQueue."""
    guard = Guard.from_config(
        write(guard__yaml="queue: {size: 2, drop: oldest}\nmonitors: [{scorer: pii}]\n"), environ={}
    )
    assert guard.source.current.options == {"queue": MonitorQueue(2, "oldest")}


def test_only_from_config_loads_pydantic_and_yaml():
    """Importing the package loads neither pydantic nor PyYAML; from_config does."""
    program = """
import sys, llmguard_middleware, llmguard_middleware.cli
print([name for name in ("pydantic", "yaml") if name in sys.modules])
llmguard_middleware.Guard.from_config({"monitors": [{"scorer": "pii"}]})
print([name for name in ("pydantic", "yaml") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n['pydantic', 'yaml']\n", "")
