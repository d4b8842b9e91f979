"""Hot reload: the rules follow the file, all at once, and a bad file changes nothing."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
import weakref
from pathlib import Path

import pytest

from llmguard_middleware import ConfigurationError, Guard, Guardrail
from llmguard_middleware._policy import Policy
from llmguard_middleware.config import watch
from llmguard_middleware.config._reload import _poll
from llmguard_middleware.scorers import pii

REDACT = "guardrails: [{scorer: pii, stage: input, action: redact}]\n"
BLOCK = "guardrails: [{scorer: pii, stage: input, action: block}, {scorer: secrets, stage: input}]\n"
HOUR = 3600.0  # between looks of the thread: these tests look themselves
MAIL = "a@b.com"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """guard.yaml in the current folder, which redacts."""
    monkeypatch.chdir(tmp_path)
    path = Path("guard.yaml")
    path.write_text(REDACT)
    return path


def outcome(guard):
    """What becomes of a mail address."""
    return guard.check(MAIL, stage="input").outcome


def test_new_rules_are_in_force_at_once(file):
    """A changed file is in force at the next look; the same content again is no change."""
    guard = Guard.from_config(file, environ={})
    with watch(guard, file, HOUR) as watching:
        assert not watching.check_now()
        file.write_text(BLOCK)
        assert (watching.check_now(), outcome(guard)) == (True, "blocked")
        file.write_text(BLOCK + "# a comment\n")
        assert not watching.check_now()
        os.utime(file, (1, 1))
        assert not watching.check_now()


def test_a_bad_file_changes_nothing(file, caplog):
    """The old rules stay, the error says why, one line is logged, and the next good file is taken."""
    guard = Guard.from_config(file, environ={})
    with watch(guard, file, HOUR) as watching, caplog.at_level(logging.ERROR, "llmguard.config"):
        file.write_text("guardrails: [{scorer: pii, stage: inptu}]\n")
        assert (watching.check_now(), watching.check_now(), outcome(guard)) == (False, False, "redacted")
        assert str(watching.error).startswith('guard.yaml:1:35: unknown stage "inptu": did you mean "input"?')
        assert len(caplog.records) == 1
        file.unlink()
        assert (watching.check_now(), outcome(guard)) == (False, "redacted")
        file.write_text(BLOCK)
        assert (watching.check_now(), watching.error, outcome(guard)) == (True, None, "blocked")


def test_the_rules_of_before_come_back_without_a_swap(file):
    """A bad file that is put right as it was is no change, and the error is gone."""
    guard = Guard.from_config(file, environ={})
    before = guard.policy
    with watch(guard, file, HOUR) as watching:
        file.write_text("nmae: x\n")
        watching.check_now()
        file.write_text(REDACT)
        assert (watching.check_now(), watching.error, guard.policy) == (False, None, before)


def test_what_the_file_extends_is_watched(file):
    """A change of the base is a change."""
    Path("child.yaml").write_text("extends: guard.yaml\n")
    guard = Guard.from_config("child.yaml", environ={})
    with watch(guard, "child.yaml", HOUR) as watching:
        file.write_text(BLOCK)
        assert (watching.check_now(), outcome(guard)) == (True, "blocked")


def test_rules_that_did_not_change_stay_the_same_objects(file):
    """Breakers, caches and monitors' queues go on: only what changed is made anew, and no scorer for another action."""
    file.write_text(REDACT.replace("]", ", {scorer: secrets, stage: input}]") + "monitors: [{scorer: pii, name: m}]\n")
    guard = Guard.from_config(file, environ={})
    before, monitor = guard.guardrails, guard.monitors[0]
    with watch(guard, file, HOUR) as watching:
        file.write_text(file.read_text().replace("redact", "mask"))
        assert watching.check_now()
    assert guard.guardrails[0] is not before[0]
    assert guard.guardrails[0].scorer is before[0].scorer
    assert guard.guardrails[1] is before[1]
    assert guard.monitors[0] is monitor


def test_a_policy_that_an_adapter_cannot_enforce_is_refused(file):
    """What the places say where the guard is attached is an error of the file, too."""
    guard = Guard.from_config(file, environ={})

    def only_editing(policy):
        if any(rule.action == "block" for rule in policy.guardrails):
            msg = "blocks cannot be enforced here"
            raise ConfigurationError(msg)

    guard._policies.checks["somewhere"] = only_editing  # as guard.require() does, once it holds
    with watch(guard, file, HOUR) as watching:
        file.write_text(BLOCK)
        assert (watching.check_now(), outcome(guard)) == (False, "redacted")
        assert str(watching.error) == "blocks cannot be enforced here"


@pytest.mark.parametrize("content", ["version: 1\n", "guardrails: []\n", "version: 1\nname: default\n"])
def test_a_file_without_a_rule_is_refused(file, content):
    """A file of which only the beginning is there does not switch the rules off."""
    guard = Guard.from_config(file, environ={})
    with watch(guard, file, HOUR) as watching:
        file.write_text(content)
        assert (watching.check_now(), outcome(guard)) == (False, "redacted")
        assert 'has no rule; list some under "guardrails" or "monitors"' in str(watching.error)


def test_a_file_that_changes_while_it_is_read_waits_for_the_next_look(file):
    """What was read is not in force if the file is another by then."""
    guard = Guard.from_config(file, environ={})
    with watch(guard, file, HOUR) as watching:
        file.write_text(BLOCK.replace("pii", "secrets, name: half"))
        compiled = guard.source.compile

        def meanwhile():
            done = compiled()
            file.write_text(BLOCK)
            return done

        guard.source.compile = meanwhile
        assert (watching.check_now(), outcome(guard)) == (False, "redacted")
        guard.source.compile = compiled
        file.write_text(BLOCK.replace("pii", "secrets, name: half"))
        assert (watching.check_now(), outcome(guard)) == (True, "passed")
        file.write_text(BLOCK)
        assert (watching.check_now(), outcome(guard)) == (True, "blocked")


