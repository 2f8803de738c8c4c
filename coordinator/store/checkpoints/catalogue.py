"""Connection to the catalogue of checkpoints of one group.

Each method is one short transaction; none of them has the life of a file in it. The order is
intent, files, commit (V1): `begin` writes what is about to be made, `commit` makes it count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import LiteralString, TypeVar

import psycopg

from coordinator.errors import OutcomeUnknownError, TokenLostError
from coordinator.store.admin.connection import AdminConnection, Cursor, Row, Rows
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.records import Holding, NewCheckpoint, NewSegment, SegmentChange
from coordinator.store.driver.errors import database_error
from coordinator.store.sql.fence import FENCE, NOT_CURRENT
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import surely_failed

T = TypeVar("T")
#: Content of one row of a small checkpoint.
ROW_BYTES = 1 << 20
#: So many checkpoints of one token begin at the same time at most; each waits for those before.
NUMBER_TRIES = 16


class Catalogue:
    """Catalogue of one group; close it after use."""

    def __init__(
        self, conninfo: str, *, schema: str, group: str, where: str, timeout_s: float
    ) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self.group, self.schema = group, schema
        self._connection = AdminConnection(conninfo, schema, where, timeout_s)

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; never waits."""
        self._connection.close()

    def server_time(self) -> datetime:
        """Return the server's clock."""
        return self._connection.server_time()

    def read(self, query: LiteralString, **values: object) -> Rows:
        """Return the rows of one query, in which `group` is this one."""
        return self._connection.read(query, group=self.group, **values)

    def change(self, statement: LiteralString, **values: object) -> Rows:
        """Run one statement, and return the rows that it returns."""
        return self._write(lambda cursor: self._rows(cursor, statement, **values))

    # --- checkpoints ------------------------------------------------------------------------------

    def begin(self, made: NewCheckpoint, segments: Sequence[NewSegment]) -> tuple[int, int]:
        """Write the intent of a checkpoint; return its number and its sequence.

        Errors: TokenLostError when the holding is not the token's.
        """

        def body(cursor: Cursor) -> tuple[int, int]:
            self._fence(cursor, made.holding)
            checkpoint, sequence = self._insert(cursor, made, "WRITING")
            for each in segments:
                self._run(
                    cursor,
                    statements.INSERT_SEGMENT,
                    segment=each.segment,
                    checkpoint=checkpoint,
                    place=each.place,
                    device=each.device,
                )
            return checkpoint, sequence

        return self._fenced(made.holding, body)

    def commit(
        self,
        checkpoint: int,
        holding: Holding,
        digest: bytes,
        files: Sequence[tuple[str, bytes, int]],
    ) -> None:
        """Make a checkpoint count: all its files are whole, and on their disks.

        files: segment, digest and length of each.
        Errors: TokenLostError when the holding is over, or the intent was collected since.
        """

        def body(cursor: Cursor) -> None:
            self._fence(cursor, holding)
            done = self._run(
                cursor,
                statements.COMMIT_CHECKPOINT,
                checkpoint=checkpoint,
                token=holding.token,
                term=holding.term,
                session=holding.session,
                digest=digest,
            )
            if done != 1:
                raise TokenLostError(
                    f"{holding.token} (term {holding.term}): checkpoint {checkpoint} was given up"
                    " meanwhile: nothing was committed"
                )
            for segment, each, length in files:
                done = self._run(
                    cursor,
                    statements.COMMIT_SEGMENT,
                    segment=segment,
                    checkpoint=checkpoint,
                    digest=each,
                    file_bytes=length,
                )
                assert done == 1, "an intent has all its segments"

        self._fenced(holding, body)

    def save(self, made: NewCheckpoint, digest: bytes, rows: Sequence[bytes]) -> tuple[int, int]:
        """Commit a small checkpoint with its content, in one transaction.

        Errors: TokenLostError when the holding is not the token's.
        """

        def body(cursor: Cursor) -> tuple[int, int]:
            self._fence(cursor, made.holding)
            checkpoint, sequence = self._insert(cursor, made, "COMMITTED", digest)
            for place, content in enumerate(rows):
                self._run(
                    cursor,
                    statements.INSERT_ROW,
                    checkpoint=checkpoint,
                    place=place,
                    content=content,
                )
            return checkpoint, sequence

        return self._fenced(made.holding, body)

    def give_up(self, checkpoint: int, late_s: float) -> None:
        """Let an intent of one's own go: its files are deleted later."""
        self.expire([checkpoint], ("WRITING",))
        self.forget([checkpoint], late_s)

    def expire(self, checkpoints: Sequence[int], states: Sequence[str] = ("COMMITTED",)) -> int:
        """Mark checkpoints as expired; return how many were in one of the states."""
        return len(
            self.change(statements.EXPIRE, checkpoints=list(checkpoints), states=list(states))
        )

    def forget(self, checkpoints: Sequence[int], late_s: float) -> int:
        """Forget expired checkpoints, and intents of holdings that are over; return how many.

        Their files are noted, to be deleted after late_s: a reader may have one of them open.
        """
        rows = self.change(
            statements.FORGET, checkpoints=list(checkpoints), late_ms=round(late_s * 1000)
        )
        return int(rows[0]["forgotten"])

    # --- segments ---------------------------------------------------------------------------------

    def change_segment(self, change: SegmentChange) -> bool:
        """Change a segment if it still has the version that was seen (V4); false if it has not."""
        return self.change_segments([change])

    def change_segments(
        self, changes: Sequence[SegmentChange], *more: tuple[LiteralString, Row]
    ) -> bool:
        """Change several segments, and run further statements, or nothing at all."""

        def body(cursor: Cursor) -> bool:
            for each in changes:
                if self._run(cursor, statements.CHANGE_SEGMENT, **each.values()) != 1:
                    raise _NotAsSeenError
            for statement, values in more:
                self._run(cursor, statement, **values)
            return True

        try:
            return self._write(body)
        except _NotAsSeenError:
            return False

    # --- inside -----------------------------------------------------------------------------------

    def _insert(
        self, cursor: Cursor, made: NewCheckpoint, state: str, digest: bytes | None = None
    ) -> tuple[int, int]:
        values = made.values() | {"state": state, "digest": digest}
        (row,) = self._rows(cursor, statements.INSERT_CHECKPOINT, **values)
        return int(row["id"]), int(row["sequence"])

    def _fence(self, cursor: Cursor, holding: Holding) -> None:
        values = {"group": holding.token, "term": holding.term, "session": holding.session}
        cursor.execute(named(FENCE, self._connection.schema), values)

    def _run(self, cursor: Cursor, statement: LiteralString, **values: object) -> int:
        known = {"group": self.group, **values}
        cursor.execute(named(statement, self._connection.schema), known)
        return cursor.rowcount

    def _rows(self, cursor: Cursor, statement: LiteralString, **values: object) -> Rows:
        self._run(cursor, statement, **values)
        return cursor.fetchall() if cursor.description is not None else []

    def _fenced(self, holding: Holding, body: Callable[[Cursor], T]) -> T:
        try:
            return self._numbered(body)
        except psycopg.Error as error:
            if error.sqlstate == NOT_CURRENT:
                raise TokenLostError(
                    f"{holding.token} (term {holding.term}): the token is lost: nothing was"
                    " committed"
                ) from error
            raise self._ours(error) from error

    def _numbered(self, body: Callable[[Cursor], T]) -> T:
        """Run a body again when another transaction of the token took the same sequence."""
        for _ in range(NUMBER_TRIES - 1):
            with suppress(psycopg.errors.UniqueViolation):
                return self._connection.write(body)
        return self._connection.write(body)

    def _write(self, body: Callable[[Cursor], T]) -> T:
        try:
            return self._connection.write(body)
        except psycopg.Error as error:
            raise self._ours(error) from error

    def _ours(self, error: psycopg.Error) -> Exception:
        if surely_failed(error):
            return database_error(error, self._connection.where)
        return OutcomeUnknownError(
            f"{self._connection.where}: the answer was lost: look with `coord checkpoint list`"
        )


class _NotAsSeenError(Exception):
    """A row is no longer as it was seen; the transaction is rolled back."""
