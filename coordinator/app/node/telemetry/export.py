"""Spans in the types of the SDK of OpenTelemetry, which comes with the extra [otel]."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from coordinator.app.node.telemetry.trace import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def installed() -> bool:
    """Return true where the extra [otel] is installed; loads nothing of it."""
    try:
        return importlib.util.find_spec("opentelemetry.sdk.trace") is not None
    except ModuleNotFoundError:
        return False


def exporter() -> SpanExporter | None:
    """Return what sends to the collector that the environment names; None without the extra."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        return None
    return OTLPSpanExporter()


def readable(
    trace_id: int, spans: Sequence[Span], attributes: Mapping[str, str | int | float]
) -> tuple[ReadableSpan, ...]:
    """Return the spans as an exporter takes them; the first one has the attributes."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

    def context(span_id: int) -> SpanContext:
        flags = TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags)

    resource = Resource.create({"service.name": "coord"})
    return tuple(
        ReadableSpan(
            name=each.name,
            context=context(each.span_id),
            parent=None if each.parent_id is None else context(each.parent_id),
            resource=resource,
            attributes=attributes if each.parent_id is None else {},
            kind=SpanKind.INTERNAL,
            start_time=_nanoseconds(each.began_at),
            end_time=_nanoseconds(each.ended_at),
        )
        for each in spans
    )


def _nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000
