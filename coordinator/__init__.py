"""Exactly one active instance of a program among many nodes, over PostgreSQL.

    from coordinator import Coordinator

The names below are loaded when they are first used: the guardian of a node imports this package
and must stay small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coordinator.app.api.asynchronous.context import AsyncJobContext
    from coordinator.app.api.asynchronous.coordinator import AsyncCoordinator
    from coordinator.app.api.asynchronous.token import AsyncToken
    from coordinator.app.api.coordinator import Coordinator
    from coordinator.app.api.schedules.context import JobContext
    from coordinator.app.api.task import HeldTask
    from coordinator.app.api.token import Token
    from coordinator.app.held.gate import gate
    from coordinator.app.held.held import Held, held
    from coordinator.errors import (
        CoordError,
        OutcomeUnknownError,
        ScheduleEndedError,
        TokenHeldError,
        TokenLostError,
    )
    from coordinator.protocol.messages.schedule import Retry
    from coordinator.runtime.schedule.jobs import RunContext

__version__ = "0.1.0"
__all__ = [
    "AsyncCoordinator",
    "AsyncJobContext",
    "AsyncToken",
    "CoordError",
    "Coordinator",
    "Held",
    "HeldTask",
    "JobContext",
    "OutcomeUnknownError",
    "Retry",
    "RunContext",
    "ScheduleEndedError",
    "Token",
    "TokenHeldError",
    "TokenLostError",
    "gate",
    "held",
]

_HOMES = {
    "Held": "coordinator.app.held.held",
    "AsyncCoordinator": "coordinator.app.api.asynchronous.coordinator",
    "AsyncJobContext": "coordinator.app.api.asynchronous.context",
    "AsyncToken": "coordinator.app.api.asynchronous.token",
    "Coordinator": "coordinator.app.api.coordinator",
    "HeldTask": "coordinator.app.api.task",
    "Token": "coordinator.app.api.token",
    "CoordError": "coordinator.errors",
    "JobContext": "coordinator.app.api.schedules.context",
    "OutcomeUnknownError": "coordinator.errors",
    "Retry": "coordinator.protocol.messages.schedule",
    "RunContext": "coordinator.runtime.schedule.jobs",
    "ScheduleEndedError": "coordinator.errors",
    "TokenHeldError": "coordinator.errors",
    "TokenLostError": "coordinator.errors",
    "gate": "coordinator.app.held.gate",
    "held": "coordinator.app.held.held",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
