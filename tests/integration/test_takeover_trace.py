"""The trace of a takeover, from the row that the database has of it to an exporter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from coordinator.app.config.settings import DatabaseSettings, NodeSettings, ProgramSettings
from coordinator.app.node.own.program import OwnProgram
from coordinator.app.node.reload import LiveSettings
from coordinator.app.node.telemetry.teller import Teller
from coordinator.app.node.telemetry.trace import traceparent
from coordinator.protocol.node.events import StartProgram
from coordinator.runtime.linux.clock import BoottimeClock
from tests.conformance.worlds import GROUP
from tests.support.nodes.store_nodes import joined_nodes
from tests.unit.web.node.test_checks import HOLDER

pytestmark = pytest.mark.real


def test_the_first_start_under_a_term_is_told_once(database):
    memory = InMemorySpanExporter()
    clock = BoottimeClock()
    teller = Teller(clock, wanted=True, made=lambda: memory)
    where = DatabaseSettings(
        conninfo=database.conninfo, schema=database.schema, named=True, label="db"
    )
    settings = NodeSettings(task_id="a", group_id=GROUP, database=where)
    with joined_nodes(database, "a") as (a,):
        term = a.win()
        run = replace(HOLDER.run, term=term, started_at=clock.now())
        node = replace(HOLDER, run=run, session=a.session)
        command = StartProgram(1, term, clock.now() + 10.0)
        thread = teller.started(settings, command, node)
        assert thread is not None
        thread.join(30.0)

        assert teller.started(settings, command, node) is None

    whole, *parts = memory.get_finished_spans()
    assert (whole.name, whole.attributes["coord.how"]) == ("takeover", "first")
    assert [each.name for each in parts] == ["taken", "program started"]
    named = f"00-{whole.context.trace_id:032x}-{whole.context.span_id:016x}-01"
    assert named == traceparent(a.session, term)


@pytest.mark.parametrize("collector", [None, "http://127.0.0.1:1"])
def test_a_program_hears_of_its_trace_where_there_is_one(monkeypatch, collector):
    if collector is not None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
    program = ProgramSettings(argv=("true",))
    settings = NodeSettings(task_id="a", group_id=GROUP, program=program)
    own = OwnProgram(LiveSettings(settings), 5, BoottimeClock())

    env = own.orders(StartProgram(1, 7, 10.0), "s1", HOLDER).env

    assert env.get("TRACEPARENT") == (None if collector is None else traceparent("s1", 7))
