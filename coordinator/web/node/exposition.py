"""Samples as the text that Prometheus reads; prometheus-client comes with the extra [metrics]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from coordinator.web.http1 import Reply
from coordinator.web.node.catalogue import METRICS, Kind, Metric
from coordinator.web.node.samples import Gaps, Sample, by_metric, cumulative

#: The server has the resource, and this installation cannot give it.
NOT_IMPLEMENTED = 501
ABSENT = "metrics need prometheus-client, which is not installed: pip install 'coord[metrics]'"


def exposed(made: tuple[Sample, ...], accept: str, term: int) -> Reply:
    """Write samples in the format that the client accepts; 501 without prometheus-client."""
    try:
        from prometheus_client.exposition import choose_encoder
    except ImportError:
        return Reply(NOT_IMPLEMENTED, {"error": ABSENT}, term)
    encode, content_type = choose_encoder(accept)
    return Reply(200, encode(_Collected(made)), term, content_type)


class _Collected:
    """Samples in the shape of a collector of prometheus-client."""

    def __init__(self, made: tuple[Sample, ...]) -> None:
        self._made = by_metric(made)

    def collect(self) -> Iterator[Any]:
        """Yield a family for each metric that has samples."""
        for metric in METRICS:
            if found := self._made.get(metric.name):
                yield _family(metric, found)


def _family(metric: Metric, found: Sequence[Sample]) -> Any:
    from prometheus_client import metrics_core as core

    kinds = {
        Kind.GAUGE: core.GaugeMetricFamily,
        Kind.COUNTER: core.CounterMetricFamily,
        Kind.HISTOGRAM: core.HistogramMetricFamily,
    }
    family: Any = kinds[metric.kind](metric.name, metric.help, labels=metric.labels)
    for sample in found:
        if isinstance(sample.value, Gaps):
            family.add_metric(sample.labels, cumulative(sample.value), sample.value.sum_s)
        else:
            family.add_metric(sample.labels, sample.value)
    return family
