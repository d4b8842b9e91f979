"""The searches of the READMEs find what they are said to find, among the spans of an application that has it all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import captured_telemetry

from . import _shop
from ._dashboard import FOLDER, dashboard
from ._queries import Search, matches, searches

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedSpan

ROOT = Path(__file__).parents[2]
SEARCHES = searches(ROOT / "README.md")


@pytest.fixture(scope="module")
def told() -> tuple[_shop.Books, tuple[CapturedSpan, ...]]:
    """What happened in the shop, and the spans of it."""
    with captured_telemetry() as telemetry:
        books = _shop.run(telemetry.providers)
        guard = Guard(Guardrail(pii(), stage="input", action="redact"), **telemetry.providers)
        with guard.bypass(reason="support ticket 1234"):
            guard.op(len)("Hi")
        guard.op(len)("Hi")
        return books, telemetry.spans


def search(question: str) -> Search:
    """The one about this."""
    (found,) = (each for each in SEARCHES if question in each.question)
    return found


@pytest.mark.parametrize("each", SEARCHES, ids=lambda each: each.question)
def test_every_search_asks_for_what_is_told(told, each):
    """Every attribute in the README's searches is on a span, and both searches find something."""
    _, spans = told
    emitted = {name for span in spans for name in span.attributes}
    assert each.attributes - emitted == set()
    if "digest" not in each.traceql:  # which is not known beforehand
        assert each.found(spans)
        assert each.found_by_jaeger(spans)


def test_blocked_prompts_are_found_once_each(told):
    """The search for blocked prompts finds the call, and not the guardrail's own span once more."""
    books, spans = told
    found = search("blocked prompts").found(spans)
    assert [span.name for span in found] == [f"chat {_shop.MODEL}"] * books.blocked
    assert {span.trace_id for span in search("blocked prompts").found_by_jaeger(spans)} == {s.trace_id for s in found}


def test_low_scores_lead_to_the_calls_that_were_scored(told):
    """Low scores are found by a number in Tempo and by a word in Jaeger: the same spans, in the trace of the call."""
    books, spans = told
    found = search("truthfulness").found(spans)
    assert len(found) == sum(score < 0.5 for score in books.scores)
    assert search("truthfulness").found_by_jaeger(spans) == found
    by_id = {span.span_id: span for span in spans}
    calls = {span.trace_id for span in by_id.values() if "gen_ai.operation.name" in span.attributes}
    assert all(span.trace_id in calls and span.links for span in found)


def test_who_was_redacted_for_what_is_told_without_the_text(told):
    """The call of whoever was redacted tells the user and the kinds."""
    _, spans = told
    (call,) = search("who was redacted").found(spans)
    assert call.attributes["user.id"] == _shop.BORIS
    assert call.attributes["llmguard.redacted.kinds"] == ("EMAIL_ADDRESS",)
    assert {s.trace_id for s in search("who was redacted").found_by_jaeger(spans)} == {call.trace_id}
    assert "boris@example.com" not in repr(spans)


@pytest.mark.parametrize(("question", "calls"), [("this user cost", 4), ("this conversation cost", 4)])
def test_what_somebody_cost_adds_up(told, question, calls):
    """The spans of a user, or of a conversation, hold the cost of each call."""
    _, spans = told
    found = search(question).found(spans)
    total = sum(span.attributes["llmguard.cost.usd"] for span in found)
    assert (len(found), total) == (calls, pytest.approx(calls * _shop.COST))


def test_failed_guardrails_are_found_by_name(told):
    """Every failure of the service is found, and says which guardrail failed and how."""
    _, spans = told
    found = search("failed guardrails").found(spans)
    assert {span.attributes["llmguard.guardrail.name"] for span in found} == {"policy_service"}
    assert all("error.type" in span.attributes for span in found)


def test_the_collector_keeps_what_is_searched_for(told):
    """Tail sampling keeps each trace that a search for violations finds, and leaves a clean one to chance."""
    _, spans = told
    config = yaml.safe_load((FOLDER / "collector" / "collector.yaml").read_text(encoding="utf-8"))
    policies = config["processors"]["tail_sampling"]["policies"]
    told_by = [policy["string_attribute"] for policy in policies if policy["type"] == "string_attribute"]
    kept = {span.trace_id for span in spans if span.status == "ERROR" or any(_matches(by, span) for by in told_by)}
    asked = ("blocked prompts", "truthfulness", "who was redacted", "failed guardrails", "switched off")
    assert {span.trace_id for question in asked for span in search(question).found(spans)} <= kept
    assert {span.name for span in spans if span.trace_id not in kept} == {"invoke_workflow len"}


def _matches(policy: dict[str, Any], span: CapturedSpan) -> bool:
    value = str(span.attributes.get(policy["key"], ""))
    if policy.get("enabled_regex_matching"):
        return any(re.search(pattern, value) for pattern in policy["values"])
    return value in policy["values"]


def test_both_readmes_have_the_same_searches():
    """The Korean README's searches are those of the English one."""
    korean = searches(ROOT / "README.ko.md")
    assert [(each.traceql, each.tags) for each in korean] == [(each.traceql, each.tags) for each in SEARCHES]
    assert len(SEARCHES) == 8


def test_the_trace_panels_of_the_dashboard_find_something(told):
    """So do the panels of the dashboard that ask Tempo."""
    _, spans = told
    queries = [
        target["query"] for panel in dashboard()["panels"] for target in panel.get("targets", []) if "query" in target
    ]
    assert len(queries) == 2
    assert all(any(matches(query, span) for span in spans) for query in queries)