def test_the_thread_waits_until_two_looks_find_the_same(file):
    """A file that is being written is not taken at the first sight of it."""
    looks: list[str] = []

    class Writing:
        """Stands for a Watch whose file is still growing at the second look."""

        states = iter([{"f": "1"}, {"f": "2"}, {"f": "2"}, None])

        def _changed(self):
            looks.append("look")
            return next(self.states)

        def check_now(self):
            looks.append("read")

    found = [Writing()] * 4
    _poll(lambda: found.pop() if found else None, threading.Event(), 0.001)
    assert looks == ["look", "look", "look", "read", "look"]


def test_options_of_the_guard_wait_for_the_next_start(file, caplog):
    """A new name or queue is told, not half applied."""
    guard = Guard.from_config(file, environ={})
    with watch(guard, file, HOUR) as watching, caplog.at_level(logging.WARNING, "llmguard.config"):
        file.write_text("name: other\n" + REDACT)
        assert not watching.check_now()
    assert caplog.messages == ["guard.yaml: name will be in force at the next start"]
    assert guard.name == "default"


def test_the_thread_looks_by_itself(file):
    """`reload=` starts a thread that sees the change; the guard keeps the handle."""
    guard = Guard.from_config(file, environ={}, reload=0.01)
    swapped = threading.Event()
    guard._policies.checks["here"] = lambda policy: swapped.set()
    file.write_text(BLOCK)
    assert swapped.wait(30)
    guard.watching.stop()
    assert outcome(guard) == "blocked"
    assert not guard.watching._thread.is_alive()


def test_a_guard_built_by_hand_takes_the_files_rules(file):
    """watch() on a guard whose rules are not from this file puts the file's in force at once, or raises."""
    guard = Guard(Guardrail(pii(), stage="output"))
    with watch(guard, file, HOUR, environ={}):
        assert outcome(guard) == "redacted"
    file.write_text("nmae: x\n")
    with pytest.raises(ConfigurationError, match="unknown key"):
        watch(Guard(), file, environ={})


def test_only_a_file_can_be_watched():
    """reload= of a mapping is a mistake, and so is an interval that is none."""
    with pytest.raises(ConfigurationError, match="reload= needs a file to look at"):
        Guard.from_config({}, environ={}, reload=1.0)
    with pytest.raises(ConfigurationError, match="reload of from_config"):
        Guard.from_config("guard.yaml", environ={}, reload=0)


def test_a_watch_keeps_no_guard_alive(file):
    """A guard that nobody holds goes, and its thread with it."""
    guard = Guard.from_config(file, environ={}, reload=0.01)
    thread, alive = guard.watching._thread, weakref.ref(guard)
    del guard
    gc.collect()
    thread.join(30)
    assert alive() is None
    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_can_look(file):
    """The thread stays with the parent; a child that forked while the parent was looking can look itself."""
    guard = Guard.from_config(file, environ={}, reload=HOUR)
    with guard.watching._lock:
        child = os.fork()
        if child == 0:
            file.write_text(BLOCK)
            os._exit(0 if guard.watching.check_now() and outcome(guard) == "blocked" else 1)
        _, status = os.waitpid(child, 0)
    guard.watching.stop()
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_verdict_tells_of_the_rules_that_made_it():
    """A swap right after a check has chosen its rules changes neither these nor the digest in the verdict."""
    new = Policy([])

    class SwappedMeanwhile(Policy):
        def rules(self, *args, **options):
            found = super().rules(*args, **options)
            guard.swap(new)
            return found

    guard = Guard()
    old = SwappedMeanwhile([Guardrail(pii(), stage="input")])
    guard.swap(old)
    verdict = guard.check(MAIL, stage="input")
    assert (verdict.outcome, verdict.digest) == ("blocked", old.digest)
    assert guard.policy is new


def test_calls_never_see_a_mix(file):
    """While the file is swapped 200 times, every verdict's digest and findings belong to one of the two policies."""
    tenant = "tenants: {attribute: t, acme: {override: {pii: {action: mask}}}}\n"
    guard = Guard.from_config(file, environ={})
    seen: list[tuple[str, tuple[str, ...]]] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def check() -> None:
        try:
            while not done.is_set():
                verdict = guard.check(MAIL, stage="input")
                seen.append((verdict.digest, tuple(f"{one.rule} {one.action}" for one in verdict.findings)))
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=check) for _ in range(4)]
    digests = {guard.digest: ("pii redact",)}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads that never wait would let the file be read once in a while only
    with watch(guard, file, HOUR) as watching, contextlib.ExitStack() as after:
        after.callback(sys.setswitchinterval, interval)
        for thread in threads:
            thread.start()
        for turn in range(200):
            file.write_text(REDACT if turn % 2 else BLOCK + tenant)
            assert watching.check_now()
            digests[guard.digest] = tuple(f"{rule.name} {rule.action}" for rule in guard.guardrails)
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(digests) == 2
    assert {digest for digest, _ in seen} == set(digests)
    assert {found for digest, found in seen if digests[digest] == ("pii redact",)} == {("pii redact",)}
    others = {found for digest, found in seen if digests[digest] != ("pii redact",)}
    assert all(found[0] == "pii block" for found in others)
