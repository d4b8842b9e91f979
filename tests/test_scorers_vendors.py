"""Scorers that ask a vendor's service: what they send, how they fail, what never shows."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendors import DROP, HANG, VENDORS, Asked, Reply, StandIn, Vendor, served

from llmguard_middleware import (
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Monitor,
    ScorerError,
    ScorerServiceError,
    ScorerTimeoutError,
    VerdictCache,
)
from llmguard_middleware._breaker import is_outage
from llmguard_middleware._scorer import bind
from llmguard_middleware.scorers import load
from llmguard_middleware.scorers._vendors._masks import Mask, applied, joined, masks
from llmguard_middleware.scorers._vendors._pieces import OVERLAP, pieces, sendable
from llmguard_middleware.scorers._vendors._remote import extra
from llmguard_middleware.testing import captured_telemetry

KEY = "sk-Stand1nSecretOfNobody"
TEXT = "My name is Hong Gildong, and I am angry."


@pytest.fixture(scope="module")
def service() -> Iterator[StandIn]:
    """A stand-in that all tests of this module ask."""
    with served() as server:
        yield server


EACH = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)


def made(vendor: Vendor, service: StandIn, key: str = KEY, **options: Any) -> Any:
    """The vendor's scorer, which asks the stand-in."""
    return load(vendor.name, **vendor.options(key, service.url), **options)


_MADE: dict[str, Any] = {}


def made_once(vendor: Vendor, service: StandIn) -> Any:
    """One scorer for many examples."""
    if vendor.name not in _MADE:
        _MADE[vendor.name] = made(vendor, service)
    return _MADE[vendor.name]


def failing(scorer: Any, text: str = TEXT) -> ScorerError:
    """How a score fails."""
    with pytest.raises(ScorerError) as caught:
        scorer.score(text)
    return caught.value


@EACH
def test_a_guard_blocks_what_the_service_flags_and_lets_pass_the_rest(vendor: Vendor, service: StandIn) -> None:
    """Sync and async, by its own word."""
    service.begin(lambda asked: vendor.harm if "angry" in vendor.text(asked.body) else vendor.fine)
    guard = Guard(Guardrail(made_once(vendor, service), stage="input"))
    assert [guard.check(text, stage="input").outcome for text in (TEXT, "Hello")] == ["blocked", "passed"]
    assert asyncio.run(guard.acheck(TEXT, stage="input")).outcome == "blocked"
    assert [vendor.text(asked.body) for asked in service.asked] == [TEXT, "Hello", TEXT]


@EACH
def test_a_shadow_rule_records_and_changes_nothing(vendor: Vendor, service: StandIn) -> None:
    """action="log": flagged, and let pass."""
    service.begin(lambda _: vendor.harm)
    verdict = Guard(Guardrail(made_once(vendor, service), stage="output", action="log")).check(TEXT, stage="output")
    assert (verdict.outcome, verdict.guarded) == ("flagged", TEXT)


@EACH
def test_a_monitor_scores_answers(vendor: Vendor, service: StandIn) -> None:
    """In the background, with the score in the telemetry and no text of the call in it."""
    service.begin(lambda _: vendor.harm)
    with captured_telemetry() as telemetry:
        guard = Guard(Monitor(made_once(vendor, service)), **telemetry.providers)
        assert guard.op(lambda question: TEXT)("Who?") == TEXT
        assert guard.flush(10) == 0
        guard.shutdown()
        (result,) = telemetry.records
        shown = repr((telemetry.records, telemetry.spans))
    assert vendor.text(service.asked[0].body) == TEXT
    assert result.attributes["gen_ai.evaluation.name"] == vendor.name
    assert result.attributes["gen_ai.evaluation.score.value"] > 0
    assert "Gildong" not in shown


@EACH
def test_nothing_is_asked_about_nothing(vendor: Vendor, service: StandIn) -> None:
    """A text of spaces only is not sent: services refuse it."""
    service.begin(lambda _: vendor.harm)
    score = made_once(vendor, service).score(" \n\u3000")
    assert (score.value, score.flagged, service.asked) == (0.0, False, [])


