"""A claimed subtask without an engine: its claim is a value that a test takes away."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from coordinator.errors import TokenLostError
from coordinator.protocol.operations.types import Location
from coordinator.store.driver import connect as driver


@dataclass(slots=True)
class Claimed:
    """Keeps the promises of `coordinator.ports.ClaimedSubtask`.

    lost_after: transactions that commit before the claim is lost; None: it is never lost.
    stop_after: units after which the operation is cancelled.
    """

    database: Any
    node: str
    settings: Any
    group: str = "orders"
    operation: str = field(default_factory=lambda: str(uuid.uuid4()))
    subtask: str = field(default_factory=lambda: str(uuid.uuid4()))
    session: str = field(default_factory=lambda: str(uuid.uuid4()))
    term: int = 1
    attempt: int = 1
    location: Location = Location.CLUSTER
    location_name: str | None = "orders"
    options: Mapping[str, Any] = field(default_factory=dict)
    entity: str = "orders"
    argument: Mapping[str, Any] = field(default_factory=dict)
    lost_after: int | None = None
    stop_after: int | None = None
    told: int = 0

    @property
    def schema(self) -> str:
        return str(self.database.schema)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        if self.lost_after is not None:
            if self.lost_after == 0:
                raise TokenLostError("the claim is lost")
            self.lost_after -= 1
        with (
            driver.open_session(self.database.conninfo) as connection,
            connection.transaction(),
        ):
            yield connection

    def stop_asked(self) -> bool:
        return self.stop_after is not None and self.told >= self.stop_after

    def progress(
        self,
        *,
        units: int,
        failed: int = 0,  # noqa: ARG002 - as the port has it
        size: int = 0,  # noqa: ARG002
        total_units: int | None = None,  # noqa: ARG002
    ) -> None:
        self.told = units
