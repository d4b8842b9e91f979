"""The Grafana dashboard of `examples/backends/tempo`, as the tests read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "examples" / "backends"
FILE = FOLDER / "tempo" / "grafana" / "llmguard.json"


@dataclass(frozen=True)
class Panel:
    """A panel's title and the PromQL of its targets, as they are in the file."""

    title: str
    queries: tuple[str, ...]

    def asked(self, *, job: str = ".*", model: str = ".*", window: str = "1h") -> tuple[str, ...]:
        """Its queries as Grafana sends them, for this project, this model and this long."""
        values = {"$__range": window, "$__interval": window, "$job": job, "$model": model}
        return tuple(_filled(query, values) for query in self.queries)


def _filled(query: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        query = query.replace(name, value)
    return query


def dashboard() -> dict[str, Any]:
    """The whole file."""
    loaded: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[Panel]:
    """The panels that ask Prometheus."""
    return [
        Panel(panel["title"], tuple(target["expr"] for target in panel["targets"]))
        for panel in dashboard()["panels"]
        if panel["type"] != "row" and panel["datasource"]["type"] == "prometheus"
    ]


def panel(title: str) -> Panel:
    """The panel of this title."""
    (found,) = (panel for panel in panels() if panel.title == title)
    return found
