"""An OTLP/HTTP backend that shows the metrics it was pushed to a Prometheus: what a collector does, on two roads.

OpenTelemetry's own Prometheus exporter makes the names and the text; only the decoding is done here.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ._loopback import served
from ._otlp import _attributes
from ._receiver import Receiver, _Receive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb


class Exposition(Receiver):
    """Takes all signals; GET /metrics shows the last metrics of each process, with its `job` and `instance`."""

    def __init__(self, refused: str = "") -> None:
        super().__init__()
        self.RequestHandlerClass = _Expose
        self._refused = refused
        self._last: dict[str, list[pb.ResourceMetrics]] = {}

    @property
    def target(self) -> str:
        """Host and port, as Prometheus's configuration wants them."""
        return self.url.removeprefix("http://")

    def take(self, path: str, payload: bytes) -> bool:
        """Decode and keep one request; False if the path is none of OTLP's."""
        if path == self._refused:
            return False
        if path == "/v1/metrics":
            groups = ExportMetricsServiceRequest.FromString(payload).resource_metrics
            with self.lock:
                # Totals since the start: the last request of a process holds all that it said.
                for group in groups:
                    self._last[_identity(group.resource)["instance"]] = [group]
        return super().take(path, payload)

    def text(self) -> bytes:
        """The metrics in Prometheus's format."""
        with self.lock:
            groups = [group for groups in self._last.values() for group in groups]
        registry = CollectorRegistry()
        reader = PrometheusMetricReader(registry=registry, disable_target_info=True)
        data = sdk.MetricsData([_resource(group) for group in groups])
        reader._set_collect_callback(lambda *_, **__: reader._receive_metrics(data))
        return generate_latest(registry)


@contextmanager
def exposing(refused: str = "") -> Iterator[Exposition]:
    """An exposition for the length of the block; give an application its `url`, and Prometheus its `target`.

    It knows nothing of the path `refused`.
    """
    with served(Exposition(refused)) as exposition:
        yield exposition


class _Expose(_Receive):
    server: Exposition

    def do_GET(self) -> None:
        self.answer(200, CONTENT_TYPE_LATEST, self.server.text())


def _identity(resource: Any) -> dict[str, str]:
    """As Prometheus's OTLP receiver names a process."""
    told = _attributes(resource.attributes)
    return {"job": str(told["service.name"]), "instance": str(told["service.instance.id"])}


def _resource(group: pb.ResourceMetrics) -> sdk.ResourceMetrics:
    identity = _identity(group.resource)
    scopes = [
        sdk.ScopeMetrics(
            InstrumentationScope(scoped.scope.name, scoped.scope.version),
            [_metric(metric, identity) for metric in scoped.metrics],
            "",
        )
        for scoped in group.scope_metrics
    ]
    return sdk.ResourceMetrics(Resource({}), scopes, "")


def _metric(metric: pb.Metric, identity: dict[str, str]) -> sdk.Metric:
    cumulative = sdk.AggregationTemporality.CUMULATIVE
    data: sdk.Sum | sdk.Gauge | sdk.Histogram
    match metric.WhichOneof("data"):
        case "sum":
            assert metric.sum.aggregation_temporality == cumulative.value
            data = sdk.Sum([_number(p, identity) for p in metric.sum.data_points], cumulative, metric.sum.is_monotonic)
        case "gauge":
            data = sdk.Gauge([_number(point, identity) for point in metric.gauge.data_points])
        case "histogram":
            assert metric.histogram.aggregation_temporality == cumulative.value
            data = sdk.Histogram([_histogram(point, identity) for point in metric.histogram.data_points], cumulative)
        case kind:
            raise NotImplementedError(f"{metric.name} is a {kind}")
    return sdk.Metric(metric.name, metric.description, metric.unit, data)


def _number(point: pb.NumberDataPoint, identity: dict[str, str]) -> sdk.NumberDataPoint:
    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
    return sdk.NumberDataPoint({**_attributes(point.attributes), **identity}, 0, point.time_unix_nano, value)


def _histogram(point: pb.HistogramDataPoint, identity: dict[str, str]) -> sdk.HistogramDataPoint:
    return sdk.HistogramDataPoint(
        {**_attributes(point.attributes), **identity},
        0,
        point.time_unix_nano,
        point.count,
        point.sum,
        list(point.bucket_counts),
        list(point.explicit_bounds),
        point.min,
        point.max,
    )
