"""Telling of each takeover as a trace, once its program runs; nothing ever waits for that."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from coordinator.app.config.settings import NodeSettings
from coordinator.app.node.telemetry import trace
from coordinator.app.node.telemetry.export import exporter, installed, readable
from coordinator.app.node.telemetry.trace import Start
from coordinator.ports import Clock
from coordinator.protocol.node.events import StartProgram
from coordinator.protocol.node.state.node import Node

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from coordinator.app.admin.status import Takeover

#: A reading and a sending that take longer are given up, each.
TIMEOUT_S = 5.0
#: The row of the term was written so long before the start of its program at the most.
BEFORE_START_S = 600.0


class Teller:
    """Tells of the first start of the program under each term, if a collector is named."""

    def __init__(
        self,
        clock: Clock,
        *,
        wanted: bool | None = None,
        made: Callable[[], SpanExporter | None] = exporter,
    ) -> None:
        self._clock = clock
        self._made = made
        if wanted is None:
            wanted = trace.wanted(os.environ) and installed()
        self.wanted = wanted
        self._told = 0

    def started(
        self, settings: NodeSettings, command: StartProgram, node: Node
    ) -> threading.Thread | None:
        """Tell of a start, in a thread of its own; None: there is nothing to tell."""
        if not self.wanted or command.term <= self._told or node.run is None or not node.session:
            return None
        self._told = command.term
        start = Start(
            session=node.session,
            term=command.term,
            ordered_at=node.run.started_at,
            started_at=self._clock.now(),
        )
        thread = threading.Thread(
            target=self._tell, args=(settings, start), name="coord-trace", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            return None
        return thread

    def _tell(self, settings: NodeSettings, start: Start) -> None:
        try:
            sender = self._made()
            if sender is None:
                return
            found = self._read(settings, start)
            if found is not None:
                made = trace.spans(found, start, self._clock.now())
                number = trace.trace_id(start.session, start.term)
                sender.export(readable(number, made, trace.attributes(found)))
            sender.shutdown()
        except Exception as error:  # noqa: BLE001 - top of the thread
            # The history still has the takeover, and no program waits for its trace.
            name = type(error).__name__
            logging.getLogger("coord").warning("the trace of a takeover was not sent: %s", name)

    def _read(self, settings: NodeSettings, start: Start) -> Takeover | None:
        from coordinator.app.admin.status import StatusReader
        from coordinator.app.config.database_choice import of_node

        resolved, schema = of_node(settings.database), settings.database.schema
        since_s = self._clock.now() - start.started_at + BEFORE_START_S
        with closing(StatusReader(resolved, schema=schema, timeout_s=TIMEOUT_S)) as reader:
            rows = reader.history(settings.group_id, since_s=since_s).takeovers
        return next((row for row in rows if row.term == start.term), None)