@EACH
def test_connections_are_used_again(vendor: Vendor, service: StandIn) -> None:
    """Ten scores of one scorer, one connection."""
    service.begin(lambda _: vendor.fine)
    before = len(service.connections)
    scorer = made(vendor, service)
    for _ in range(10):
        scorer.score(TEXT)
    assert len(service.connections) == before + 1


@EACH
def test_threads_share_a_client(vendor: Vendor, service: StandIn) -> None:
    """First scores in four threads make one client, and each gets its own answer."""
    service.begin(lambda asked: vendor.harm if vendor.text(asked.body) == "3" else vendor.fine)
    scorer = made(vendor, service)
    with ThreadPoolExecutor(4) as pool:
        clients = {id(client) for client in pool.map(lambda _: scorer.client, range(4))}
        flagged = [score.flagged for score in pool.map(scorer.score, map(str, range(8)))]
    assert (len(clients), flagged) == (1, [number == 3 for number in range(8)])


STATUSES = [
    (500, True, "{who} failed: HTTP 500", 2),
    (503, True, "{who} failed: HTTP 503", 2),
    (429, True, "{who} is asked too much or too often: HTTP 429", 1),
    (404, True, "{who} does not know what it was asked for: HTTP 404", 1),
    (400, False, "{who} refused the request: HTTP 400", 1),
]


@EACH
@pytest.mark.parametrize(("status", "outage", "sentence", "times"), STATUSES)
def test_a_refusal_is_told_in_a_sentence_of_ours(
    vendor: Vendor, service: StandIn, status: int, outage: bool, sentence: str, times: int
) -> None:
    """By its status; failures of the server are tried once more. What a text can cause is no outage."""
    service.begin(lambda asked: Reply({"error": {"code": "x y", "message": TEXT}, "message": TEXT}, status))
    error = failing(made_once(vendor, service))
    assert str(error).startswith(sentence.format(who=vendor.who))
    assert (is_outage(error), len(service.asked)) == (outage, times)
    assert_hidden(error)


def assert_hidden(error: BaseException) -> None:
    """Nothing of the text or the key is in what a log shows of an error, or in the errors behind it."""
    shown = "".join(traceback.format_exception(error)) + repr(error)
    assert not [word for word in ("Gildong", KEY, "Hong") if word in shown]
    assert (error.__cause__, error.__context__ is None or error.__suppress_context__) == (None, True)


@EACH
def test_wrong_credentials_are_told_without_them(vendor: Vendor, service: StandIn) -> None:
    """And without what the service says, which may quote them."""

    def answer(asked: Asked) -> Any:
        return vendor.fine if vendor.let_in(asked, KEY) else vendor.denied(f"{TEXT} {KEY}")

    service.begin(answer)
    assert made(vendor, service).score(TEXT).flagged is False
    error = failing(made(vendor, service, key=KEY + "2"))
    assert str(error) == f"{vendor.who} refused the credentials: {vendor.says}"
    assert is_outage(error)
    assert_hidden(error)


@EACH
def test_a_service_that_hangs_is_given_up(vendor: Vendor, service: StandIn) -> None:
    """After `timeout` seconds, and not asked again: the rule's own time goes on."""
    service.begin(lambda _: HANG)
    error = failing(made(vendor, service, timeout=0.2))
    assert str(error).startswith(f"{vendor.who} did not answer in time: ")
    assert (is_outage(error), len(service.asked)) == (True, 1)
    assert_hidden(error)


@EACH
def test_a_connection_that_breaks_is_tried_once_more(vendor: Vendor, service: StandIn) -> None:
    """As one breaks that was idle for too long; if it breaks again, the score fails."""
    replies = iter([DROP, vendor.fine, DROP, DROP])
    service.begin(lambda _: next(replies))
    scorer = made(vendor, service)
    assert scorer.score(TEXT).flagged is False
    error = failing(scorer)
    assert str(error).startswith(f"{vendor.who} cannot be reached: ")
    assert is_outage(error)
    assert_hidden(error)


