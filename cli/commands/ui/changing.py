"""Changes from the page, carried out as the commands do: `coord switchover` and so on."""

from __future__ import annotations

import threading
from typing import Any

from coordinator.app.admin.planned import (
    Asked,
    PlannedChanges,
    PlannedKind,
    PlannedLine,
    PlannedOutcome,
)
from coordinator.app.admin.planned_lines import sentence
from coordinator.app.config.database_choice import Resolved
from coordinator.cli.render import documents
from coordinator.errors import ConditionFalseError
from coordinator.protocol.messages.planned import PAUSES
from coordinator.web.page.changes import Wanted

#: Verbs that ask for a change that stands until it is done or ended.
ASKS = {
    "switchover": PlannedKind.SWITCHOVER,
    "pause-work": PlannedKind.PAUSE_WORK,
    "pause-takeovers": PlannedKind.PAUSE_TAKEOVERS,
    "drain": PlannedKind.DRAIN,
}
#: Verbs that end such changes, and the words for that there is none.
ENDS = {
    "resume": (PAUSES, "the group is not paused"),
    "undrain": ((PlannedKind.DRAIN,), "the node is not drained"),
}


class Changing:
    """Connection for each change, one at a time: people are slow."""

    def __init__(self, resolved: Resolved, schema: str, timeout_s: float) -> None:
        self._resolved, self._schema, self._timeout_s = resolved, schema, timeout_s
        self._one = threading.Lock()

    def carry(self, wanted: Wanted) -> dict[str, Any]:
        """Carry out a change; return its document.

        Errors: ConditionFalseError with what is in the way; NotFoundError; DatabaseRefusedError.
        """
        with self._one:
            changes = PlannedChanges(self._resolved, schema=self._schema, timeout_s=self._timeout_s)
            try:
                change = _carried(changes, wanted)
            finally:
                changes.close()
        return documents.planned_fields(change) | {"sentence": sentence(change)}


def _carried(changes: PlannedChanges, wanted: Wanted) -> PlannedLine:
    if wanted.verb in ASKS:
        asked = Asked(kind=ASKS[wanted.verb], node=wanted.node, reason=wanted.reason)
        return changes.look(changes.ask(wanted.group, asked))
    kinds, otherwise = ENDS[wanted.verb]
    ended = changes.end(
        wanted.group, kinds, PlannedOutcome.DONE, node=wanted.node, reason=wanted.reason
    )
    if not ended:
        raise ConditionFalseError(f"{wanted.group}: {otherwise}")
    return ended[0]
