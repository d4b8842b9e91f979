"""The set-ups of `examples/backends` fit together, and name nothing that is not emitted.

No container runtime is needed: this is what can be known without one.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import yaml

from llmguard_middleware._verdict import Outcome
from llmguard_middleware.telemetry import _names as names
from llmguard_middleware.telemetry._metrics._table import TABLE

FOLDER = Path(__file__).parents[1] / "examples" / "backends"
SETUPS = ("collector", "jaeger", "tempo")
COLLECTORS = ("collector/collector.yaml", "jaeger/config.yaml", "tempo/collector.yaml")
DASHBOARD = FOLDER / "tempo" / "grafana" / "llmguard.json"
ATTRIBUTES = {value for name, value in vars(names).items() if name.isupper()}
GROWN = "(last_over_time({0}[{1}]) - {0} offset {1} or last_over_time({0}[{1}]))"


def read(path: str) -> dict[str, Any]:
    """A YAML file of the folder."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / path).read_text(encoding="utf-8"))
    return loaded


def published(setup: str) -> dict[int, int]:
    """The ports of this machine that lead into a set-up, and where to."""
    ports = [
        port for service in read(f"{setup}/compose.yaml")["services"].values() for port in service.get("ports", ())
    ]
    assert all(port.startswith("127.0.0.1:") for port in ports), "nothing is open to others"
    return {int(outside): int(inside) for _, outside, inside in (port.split(":") for port in ports)}


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def targets(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Title and target of all panels that ask this kind of data source."""
    return [
        (panel["title"], target)
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
        if target["datasource"]["type"] == kind
    ]


def in_prometheus(metric: str) -> set[str]:
    """The names of a metric's series after Prometheus's translation of OTLP (units and `_total` added)."""
    kind, unit = TABLE[metric].kind, TABLE[metric].unit
    name = metric.replace(".", "_") + {"s": "_seconds"}.get(unit, "")
    if kind == "histogram":
        return {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    if kind == "counter":
        return {f"{name}_total"}
    return {name, f"{name}_ratio"} if unit == "1" else {name}


@pytest.mark.parametrize("setup", SETUPS)
def test_three_lines_start_a_backend_and_point_the_demo_at_it(setup):
    """Each README has the three lines, and the ports that they name are published."""
    text = (FOLDER / setup / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    up, demo, look = block.strip().splitlines()
    assert up == "docker compose up -d"
    assert demo == "uv run llmguard demo --otlp http://localhost:4318"
    page = urlsplit(look.removeprefix("python3 -m webbrowser ").strip("'"))
    ports = published(setup)
    assert {4317: 4317, 4318: 4318}.items() <= ports.items()
    assert page.port in ports


@pytest.mark.parametrize("setup", SETUPS)
def test_services_get_the_files_that_they_are_told_to_read(setup):
    """Images are pinned to a version; every mounted file is there; every file named in a command is mounted."""
    services = read(f"{setup}/compose.yaml")["services"]
    for service in services.values():
        assert re.fullmatch(r"[\w/.-]+:v?\d+\.\d+\.\d+", service["image"])
        mounted = set()
        for volume in service.get("volumes", ()):
            source, target, mode = volume.split(":")
            assert (FOLDER / setup / source).is_file(), volume
            assert mode == "ro"
            mounted.add(target)
        for word in service.get("command", ()):
            for path in re.findall(r"/etc/\S+\.yaml", word):
                assert path in mounted
        assert set(service.get("depends_on", ())) <= set(services)


@pytest.mark.parametrize("path", COLLECTORS)
def test_pipelines_use_what_is_defined_and_nothing_is_left_over(path):
    """All three signals are taken, every part of a pipeline is defined, every defined part is used."""
    config = read(path)
    pipelines = config["service"]["pipelines"]
    assert set(pipelines) == {"traces", "metrics", "logs"}
    for kind in ("receivers", "processors", "exporters"):
        used = set(itertools.chain.from_iterable(pipeline.get(kind, ()) for pipeline in pipelines.values()))
        assert used == set(config.get(kind, {}))
    assert set(config["service"].get("extensions", ())) == set(config.get("extensions", {}))


@pytest.mark.parametrize("setup", ["collector", "tempo"])
def test_a_collector_sends_to_services_that_are_there(setup):
    """Every host that the collector and Grafana's data sources name is a service of the same compose file."""
    services = set(read(f"{setup}/compose.yaml")["services"])
    texts = [
        path.read_text(encoding="utf-8") for path in (FOLDER / setup).rglob("*.yaml") if path.name != "compose.yaml"
    ]
    hosts = {host for text in texts for host in re.findall(r"(?:endpoint|url): (?:http://)?([a-z]+):\d+", text)}
    assert hosts
    assert hosts <= services


def test_tail_sampling_keeps_every_violation():
    """The policies name attributes that are emitted, every verdict but a clean one, and errors."""
    policies = read("collector/collector.yaml")["processors"]["tail_sampling"]["policies"]
    by_type = {policy["name"]: policy[policy["type"]] for policy in policies}
    assert {told["key"] for told in by_type.values() if "key" in told} <= ATTRIBUTES
    assert by_type["violations"]["key"] == names.VERDICT
    assert set(by_type["violations"]["values"]) == set(get_args(Outcome)) - {"passed", "skipped"}
    assert by_type["errors"] == {"status_codes": ["ERROR"]}
    assert [policy["type"] for policy in policies][-1] == "probabilistic"


def test_grafana_is_provisioned_with_what_the_dashboard_asks():
    """Data sources have the uids that panels name; the dashboard is where its provider looks and the README points."""
    sources = {(source["type"], source["uid"]) for source in read("tempo/grafana/datasources.yaml")["datasources"]}
    told = dashboard()
    asked = [panel["datasource"] for panel in told["panels"] if panel["type"] != "row"]
    asked += [target["datasource"] for panel in told["panels"] for target in panel.get("targets", ())]
    asked += [variable["datasource"] for variable in told["templating"]["list"]]
    assert {(source["type"], source["uid"]) for source in asked} == sources
    (provider,) = read("tempo/grafana/dashboards.yaml")["providers"]
    mounts = [volume.split(":")[1] for volume in read("tempo/compose.yaml")["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/llmguard.json" in mounts
    for kind in ("datasources", "dashboards"):
        assert any(mount.startswith(f"/etc/grafana/provisioning/{kind}/") for mount in mounts)
    assert f"/d/{told['uid']}'" in (FOLDER / "tempo" / "README.md").read_text(encoding="utf-8")


def test_panels_have_their_own_places():
    """Each panel has an id of its own and lies inside the grid, over no other."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not own & cells
        cells |= own


def test_the_dashboard_asks_only_for_metrics_that_are_emitted():
    """Every metric and every label in its queries is one of ours, as Prometheus calls it."""
    known = set(itertools.chain.from_iterable(map(in_prometheus, TABLE))) | {"llmguard_telemetry_dropped_total"}
    labels = {name.replace(".", "_") for name in ATTRIBUTES} | {"job", "le", "llmguard_signal", "llmguard_reason"}
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    for title, target in targets("prometheus"):
        query = target["expr"].replace('{__name__=~"llmguard_breaker_state(_ratio)?", ', "llmguard_breaker_state{")
        metrics = set(re.findall(r"(\w+)\{", query))
        assert metrics, title
        assert metrics <= known, title
        selected = set(re.findall(r"[{,] ?(\w+)(?:=|!=|=~|!~)\"", query))
        grouped = {label for by in re.findall(r"(?:by|ignoring) \(([^)]*)\)", query) for label in by.split(", ")}
        assert selected | grouped <= labels, title
        assert {name for name in re.findall(r"\$(\w+)", query) if not name.startswith("__")} <= variables, title


def test_the_readme_tells_every_query_of_the_dashboard():
    """The table of panels, with `grown(...)` written out, is what the dashboard asks, in its order."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert GROWN.format("M", "W") in text
    told = re.findall(r"^\| ([^|]*) ?\| `(.*)` \|$", text.partition("| panel |")[2], re.MULTILINE)
    title, rows = "", []
    windows = {
        panel["title"]: "$__range" if panel["type"] == "stat" else "$__interval" for panel in dashboard()["panels"]
    }
    for named, query in told:
        title = named.strip() or title
        window = windows[title]
        rows.append((title, re.sub(r"grown\((\w+\{[^}]*\})\)", lambda m, w=window: GROWN.format(m[1], w), query)))
    assert rows == [(title, target["expr"]) for title, target in targets("prometheus")]


def test_searches_of_the_dashboard_name_attributes_that_are_emitted():
    """The panels that ask Tempo do so by attributes of ours."""
    for _, target in targets("tempo"):
        assert set(re.findall(r"span\.([\w.]+)", target["query"])) <= ATTRIBUTES
