"""Tokens and records of schedules on the database of a coordinator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from coordinator.app.api.schedules.definition import Definition
from coordinator.app.api.session import Session
from coordinator.app.api.setup import Setup
from coordinator.app.api.wait import ThreadWait
from coordinator.app.program.database_ledger import DatabaseLedger
from coordinator.app.program.record_connection import RecordConnection
from coordinator.runtime.holders.holding import Holding
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.jobs import RunStoppedError
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.store.driver.errors import label
from coordinator.store.program.schedule import Holding as Holder

#: Time limit of a connection for the records.
CONNECT_S = 5.0


class SessionTokens:
    """Tokens of a session; the records of all schedules share one more connection."""

    def __init__(self, session: Session, setup: Setup) -> None:
        self._session, self._setup = session, setup
        self._records = RecordConnection(
            setup.conninfo, label=label(setup.conninfo), connect_timeout_s=CONNECT_S
        )

    @contextmanager
    def hold(self, token: str, stop: StopSignal) -> Iterator[Holding]:
        """Wait for a token, hold it for a block, and give it back."""
        wait = ThreadWait()
        try:
            self._session.ask(wait, token, None)
            with stop.calling(lambda: wait.interrupt(RunStoppedError("told to stop"))):
                holding = wait.wait()
            yield holding
        finally:
            if self._session.give_up(wait):
                wait.wait_for_release()

    def ledger(self, holding: Holding, definition: Definition, started_at: float) -> DatabaseLedger:
        """Return the group's record of a schedule, written under a holding."""
        return DatabaseLedger(
            self._records,
            Holder(
                schema=self._setup.schema,
                group=holding.group,
                term=holding.term,
                session=holding.session,
                name=definition.name if definition.group_token else "",
                node=holding.node,
            ),
            definition.trigger.max_count,
            clock=BoottimeClock(),
            node_started_at=started_at,
        )

    def close(self) -> None:
        """Close the connection to the records."""
        self._records.close()