@EACH
def test_nobody_there(vendor: Vendor) -> None:
    """A refused connection is an outage."""
    with served() as gone:
        scorer = made(vendor, gone)
    error = failing(scorer)
    assert str(error).startswith(f"{vendor.who} cannot be reached: ")
    assert is_outage(error)


GARBAGE = [b"<html>Gildong</html>", b"", b"[]", b"3", b"null", b'{"results": [{}]}', b'{"action": "MAYBE"}', b"{"]


@EACH
@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_no_verdict(vendor: Vendor, service: StandIn, body: bytes) -> None:
    """What is no answer of the service is a failure, never a text that passed."""
    service.begin(lambda _: Reply(body, headers={"Content-Type": "text/html" if b"<" in body else "application/json"}))
    error = failing(made_once(vendor, service))
    assert str(error).startswith(f"{vendor.who} gave an answer that cannot be read: ")
    assert is_outage(error)
    assert_hidden(error)


@EACH
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_answer_that_lacks_something_passes_a_text(vendor: Vendor, service: StandIn, data: Any) -> None:
    """A flagging answer with one value, at any depth, taken out or changed flags or fails; it never passes."""
    answer = json.loads(json.dumps(vendor.harm))
    holder, key = data.draw(st.sampled_from(list(places_in(answer))))
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(st.sampled_from([None, [], {}, "", 9, [None], [{}], "NO", "0"]))
    service.begin(lambda _: answer)
    try:
        score = made_once(vendor, service).score(TEXT)
    except ScorerError as error:
        assert_hidden(error)
    else:
        assert score.flagged


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in a JSON value: what holds it, and its key."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places_in(value[key])


@EACH
def test_what_fails_is_for_the_rule_to_decide(vendor: Vendor, service: StandIn, caplog: Any) -> None:
    """on_error blocks with our sentence, or lets pass; nothing of the text is logged."""
    service.begin(lambda _: Reply({"message": TEXT}, 429))
    scorer = made_once(vendor, service)
    strict = Guard(Guardrail(scorer, stage="input"))
    with caplog.at_level(logging.INFO), pytest.raises(GuardrailViolation) as caught:
        strict.op(lambda text: text)(TEXT)
    assert f"{vendor.who} is asked too much or too often: HTTP 429" in str(caught.value)
    assert caught.value.to_dict()["code"] == "guardrail_failed"
    lenient = Guard(Guardrail(scorer, stage="input", on_error="allow"))
    verdict = lenient.check(TEXT, stage="input")
    assert (verdict.guarded, verdict.findings[0].outcome) == (TEXT, "error")
    assert "Gildong" not in caplog.text + str(caught.value)


@EACH
def test_a_rule_gives_up_before_the_client_does(vendor: Vendor, service: StandIn) -> None:
    """The call goes on when the rule's time is up; the thread is back when the client's time is."""
    service.begin(lambda _: HANG)
    scorer = made(vendor, service, timeout=2.0)
    scorer.setup()
    guard = Guard(Guardrail(scorer, stage="input", timeout=0.1))
    verdict = guard.check(TEXT, stage="input")
    assert isinstance(verdict.cause.error, ScorerTimeoutError)
    assert guard.workers.lost == 1
    deadline = time.monotonic() + 20
    while guard.workers.lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (guard.workers.lost, len(service.asked)) == (0, 1)


@EACH
def test_history_is_not_paid_for_again(vendor: Vendor, service: StandIn) -> None:
    """Scores are of the text alone, so they are remembered within a conversation, and a cache can keep them."""
    service.begin(lambda _: vendor.harm)
    scorer = made_once(vendor, service)
    assert bind(scorer).text_only
    guard = Guard(Guardrail(scorer, stage="output", cache=VerdictCache()))
    assert [guard.check(TEXT, stage="output").outcome for _ in range(3)] == ["blocked"] * 3
    assert len(service.asked) == 1


