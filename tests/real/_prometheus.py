"""A real Prometheus: found on PATH, or taken out of the system's own package, without installing it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import urlopen

from ._process import HOST, Child, free_ports, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_START_LIMIT = 60.0
_PACKAGE_LIMIT = 300.0
_ADVICE = (
    "the tests of the dashboard need Prometheus: put the command prometheus on PATH, or let apt-get download the "
    "package prometheus on a Debian or Ubuntu machine"
)


class PrometheusError(RuntimeError):
    """There is no Prometheus, or it refused a query; the message says why."""


@dataclass(frozen=True)
class Sample:
    """One series of an answer: its labels, and its value now."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Prometheus:
    """A running server that scrapes one target, once or more a second."""

    url: str
    child: Child

    def query(self, promql: str) -> list[Sample]:
        """What an instant query answers now.

        Raises:
            PrometheusError: with Prometheus's own words, if it does not take the query.
        """
        answer = self._get("/api/v1/query", query=promql)
        if answer["resultType"] == "scalar":
            return [Sample({}, float(answer["result"][1]))]
        return [Sample(series["metric"], float(series["value"][1])) for series in answer["result"]]

    def added_up(self, promql: str, start: float, end: float, step: int = 1) -> float:
        """The sum of all values of a query from `start` to `end` (Unix time), one every `step` seconds: of all bars."""
        span = {"start": str(start), "end": str(end), "step": str(step)}
        answer = self._get("/api/v1/query_range", query=promql, **span)
        return sum(float(value) for series in answer["result"] for _, value in series["values"])

    def wait_for(self, promql: str, timeout: float = 60.0) -> list[Sample]:
        """What a query answers, as soon as that is not empty; AssertionError after `timeout` seconds."""
        found: list[Sample] = []

        def answered() -> bool:
            found[:] = self.query(promql)
            return bool(found)

        wait_until(answered, limit=timeout, otherwise=lambda: f"nothing for {promql}; its log:\n{self.child.output()}")
        return found

    def _get(self, path: str, **parameters: str) -> Mapping[str, object] | dict:
        request = f"{self.url}{path}?{urlencode(parameters)}"
        try:
            with urlopen(request, timeout=30) as response:
                return json.load(response)["data"]
        except OSError as error:
            said = error.read().decode() if hasattr(error, "read") else str(error)
            raise PrometheusError(f"{parameters}: {said}") from error


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus for the length of the block that scrapes `target` (host:port); its data are in `folder`.

    The labels `job` and `instance` are those of the target's own, as where an application pushes.
    """
    (port,) = free_ports(1)
    config = folder / "prometheus.yaml"
    job = {"job_name": "otlp", "honor_labels": True, "static_configs": [{"targets": [target]}]}
    config.write_text(json.dumps({"global": {"scrape_interval": "500ms"}, "scrape_configs": [job]}))  # JSON is YAML
    command = [
        str(prometheus_binary()),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    ]
    url = f"http://{HOST}:{port}"
    with serving(command, log=folder / "prometheus.log", ready=lambda: _ready(url), limit=_START_LIMIT) as child:
        yield Prometheus(url, child)


def _ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def prometheus_binary() -> Path:
    """The command `prometheus`; where there is none, that of the system's package, kept in the user's cache folder.

    Raises:
        PrometheusError: if there is none and the package cannot be had.
    """
    found = shutil.which("prometheus")
    if found:
        return Path(found)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmguard-tests"
    binary = cache / "prometheus"
    if not binary.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            # Other test processes may be here, too: each with a folder of its own, and the last one's file stays.
            _unpacked(Path(scratch)).replace(binary)
    return binary


def _unpacked(scratch: Path) -> Path:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise PrometheusError(_ADVICE)
    download = ["apt-get", "download", "--quiet", "prometheus"]
    try:
        _run(download, scratch)
    except PrometheusError:
        _run(["apt-get", "update", "--quiet"], scratch)  # stale lists name packages that are gone
        _run(download, scratch)
    (package,) = scratch.glob("prometheus_*.deb")
    _run(["dpkg", "-x", str(package), "unpacked"], scratch)
    return scratch / "unpacked" / "usr" / "bin" / "prometheus"


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_PACKAGE_LIMIT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise PrometheusError(f"{_ADVICE}; {' '.join(command)} took too long") from None
    if done.returncode != 0:
        raise PrometheusError(f"{_ADVICE}; {' '.join(command)} failed: {done.stderr.strip()[-500:]}")
