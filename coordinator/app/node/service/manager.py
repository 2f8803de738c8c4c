"""The node's side of its service manager: messages, and the record for the unit's last command."""

from __future__ import annotations

import time
from collections.abc import Callable

from coordinator.app.config.settings import NodeSettings, UnitSettings
from coordinator.app.node.log_lines import sentence
from coordinator.app.node.service.news import ALIVE, READY, Told, news, reloading, status
from coordinator.app.node.service.notify import notify
from coordinator.protocol.node.events import LogLine
from coordinator.protocol.node.state.node import Node
from coordinator.runtime.agent.node_record import NodeRecord, NoRecord

#: Reports that say what the node is now.
ROLES = (
    *("active", "standby", "stopping", "candidate", "promotable", "member", "rehab"),
    *("database-lost", "database-back", "left"),
)


class ServiceManager:
    """Tells the manager what it wants to know; without one it does nothing.

    dying: programs of the dead agent before this one may still live; None: there was none.
    """

    def __init__(
        self,
        settings: NodeSettings,
        dying: bool | None = None,
        say: Callable[[str, str], None] = notify,
    ) -> None:
        unit = settings.unit or UnitSettings()
        self._address, self._watched, self._say = unit.notify, bool(unit.watchdog_s), say
        self._told, self._in_session = Told(), False
        self._record = None
        if unit.record is not None:
            self._record = NodeRecord(
                unit.record,
                start=unit.start,
                group=settings.group_id,
                node=settings.task_id,
                succeeds=dying is not None,
            )
            if dying is False:
                self._record.inherited_over()

    @property
    def runs(self) -> NodeRecord | NoRecord:
        """The record that has to be told of every run."""
        return self._record or NoRecord()

    def look(self, node: Node) -> None:
        """Take the node's state after each turn."""
        self._in_session = node.session is not None
        if self._record is not None:
            self._record.entered(node.session)
        self._told, words = news(self._told, node)
        for word in words:
            if word != ALIVE or self._watched:
                self._tell(word)

    def note(self, report: LogLine, node: Node) -> None:
        """Show a change of role as the unit's status."""
        if report.event in ROLES:
            self._tell(status(sentence(report, node)))

    def reload_begins(self) -> None:
        """Tell that the configuration is read again; `reload_ends` follows."""
        if self._told.ready:
            self._tell(reloading(time.monotonic()))

    def reload_ends(self) -> None:
        """Tell that it was read, by any thread."""
        if self._told.ready:
            self._tell(READY)

    def stop(self) -> None:
        """Leave no record behind where the node has left its group in order."""
        if self._record is not None and not self._in_session:
            self._record.end()

    def _tell(self, word: str) -> None:
        if self._address:
            self._say(self._address, word)