@EACH
def test_a_service_that_keeps_failing_is_left_alone(vendor: Vendor, service: StandIn) -> None:
    """Five outages open the circuit: the sixth text is not sent. Five texts that are refused do not."""
    for status, asked in ((429, 5), (400, 6)):
        service.begin(lambda _, status=status: Reply({}, status))
        guard = Guard(Guardrail(made_once(vendor, service), stage="input"))
        for _ in range(6):
            guard.check(TEXT, stage="input")
        assert len(service.asked) == asked


@EACH
@settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(codec=None), min_size=1, max_size=50))
def test_any_text_can_be_sent(vendor: Vendor, service: StandIn, text: str) -> None:
    """Lone surrogates are sent as U+FFFD; everything else as it is."""
    service.begin(lambda _: vendor.fine)
    made_once(vendor, service).score(text)
    assert [vendor.text(asked.body) for asked in service.asked] == ([sendable(text)] if text.strip() else [])


LIMITS = {
    "bedrock_guardrail": 25_000,
    "openai_moderation": 32_000,
    "azure_content_safety": 10_000,
    "azure_prompt_shield": 10_000,
}


@EACH
@pytest.mark.parametrize("letter", ["a", "가", "😀"])
def test_long_texts_are_judged_to_their_end(vendor: Vendor, service: StandIn, letter: str) -> None:
    """In pieces within the service's limit that overlap: each 500 characters are in one of them as a whole."""
    text = letter * 45_000 + "end"
    service.begin(lambda asked: vendor.harm if vendor.text(asked.body).endswith("end") else vendor.fine)
    assert made_once(vendor, service).score(text).flagged
    sent = [vendor.text(asked.body) for asked in service.asked]
    assert max(map(len, sent)) <= LIMITS[vendor.name]
    if vendor.name == "openai_moderation":  # a token is a byte or more, and 32,768 are looked at
        assert max(len(one.encode()) for one in sent) < 32_768
    assert sent[0] + "".join(one[OVERLAP:] for one in sent[1:]) == text


@EACH
def test_a_text_that_takes_too_many_requests_is_not_sent(vendor: Vendor, service: StandIn) -> None:
    """Nor does it pass: what a user may send must not cost without end. It is no outage."""
    service.begin(lambda _: vendor.fine)
    error = failing(made(vendor, service, max_requests=2), TEXT * 3000)
    assert str(error) == f"the text takes more than 2 requests to {vendor.who}; let {vendor.name}() have max_requests="
    assert (is_outage(error), service.asked) == (False, [])
    assert made(vendor, service, max_requests=2).score(TEXT).flagged is False
    with pytest.raises(
        ConfigurationError, match=rf"^max_requests of {vendor.name}\(\) is 0; give a whole number, 1 or"
    ):
        made(vendor, service, max_requests=0)


@EACH
def test_credentials_show_nowhere(vendor: Vendor, service: StandIn) -> None:
    """Not in reprs, not in options, not in digests, not in telemetry."""
    service.begin(lambda _: vendor.harm)
    with captured_telemetry() as telemetry:
        scorer = made(vendor, service)
        guard = Guard(Guardrail(scorer, stage="input", action="log"), **telemetry.providers)
        guard.op(lambda text: text)(TEXT)
        shown = repr((scorer, scorer.options, guard, guard.policy.rules("input"), telemetry.spans, telemetry.records))
    assert KEY not in shown
    other = Guard(Guardrail(made(vendor, service, key="another"), stage="input", action="log"))
    assert other.digest == guard.digest


TOLD = {
    "bedrock_guardrail": "abc123def456 3 in us-east-1 at x.example:8443/v, source auto, 20 requests",
    "openai_moderation": "omni-moderation-latest at x.example:8443/v, 20 requests",
    "azure_content_safety": "hate 4, self_harm 4, sexual 4, violence 4 at x.example:8443/v, 20 requests",
    "azure_prompt_shield": "prompts, 2024-09-01 at x.example:8443/v, 20 requests",
}


@EACH
def test_people_are_told_what_it_asks_and_where(vendor: Vendor) -> None:
    """Without what an address may hide."""
    given = json.dumps(vendor.options(KEY, "https://me:hush@x.example:8443/v?code=hush"))
    given = given.replace("hush/v1", "hush")  # what is added for OpenAI
    assert load(vendor.name, **json.loads(given)).options == TOLD[vendor.name]
    odd = load(vendor.name, **vendor.options(KEY, "https://x.example:port?hush"))
    assert "hush" not in odd.options


