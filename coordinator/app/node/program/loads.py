"""The loader of the states with which a node's programs begin (rule Y4)."""

from __future__ import annotations

from coordinator.app.config.settings import NodeSettings
from coordinator.ports import Clock
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.loads.files import StateFiles
from coordinator.runtime.agent.loads.loader import StateLoader
from coordinator.store.program.state_reader import PostgresStateReader


def loader_of(settings: NodeSettings, timing: Timing, clock: Clock) -> StateLoader:
    """Return a loader over connections of its own, so that no heartbeat waits for a state."""
    database = settings.database
    reader = PostgresStateReader(
        database.conninfo, database.schema, database.label, timing.attempt_s
    )
    return StateLoader(reader, StateFiles(), clock, give_up_s=timing.liveness_s)
