"""The loop of a worker: look, give back what was lost, claim, run, end; until nothing is left.

It decides nothing itself: protocol/operations says what to claim and who is lost. The process is
killed by the guardian when its node's trust ends (rule Q2), so no step here checks the deadline.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from coordinator.errors import CoordError, DatabaseUnreachableError, TokenLostError
from coordinator.ports import Clock, OperationType
from coordinator.protocol.operations import hung, owners
from coordinator.protocol.operations.claims import Look, OpenSubtask, OwnerSeen, choose
from coordinator.protocol.operations.types import (
    PlannedSubtask,
    SubtaskEnd,
    SubtaskState,
    TypeSpec,
)
from coordinator.runtime.worker.subtask import Life, Reporter, Subtask

#: Seconds between two looks while nothing can be claimed and something is open.
LOOK_S = 0.5
#: Seconds for which a worker stays after the last open subtask: the next statement meets it.
LINGER_S = 3.0
#: Looks between two checks for claims of nodes that were removed.
CHECK_LOOKS = 10


class Port(Protocol):
    """The database, as `store.operations.engine.Engine` has it."""

    def offer(self, specs: Iterable[TypeSpec]) -> None: ...  # noqa: D102

    def look(self, types: Iterable[str]) -> Look: ...  # noqa: D102

    def claim(self, subtask: OpenSubtask) -> int | None: ...  # noqa: D102

    def report(  # noqa: D102
        self, subtask: str, term: int, *, units: int, failed: int, size: int, total: int | None
    ) -> str: ...

    def end(  # noqa: D102
        self, subtask: str, term: int, end: SubtaskEnd, planned: tuple[PlannedSubtask, ...] = ()
    ) -> bool: ...

    def give_back(self, *, own: bool = False) -> int: ...  # noqa: D102

    def give_back_hung(self, hung: hung.Hung) -> bool: ...  # noqa: D102

    def forget(self) -> int: ...  # noqa: D102

    def end_silent(self, owner: OwnerSeen) -> bool: ...  # noqa: D102

    def transaction(self, subtask: str, term: int) -> AbstractContextManager[Any]: ...  # noqa: D102


@dataclass(slots=True, kw_only=True)
class Worker:
    """The worker of one node in one session.

    leaving: set when the node asks the worker to end.
    sign:    tells the node that this process lives (J2); it never waits.
    """

    group: str
    node: str
    session: str
    schema: str
    settings: Any
    types: Mapping[str, OperationType]
    port: Port
    clock: Clock
    leaving: threading.Event
    logger: logging.Logger
    sign: Callable[[], None]
    _owners: owners.Owners = field(default_factory=owners.Owners)
    _claims: hung.Claims = field(default_factory=hung.Claims)
    _looks: int = 0

    def run(self) -> None:
        """Work until nothing is open for a while, or the node asks to end.

        Errors: TokenLostError when a claim turned out to be another's; final errors of the
        database.
        """
        self._until_answered(lambda: self.port.offer(each.spec for each in self.types.values()))
        self._until_answered(lambda: self.port.give_back(own=True))
        self._until_answered(self.port.forget)
        idle_since: float | None = None
        while not self.leaving.is_set():
            self.sign()
            try:
                look = self.port.look(self.types)
                worked = self._turn(look)
            except DatabaseUnreachableError as error:
                self._wait_for_database(error)
                # The lost answer may have been that of a claim, and nothing runs here now.
                self._until_answered(lambda: self.port.give_back(own=True))
                continue
            now = self.clock.now()
            if worked or look.any_open:
                idle_since = None
            elif idle_since is None:
                idle_since = now
            elif now - idle_since >= LINGER_S:
                return
            if not worked:
                self.leaving.wait(LOOK_S)

    def _turn(self, look: Look) -> bool:
        """Give back what was lost and run one subtask; false when there was none to run."""
        now = self.clock.now()
        self._owners = owners.observed(self._owners, look, now)
        for owner in owners.silent(self._owners, look, self.node, now):
            self.port.end_silent(owner)
        self._give_back_hung(look, now)
        self._looks += 1
        if owners.lost(look) or (look.any_open and self._looks % CHECK_LOOKS == 0):
            self.port.give_back()
        chosen = choose(self.node, self.types, look.open, look.hosts)
        if chosen is None:
            return False
        term = self.port.claim(chosen)
        if term is not None:
            self._carry_out(chosen, term)
        return True

    def _give_back_hung(self, look: Look, now: float) -> None:
        limits = {
            name: kind.spec.hung_after_s
            for name, kind in self.types.items()
            if kind.spec.hung_after_s is not None
        }
        self._claims = hung.observed(self._claims, look, limits, now)
        for each in hung.hung(self._claims, look, limits, self.node, now):
            if self.port.give_back_hung(each):
                self.logger.warning(
                    "%s: %s %s hangs on %s: another node takes it",
                    *(self.group, each.subtask.type, each.subtask.entity, each.subtask.owner),
                    extra={"event": "subtask-hung"},
                )

    def _carry_out(self, chosen: OpenSubtask, term: int) -> None:
        subtask = self._subtask(chosen, term)
        life = Life(self.clock, self.types[chosen.type].spec.hung_after_s, self.sign)
        reporter = Reporter(subtask, self._report, life)
        reporter.start()
        try:
            end, planned = self._ran(chosen, subtask)
        finally:
            reporter.end()
        self._until_answered(lambda: self._report(subtask))
        done = self._until_answered(lambda: self.port.end(chosen.id, term, end, planned))
        if not done:
            # Its answer was lost, and it was written; or the claim is another's.
            self.logger.warning("%s: subtask %s was ended already", self.group, chosen.id)

    def _ran(
        self, chosen: OpenSubtask, subtask: Subtask
    ) -> tuple[SubtaskEnd, tuple[PlannedSubtask, ...]]:
        kind = self.types[chosen.type]
        try:
            if chosen.plan:
                plan = kind.plan(subtask)
                count = {"subtasks": len(plan.subtasks), **plan.result}
                return SubtaskEnd(SubtaskState.DONE, "", count), plan.subtasks
            return kind.run(subtask), ()
        except TokenLostError:
            raise
        except Exception as error:
            told = str(error).strip().partition("\n")[0]
            text = told if isinstance(error, CoordError) else f"{type(error).__name__}: {told}"
            self.logger.error(
                "%s: %s %s failed: %s",
                self.group,
                chosen.type,
                chosen.entity,
                text,
                exc_info=None if isinstance(error, CoordError) else error,
                extra={"event": "subtask-failed"},
            )
            return SubtaskEnd(SubtaskState.FAILED, text), ()

    def _subtask(self, chosen: OpenSubtask, term: int) -> Subtask:
        options: Any = chosen.options
        argument: Any = chosen.argument
        return Subtask(
            operation=chosen.operation,
            subtask=chosen.id,
            group=self.group,
            node=self.node,
            session=self.session,
            term=term,
            attempt=chosen.attempt + 1,
            location=chosen.location,
            location_name=chosen.place,
            options=options,
            entity=chosen.entity,
            argument=argument,
            settings=self.settings,
            schema=self.schema,
            open_transaction=self.port.transaction,
            leaving=self.leaving,
        )

    def _report(self, subtask: Subtask) -> str:
        return self.port.report(
            subtask.subtask,
            subtask.term,
            units=subtask.units,
            failed=subtask.failed,
            size=subtask.size,
            total=subtask.total,
        )

    def _until_answered(self, ask: Any) -> Any:
        """Ask until the database has answered; at the end of trust the process is killed."""
        while True:
            try:
                return ask()
            except DatabaseUnreachableError as error:
                self._wait_for_database(error)

    def _wait_for_database(self, error: DatabaseUnreachableError) -> None:
        self.logger.warning("%s: the worker waits: %s", self.group, error)
        self.sign()
        # Not `leaving`: what was done has to be told, also by a worker that is to end.
        threading.Event().wait(LOOK_S)