def test_people_are_told_thresholds() -> None:
    """As they were given."""
    moderation = load("openai_moderation", threshold=0.5, thresholds={"hate": 0.1}, categories=["hate", "violence"])
    assert moderation.options == "omni-moderation-latest, threshold 0.5, hate 0.1, only hate violence, 20 requests"
    how = {"categories": ["hate"], "blocklists": ["a", "b"], "halt_on_blocklist_hit": True, "threshold": 2.5}
    content = load("azure_content_safety", "https://x.example", KEY, **how)
    assert content.options == "hate 2.5, blocklists a b (halts) at x.example, 20 requests"


class Broken:
    """A client whose every method fails with what it was given."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """With what it was given in its error."""
        raise RuntimeError(args, kwargs)


@EACH
def test_a_client_that_fails_in_its_own_way_is_told_by_the_class_of_its_error(vendor: Vendor) -> None:
    """Which is all that is known of it."""
    named = {"guardrail_id": "abc123def456"} if vendor.name == "bedrock_guardrail" else {}
    error = failing(load(vendor.name, **named, client=Broken()))
    assert str(error) == f"{vendor.who} could not be asked: RuntimeError"
    assert is_outage(error)
    assert_hidden(error)


@EACH
def test_options_change_the_digest(vendor: Vendor, service: StandIn) -> None:
    """What it is asked, and where, tells one scorer from another."""
    changes: dict[str, list[dict[str, Any]]] = {
        "bedrock_guardrail": [{"version": 4}, {"source": "OUTPUT"}, {"guardrail_id": "other"}, {"spans": True}],
        "openai_moderation": [
            {"threshold": 0.5},
            {"thresholds": {"hate": 0.1}},
            {"model": "m"},
            {"categories": ["hate"]},
        ],
        "azure_content_safety": [
            {"threshold": 2},
            {"thresholds": {"hate": 1}},
            {"blocklists": ["b"]},
            {"categories": ["hate"]},
        ],
        "azure_prompt_shield": [{"documents": True}, {"api_version": "2025-01-01"}, {"endpoint": "http://other"}],
    }
    given = vendor.options(KEY, service.url)
    scorers = [load(vendor.name, **{**given, **change}) for change in ({}, *changes[vendor.name])]
    digests = {Guard(Guardrail(scorer, stage="input")).digest for scorer in scorers}
    assert len(digests) == len(scorers)


@EACH
def test_a_process_makes_its_own_client(vendor: Vendor, service: StandIn) -> None:
    """A scorer can be pickled once it has asked: what comes out of it connects anew."""
    service.begin(lambda _: vendor.harm)
    scorer = made(vendor, service)
    before = scorer.score(TEXT)
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy.score(TEXT) == before
    assert copy.client is not scorer.client


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@EACH
def test_a_forked_child_makes_its_own_client(vendor: Vendor, service: StandIn) -> None:
    """The parent's connections stay with the parent, which goes on with them."""
    service.begin(lambda _: vendor.fine)
    scorer = made(vendor, service)
    scorer.score(TEXT)
    client, before = scorer.client, len(service.connections)
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if scorer.client is not client and not scorer.score(TEXT).flagged else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(service.connections) == before + 1
    assert (scorer.client is client, scorer.score(TEXT).flagged) == (True, False)
    assert len(service.connections) == before + 1


@EACH
def test_a_given_client_is_used(vendor: Vendor, service: StandIn) -> None:
    """As it is, and never closed; it cannot be pickled, which is said."""
    service.begin(lambda _: vendor.harm)
    client = made(vendor, service).client
    named = {"guardrail_id": "abc123def456"} if vendor.name == "bedrock_guardrail" else {}
    scorer = load(vendor.name, **named, client=client)
    scorer.setup()
    assert scorer.score(TEXT).flagged
    scorer.close()
    assert scorer.client is client
    with pytest.raises(pickle.PicklingError, match=rf"^{vendor.name}\(\) with client= cannot be pickled: give what"):
        pickle.dumps(scorer)


