"""The group's own program: its orders, its side runs, and the socket of its progress reports."""

from __future__ import annotations

import logging

from coordinator.app.checkpoints.around import loading
from coordinator.app.node.asked_lines import say_started
from coordinator.app.node.own.side_orders import side_orders
from coordinator.app.node.program_orders import orders
from coordinator.app.node.reload import LiveSettings
from coordinator.app.node.telemetry.teller import Teller
from coordinator.app.node.telemetry.trace import traceparent
from coordinator.errors import CoordError
from coordinator.ports import Clock
from coordinator.protocol.node.events import StartProgram
from coordinator.protocol.node.state.node import Node
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.agent.progress_sockets import ProgressLines


class OwnProgram:
    """Orders for the program and its side runs; the twin of TaskNode."""

    def __init__(self, live: LiveSettings, settings_fd: int, clock: Clock) -> None:
        self._live, self._settings_fd = live, settings_fd
        self.progress = ProgressLines(clock)
        self._teller = Teller(clock)

    def orders(self, command: StartProgram, session: str, node: Node) -> Orders:
        """Return the orders to start the program, or a side run.

        Errors: CoordError if there is no socket for its reports.
        """
        settings = self._live.now
        if command.side:
            return side_orders(settings, command, session)
        given = orders(settings, self._settings_fd, command.term, session)
        given = loading(settings, self._settings_fd, given)
        if self._teller.wanted and command.term:
            given.env["TRACEPARENT"] = traceparent(session, command.term)
        progress_s = node.policy.hung.progress_s
        if not progress_s:
            return given
        try:
            notify = self.progress.open(command.run)
        except OSError as error:
            raise CoordError(f"no socket for the program's progress: {error}") from error
        given.env["NOTIFY_SOCKET"] = notify
        given.env["WATCHDOG_USEC"] = str(round(progress_s * 1e6))
        return given

    def look(self, node: Node) -> None:
        """Close the sockets of runs that have ended."""
        runs = (node.run, node.preparation.run, node.worker.run)
        self.progress.keep({run.number for run in runs if run is not None})

    def say_started(
        self, logger: logging.Logger, command: StartProgram, pid: int, node: Node
    ) -> None:
        """Log that the program runs; a side run is told of by its consequences only."""
        if not command.side:
            say_started(logger, self._live.now, command.term, pid)
            self._teller.started(self._live.now, command, node)
