"""The dashboard's queries in a real Prometheus, fed by the demo and by a shop over OTLP: every panel shows something,
and every sum is exact.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmguard_middleware.telemetry import configure

from . import _shop
from ._dashboard import dashboard, panel, panels
from ._exposition import Exposition, exposing
from ._prometheus import Prometheus, PrometheusError, prometheus_binary, scraping

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

TITLES = [each.title for each in panels()]


@pytest.fixture(scope="module")
def exposition() -> Iterator[Exposition]:
    """What the demo and the shop push their telemetry to."""
    with exposing() as backend:
        yield backend


@pytest.fixture(scope="module")
def books(exposition: Exposition) -> _shop.Books:
    """The shop's day, sent as `configure` sends it."""
    telemetry = configure(exposition.url, set_global=False, service_name="shop")
    providers = {
        "tracer_provider": telemetry.tracer_provider,
        "logger_provider": telemetry.logger_provider,
        "meter_provider": telemetry.meter_provider,
    }
    books = _shop.run(providers)
    assert telemetry.flush()
    telemetry.shutdown()
    return books


@pytest.fixture(scope="module")
def demo(exposition: Exposition, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo, as its README starts it; its name in Prometheus."""
    command = [Path(sys.executable).with_name("llmguard"), "demo", "--otlp", exposition.url]
    folder = tmp_path_factory.mktemp("demo")
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return "llmguard-demo"


@pytest.fixture(scope="module")
def prometheus(
    exposition: Exposition, books: _shop.Books, demo: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that has scraped both once."""
    with scraping(exposition.target, tmp_path_factory.mktemp("prometheus")) as server:
        server.wait_for('llmguard_guardrail_verdicts_total{job="shop"}')
        server.wait_for(f'llmguard_guardrail_verdicts_total{{job="{demo}"}}')
        yield server


def totals(prometheus: Prometheus, title: str, *labels: str, job: str) -> dict[tuple[str, ...], float]:
    """What the panel's one query answers, by these labels."""
    (query,) = panel(title).asked(job=job)
    return {tuple(s.labels.get(label, "") for label in labels): s.value for s in prometheus.query(query)}


@pytest.mark.parametrize("title", TITLES)
def test_every_query_of_the_dashboard_shows_something(prometheus, title):
    """Prometheus takes each query of each panel and answers with numbers, whichever projects and models are chosen."""
    for query in panel(title).asked():
        values = [sample.value for sample in prometheus.query(query)]
        assert values, query
        assert not all(math.isnan(value) for value in values), query


def test_the_variables_of_the_dashboard_have_values(prometheus, demo):
    """A project and a model can be chosen: the labels that the variables list are there."""
    for variable, expected in zip(
        dashboard()["templating"]["list"], ({"shop", demo}, {_shop.MODEL, "in-process"}), strict=True
    ):
        inside = variable["query"]["query"].removeprefix("label_values(").removesuffix(")")
        selector, _, label = inside.rpartition(", ")
        found = {s.labels.get(label) for s in prometheus.query(selector.replace("$job", ".*"))}
        assert found - {None} == expected


def test_sums_are_what_the_provider_counted(prometheus, books):
    """Calls, tokens and cost of the shop are, to the last token, those of the provider's own books."""
    assert totals(prometheus, "Calls", job="shop") == {(): books.answered + books.failed + books.blocked}
    tokens = books.answered * (_shop.INPUT_TOKENS + _shop.OUTPUT_TOKENS)
    assert totals(prometheus, "Tokens", job="shop") == {(): tokens}
    by_type = totals(prometheus, "Tokens by model and type", "gen_ai_request_model", "gen_ai_token_type", job="shop")
    assert by_type == {
        (_shop.MODEL, "input"): books.answered * _shop.INPUT_TOKENS,
        (_shop.MODEL, "output"): books.answered * _shop.OUTPUT_TOKENS,
    }
    cost = pytest.approx(books.answered * _shop.COST, rel=1e-12)
    assert totals(prometheus, "Cost", job="shop") == {(): cost}
    by_project = totals(prometheus, "Cost by project and model", "job", "gen_ai_request_model", job="shop")
    assert by_project == {("shop", _shop.MODEL): cost}


def test_verdicts_are_what_happened(prometheus, books):
    """Blocked and redacted texts are counted by guardrail; so are failures, and who is not asked any more."""
    assert totals(prometheus, "Blocked", job="shop") == {(): books.blocked}
    assert totals(prometheus, "Redacted", job="shop") == {(): books.redacted}
    verdicts = totals(prometheus, "Verdicts by guardrail", "llmguard_guardrail_name", "llmguard_verdict", job="shop")
    assert verdicts["prompt_injection", "blocked"] == books.blocked
    assert verdicts["pii", "redacted"] == books.redacted
    assert {verdict for name, verdict in verdicts if name == "policy_service"} == {"error"}
    breakers = totals(prometheus, "Circuit breakers", "llmguard_guardrail_name", job="shop")
    assert breakers == {("policy_service",): 2}


def test_errors_are_told_apart_from_blocks(prometheus, books):
    """The error rate counts what failed, not what was blocked; the panel by type shows both."""
    calls = books.answered + books.failed + books.blocked
    assert totals(prometheus, "Error rate", job="shop") == {(): pytest.approx(books.failed / calls)}
    by_type = totals(prometheus, "Error rate by operation and type", "gen_ai_operation_name", "error_type", job="shop")
    assert by_type["chat", "blocked"] == pytest.approx(books.blocked / calls)
    assert len(by_type) == 2


def test_scores_of_monitors_are_there(prometheus, books):
    """The mean score and the share of low ones are those of what the monitor gave; none waits and none was lost."""
    mean = sum(books.scores) / len(books.scores)
    assert totals(prometheus, "Mean score", "gen_ai_evaluation_name", job="shop")["truthfulness",] == mean
    low = totals(prometheus, "Scores of at most 0.5", "gen_ai_evaluation_name", job="shop")
    assert low["truthfulness",] == sum(score <= 0.5 for score in books.scores) / len(books.scores)
    assert totals(prometheus, "Monitor queue", "job", job="shop") == {("shop",): 0}
    outcomes = totals(prometheus, "Monitor scores by outcome", "llmguard_outcome", job="shop")
    assert outcomes == {("scored",): len(books.scores)}


def test_the_demo_is_on_the_dashboard(prometheus, demo):
    """Two blocked and four redacted texts, one and two a framework, are what the demo shows and Prometheus has."""
    assert totals(prometheus, "Blocked", job=demo) == {(): 2}
    assert totals(prometheus, "Redacted", job=demo) == {(): 4}
    assert totals(prometheus, "Monitor scores by outcome", "llmguard_outcome", job=demo) == {("scored",): 4}
    (calls,) = totals(prometheus, "Calls", job=demo).values()
    assert calls == 10, "five retrievals, four answers and a blocked question"


def test_bars_add_up_to_the_total(tmp_path):
    """However a counter grew, and from its first report on, the bars of a curve add up to what it counted."""
    (query,) = panel("Verdicts by guardrail").asked(window="1s")
    verdict = {"llmguard.guardrail.name": "pii", "llmguard.verdict": "passed"}
    with exposing() as backend, scraping(backend.target, tmp_path) as server:
        telemetry = configure(backend.url, set_global=False)
        counter = telemetry.meter_provider.get_meter("test").create_counter("llmguard.guardrail.verdicts", "{verdict}")
        begun = time.time()
        for total in (5, 8, 20):
            counter.add(total - sum(s.value for s in server.query("llmguard_guardrail_verdicts_total")), verdict)
            assert telemetry.flush()
            server.wait_for(f"llmguard_guardrail_verdicts_total == {total}")
        telemetry.shutdown()
        assert server.added_up(query, begun - 5, time.time() + 2) == 20


def test_what_was_not_sent_is_on_the_dashboard(tmp_path):
    """A backend that takes metrics and refuses traces is told how many spans it lost, to the last one."""
    with exposing(refused="/v1/traces") as backend, scraping(backend.target, tmp_path) as server:
        telemetry = configure(backend.url, set_global=False, service_name="unlucky")
        tracer = telemetry.tracer_provider.get_tracer("test")
        for _ in range(3):
            tracer.start_span("lost").end()
        assert not telemetry.shutdown()
        server.wait_for("llmguard_telemetry_dropped_total")
        dropped = totals(server, "Telemetry dropped", "job", "llmguard_signal", "llmguard_reason", job="unlucky")
    assert telemetry.dropped == {"traces": {"export_failed": 3}}
    assert dropped == {("unlucky", "traces", "export_failed"): 3, ("", "", ""): 0}


def test_without_a_prometheus_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    """Where there is no command and no package, the error names both; a command on PATH is taken."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrometheusError, match=r"put the command prometheus on PATH, or let apt-get download"):
        prometheus_binary()
    own = tmp_path / "prometheus"
    own.touch(mode=0o755)
    assert prometheus_binary() == own


def test_a_query_that_is_wrong_is_refused(prometheus):
    """Prometheus parses the queries: a broken one is an error, not an empty answer."""
    with pytest.raises(PrometheusError, match="parse error"):
        prometheus.query("sum(")