@EACH
def test_a_scorer_that_was_closed_connects_anew(vendor: Vendor, service: StandIn) -> None:
    """close() may be called at any time, twice too."""
    service.begin(lambda _: vendor.fine)
    scorer = made(vendor, service)
    scorer.close()
    scorer.score(TEXT)
    scorer.close()
    scorer.close()
    assert scorer.score(TEXT).flagged is False


@EACH
def test_a_file_of_rules_can_name_it(vendor: Vendor, service: StandIn, tmp_path: Any) -> None:
    """With plain options, the secret from the environment."""
    service.begin(lambda asked: vendor.harm if vendor.let_in(asked, KEY) else vendor.denied(""))
    rule = {"scorer": vendor.name, "stage": ["input", "output"], "options": vendor.options("${THE_KEY}", service.url)}
    file = tmp_path / "guard.yaml"
    file.write_text(json.dumps({"version": 1, "guardrails": [rule]}))
    guard = Guard.from_config(file, environ={"THE_KEY": KEY})
    assert [guard.check(TEXT, stage=stage).outcome for stage in ("input", "output")] == ["blocked", "blocked"]


def test_nothing_is_loaded_and_nothing_is_asked_before_the_first_score() -> None:
    """Making all four scorers, rules and a guard imports no vendor's library and opens no socket."""
    program = """
import sys
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.exit(event))
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import azure_content_safety, azure_prompt_shield, bedrock_guardrail, openai_moderation
scorers = (
    azure_content_safety("https://x.example", "key"), azure_prompt_shield("https://x.example", "key"),
    bedrock_guardrail("abc", 1), openai_moderation(), openai_moderation(use_async=True),
)
Guard(*(Guardrail(one, stage="input", name=f"rule-{n}") for n, one in enumerate(scorers)))
heavy = "boto3", "botocore", "openai", "azure.core", "azure.ai", "httpx", "requests"
print(*(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_a_missing_extra_is_one_sentence() -> None:
    """That says what to install."""
    with pytest.raises(ConfigurationError) as caught:
        extra("no_such_module.inside", "azure", "azure_content_safety")
    assert str(caught.value) == 'azure_content_safety() needs an extra: pip install "llmguard-middleware[azure]"'


def test_a_missing_extra_is_told_by_the_first_score(tmp_path: Any) -> None:
    """In the violation that a guard raises, for each of the three libraries."""
    for name in ("boto3", "openai", "azure"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})")
    program = """
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import azure_prompt_shield, bedrock_guardrail, openai_moderation
for scorer in bedrock_guardrail("abc", 1), openai_moderation(), azure_prompt_shield("https://x.example", "key"):
    print(Guard(Guardrail(scorer, stage="input")).check("Hello", stage="input").cause.error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            f'scorer "{name}" could not be set up: {name}() needs an extra: pip install "llmguard-middleware[{which}]"'
            for name, which in (
                ("bedrock_guardrail", "bedrock"),
                ("openai_moderation", "openai"),
                ("azure_prompt_shield", "azure"),
            )
        ],
        "",
    )


