"""A takeover as a trace: its identifiers, its spans, and what a collector gets of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from coordinator.app.admin.status import Takeover
from coordinator.app.node.telemetry import trace
from coordinator.app.node.telemetry.export import readable
from coordinator.app.node.telemetry.trace import Start, spans, traceparent, wanted

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TAKEOVER = Takeover(
    group="orders",
    term=7,
    acquired_at=AT,
    age_s=3.0,
    ended_at=None,
    previous="a",
    node="b",
    how="takeover",
    reason="no heartbeat of a for 6.10 s",
    end_how=None,
    end_reason=None,
    gap_s=6.5,
    detected_s=6.1,
)
START = Start(session="s1", term=7, ordered_at=97.25, started_at=97.5)
READ_AT = 100.0  #: so the token was taken at 97.0 of the node's own clock


def moments(takeover: Takeover = TAKEOVER, start: Start = START) -> dict[str, tuple[float, float]]:
    """Return the begin and end of each span, in seconds after the token was taken."""
    return {
        each.name: ((each.began_at - AT).total_seconds(), (each.ended_at - AT).total_seconds())
        for each in spans(takeover, start, READ_AT)
    }


def test_a_takeover_lasts_from_the_last_sign_of_life_to_the_start_of_the_program():
    assert moments() == {
        "takeover": (-6.5, 0.5),
        "detected": (-6.1, 0.0),
        "taken": (0.0, 0.25),
        "program started": (0.25, 0.5),
    }


def test_a_first_term_has_no_gap_and_detected_nothing():
    first = replace(TAKEOVER, how="first", gap_s=None, detected_s=None, previous=None)

    assert moments(first)["takeover"] == (0.0, 0.5)
    assert "detected" not in moments(first)


def test_no_span_ends_before_it_begins_whatever_the_clocks_say():
    odd = replace(START, ordered_at=90.0, started_at=89.0)
    overlap = replace(TAKEOVER, gap_s=-4.0)

    for begin, end in moments(overlap, odd).values():
        assert begin <= end


def test_the_variable_of_the_program_names_the_takeover_as_its_parent():
    carrier = {"traceparent": traceparent("s1", 7)}
    context = TraceContextTextMapPropagator().extract(carrier)
    (found,) = [each.get_span_context() for each in context.values()]

    assert found.trace_id == trace.trace_id("s1", 7)
    assert found.span_id == spans(TAKEOVER, START, READ_AT)[0].span_id
    assert found.trace_flags.sampled


def test_each_holding_has_a_trace_of_its_own():
    holdings = [("s1", 7), ("s1", 8), ("s2", 7)]

    assert len({trace.trace_id(*each) for each in holdings}) == 3


def test_a_collector_gets_the_spans_below_one_that_has_the_facts():
    memory = InMemorySpanExporter()
    made = spans(TAKEOVER, START, READ_AT)

    memory.export(readable(trace.trace_id("s1", 7), made, trace.attributes(TAKEOVER)))

    whole, *parts = memory.get_finished_spans()
    assert whole.name == "takeover"
    assert whole.parent is None
    assert whole.attributes["coord.term"] == 7
    assert whole.attributes["coord.from"] == "a"
    assert whole.resource.attributes["service.name"] == "coord"
    assert whole.end_time - whole.start_time == 7_000_000_000
    assert [each.name for each in parts] == ["detected", "taken", "program started"]
    assert {each.parent.span_id for each in parts} == {whole.context.span_id}
    assert {each.context.trace_id for each in (whole, *parts)} == {trace.trace_id("s1", 7)}
    assert whole.start_time == int((AT - timedelta(seconds=6.5)).timestamp() * 1e9)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_takeovers_are_traced_where_a_collector_is_named(environ, expected):
    assert wanted(environ) is expected
