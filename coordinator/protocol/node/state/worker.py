"""State of a node's worker: the process that runs subtasks of operations under its session."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.protocol.operations.hung import Signs

#: Name by which a start is known as the worker's.
WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRun:
    """The run of a worker that was ordered and has not ended; it belongs to one session.

    hung: why it was killed as one that hangs, if it was (J1).
    """

    number: int
    session: str
    signs: Signs
    stopping: bool = False
    hung: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """Knowledge of a node about its worker.

    run:        the run that may have a process.
    offered_in: the session in which a worker ended well at least once: it has written what the
                node offers.
    next_at:    own clock: no worker is started before it.
    failures:   ends with an error in a row.
    """

    run: WorkerRun | None = None
    offered_in: str | None = None
    next_at: float = float("-inf")
    failures: int = 0