@given(st.text("ab😀가\u00e9", max_size=3000), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_pieces_are_the_text(text: str, more: int) -> None:
    """In any unit: within the limit, each begins 500 characters before the last one ended, nothing is left out."""
    for unit, most in (("characters", 600 + more), ("utf-8", 2100 + more), ("utf-16-le", 2400 + more)):
        found = list(pieces(text, most, unit))  # type: ignore[arg-type]  # the words are those of its type
        assert all((len(p.text) if unit == "characters" else len(p.text.encode(unit))) <= most for p in found)
        assert all(text[p.start : p.start + len(p.text)] == p.text for p in found)
        assert found[0].text + "".join(p.text[OVERLAP:] for p in found[1:]) == text


def test_surrogates_are_replaced_in_place() -> None:
    """So that places stay as they are."""
    assert sendable("a\ud800b😀\udfff") == "a\ufffdb😀\ufffd"


PLACES = [
    ("My mail is a@b.com.", "My mail is {EMAIL}.", [("a@b.com", "EMAIL")], [Mask(11, 18, "EMAIL", "{EMAIL}")]),
    ("Kim, Kim", "{NAME}, {NAME}", [("Kim", "NAME")], [Mask(0, 3, "NAME", "{NAME}"), Mask(5, 8, "NAME", "{NAME}")]),
    (
        "Al Albert",
        "{NAME-1} {NAME-2}",
        [("Al", "NAME"), ("Albert", "NAME")],
        [(0, 2, "NAME", "{NAME-1}"), (3, 9, "NAME", "{NAME-2}")],
    ),
    ("{NAME} Kim", "{NAME} {NAME}", [("Kim", "NAME")], [(7, 10, "NAME", "{NAME}")]),
    ("{NAME} Kim", "{NAME} Kim", [("Kim", "NAME")], []),
    ("id 77", "id [id no]", [("77", "id no")], [(3, 5, "id no", "[id no]")]),
    ("Kim", "Lee", [("Kim", "NAME")], None),
    ("Kim", "{NAME}", [], None),
    ("Kim Lee", "{NAME}", [("Kim", "NAME")], None),
    ("Kim", "{}", [("Kim", ""), ("", "NAME")], None),
    ("", "", [], []),
]


@pytest.mark.parametrize(("text", "masked", "found", "places"), PLACES)
def test_masks_are_found_where_they_are(text: str, masked: str, found: Any, places: Any) -> None:
    """By laying the masked text beside the original; what does not fit is not guessed."""
    assert masks(text, masked, found) == places


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a ", "{", "NAME}", "{NAME}", "aa", ""]), st.sampled_from(["a", "aa", "aaa", "{NAME}"])
        ),
        max_size=8,
    )
)
def test_masks_make_what_was_made(parts: list[tuple[str, str]]) -> None:
    """Whatever a text looks like, the masks that are found make the masked text of it."""
    text = "".join(before + secret for before, secret in parts)
    masked = "".join(before + "{NAME}" for before, _ in parts)
    found = masks(text, masked, [(secret, "NAME") for _, secret in parts])
    assert found is not None
    assert applied(text, found) == masked


def test_masks_are_found_in_time() -> None:
    """25,000 characters of what looks like a mask everywhere."""
    text = "{NAME}" * 4000
    assert masks(text + "Kim", text + "{NAME}", [("Kim", "NAME"), ("{NAME}", "NAME"), ("{", "NAME")]) is not None
    assert masks(text + "Kim", text + "Lee", [("Kim", "NAME"), ("{NAME}", "NAME"), ("{", "NAME")]) is None
    began = time.thread_time()
    assert masks("a" * 25_000, "{X}" * 8_000 + "!", [("a", "X"), ("aa", "X"), ("aaa", "X")]) is None
    assert time.thread_time() - began < 60  # whatever else the machine does; without a limit, hours


def test_masks_of_pieces_become_one() -> None:
    """Those that overlap, in any order."""
    one, two, three = Mask(5, 9, "A", "{A}"), Mask(8, 12, "B", "{B}"), Mask(12, 13, "C", "{C}")
    assert joined([three, two, one]) == [Mask(5, 12, "A", "{A}"), three]


def test_an_outage_can_be_pickled() -> None:
    """With its sentence, as verdicts travel."""
    error = pickle.loads(pickle.dumps(ScorerServiceError("It is away.", retryable=True)))
    assert (str(error), error.retryable, isinstance(error, OSError)) == ("It is away.", True, True)


def test_the_lock_of_a_fork_is_new() -> None:
    """A child that forked while another thread made the client can make its own."""
    scorer = load("openai_moderation", api_key=KEY)
    held = threading.Event()

    def hold() -> None:
        with scorer._lock:
            held.set()
            done.wait(10)

    done = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    scorer.begin_anew()  # what a forked child does first
    scorer.setup()
    done.set()
    thread.join()
