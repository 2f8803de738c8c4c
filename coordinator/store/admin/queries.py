"""The questions that people ask, as SQL on the views that `psql` shows them too.

Plain psycopg, without SQLAlchemy: these commands must start fast.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from coordinator.errors import SchemaError
from coordinator.store.driver import connect as driver
from coordinator.store.driver.errors import database_error, role_of
from coordinator.store.schema.aliases import remarks
from coordinator.store.schema.facts import refuse_incomplete
from coordinator.store.schema.migrate import SCHEMA_HEAD, why_none
from coordinator.store.sql.statement import STARTED_AT, TIMELINE

REVISION = sql.SQL("SELECT version_num FROM {schema}.coord_version")

#: With what holds up a group after a failover (rule E3), NULL where nothing does: wait_s is counted
#: from when the group's first node saw the branch. A standby cannot tell its timeline.
GROUPS = sql.SQL(
    """
SELECT group_id, state, task_id, term, since, standby_count, beat_age_s, lease_left_s,
       leaderless_s, liveness_s,
       CAST(EXTRACT(EPOCH FROM statement_timestamp() - since) AS double precision) AS since_age_s,
       unsettled.timeline AS unsettled_timeline, unsettled.restarted,
       CAST(unsettled.longest_ms / 1000.0 - EXTRACT(
           EPOCH FROM statement_timestamp() - unsettled.first_seen_at
       ) AS double precision) AS wait_s
FROM {schema}.coord_status AS status
LEFT JOIN LATERAL (
    SELECT epoch.timeline, epoch.first_seen_at,
        EXISTS (
            SELECT FROM {schema}.database_epoch AS earlier
            WHERE earlier.branch = epoch.branch AND earlier.started_at < epoch.started_at
        ) AS restarted,
        (
            SELECT max(near.liveness_ms) FROM {schema}.health_check AS near
            WHERE near.group_id = status.group_id AND near.ended_at IS NULL
        ) AS longest_ms
    FROM {schema}.group_record AS record, {schema}.database_epoch AS epoch
    WHERE record.group_id = status.group_id
        AND epoch.group_id = status.group_id
        AND epoch.timeline = CASE WHEN NOT pg_is_in_recovery() THEN {timeline} END
        AND epoch.started_at = {started_at}
        AND NOT epoch.settled
        AND (record.settled_branch, record.settled_start)
            IS DISTINCT FROM (epoch.branch, epoch.started_at)
    LIMIT 1
) AS unsettled ON true
WHERE CAST(%(group_id)s AS text) IS NULL OR group_id = %(group_id)s
ORDER BY group_id
"""
)

NODES = sql.SQL(
    """
SELECT group_id, task_id, role, state, beat_age_s, lease_s, liveness_s, heartbeat_s, host, pid,
       version, priority, standing, config_hash, isolation, uptime_s, end_reason
FROM {schema}.coord_nodes
WHERE CAST(%(group_id)s AS text) IS NULL OR group_id = %(group_id)s
ORDER BY group_id, role, state = 'ended', task_id
"""
)

HISTORY = sql.SQL(
    """
SELECT group_id, term, task_id, from_task, acquired_at, ended_at, how, reason, end_how, end_reason,
       gap_s, detected_s,
       CAST(EXTRACT(EPOCH FROM statement_timestamp() - acquired_at) AS double precision) AS age_s
FROM {schema}.coord_history
WHERE (CAST(%(group_id)s AS text) IS NULL OR group_id = %(group_id)s)
  AND (CAST(%(since_s)s AS double precision) IS NULL
       OR acquired_at >= statement_timestamp() - make_interval(secs => %(since_s)s))
ORDER BY acquired_at DESC, group_id, term DESC
"""
)

#: Whether a group exists that has no history in the asked time.
KNOWN = sql.SQL("SELECT EXISTS (SELECT FROM {schema}.coord_status WHERE group_id = %(group_id)s)")

#: In microseconds, which no style of a session changes.
CLOCK = sql.SQL(
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::pg_catalog.int8 AS server_us"
)

Row = dict[str, Any]


class Eye:
    """One connection that only reads."""

    __slots__ = ("_begin", "_connection", "_schema", "_where")

    def __init__(self, conninfo: str, *, schema: str, where: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError; SchemaError when `schema` has none
        of our tables.
        """
        self._schema = schema
        self._where = where
        self._connection = open_for_people(conninfo, where, timeout_s)
        self._begin = driver.begin(self._connection, timeout_s, b"REPEATABLE READ, READ ONLY")

    def revision(self) -> str:
        """Return the revision of the schema.

        Errors: SchemaError when there is none, or when parts of the schema are missing.
        """
        try:
            rows = self._asked(REVISION)
        except psycopg.errors.UndefinedTable:
            rows = []
        except psycopg.Error as error:
            raise database_error(error, self._where, role_of(self._connection)) from error
        if not rows:
            raise self._why_none()
        if rows[0][0] == SCHEMA_HEAD:
            self._refuse_incomplete()
        return str(rows[0][0])

    def ask(self, *questions: sql.SQL, **values: object) -> list[list[Row]]:
        """Return the answers to several questions as of one moment; close after an error."""
        try:
            # Not psycopg's own transaction: that logs a failed rollback when it is interrupted.
            self._connection.execute(self._begin)
            answers = [
                self._connection.execute(self._named(question), values).fetchall()
                for question in questions
            ]
            self._connection.execute("COMMIT")
        except psycopg.Error as error:
            raise database_error(error, self._where, role_of(self._connection)) from error
        return answers

    def server_time(self) -> datetime:
        """Return the server's clock, in exactly one round trip."""
        try:
            ((server_us,),) = self._asked(CLOCK)
        except psycopg.Error as error:
            raise database_error(error, self._where, role_of(self._connection)) from error
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=server_us)

    def version(self) -> str:
        """Return the server's version, as it says it itself."""
        return self._connection.info.parameter_status("server_version") or "unknown"

    def remarks(self) -> list[str]:
        """Return a sentence for whatever an operator should know of the schema."""
        try:
            with driver.within(self._connection):
                return remarks(self._connection, self._schema)
        except psycopg.Error as error:
            raise database_error(error, self._where, role_of(self._connection)) from error

    def close(self) -> None:
        """Close the connection; never waits."""
        self._connection.close()

    def _asked(self, question: sql.SQL) -> list[tuple[Any, ...]]:
        return driver.asked(self._connection, self._begin, self._named(question).as_bytes(None))

    def _refuse_incomplete(self) -> None:
        try:
            refuse_incomplete(self._connection, self._schema, self._where)
        except psycopg.Error as error:
            raise database_error(error, self._where, role_of(self._connection)) from error

    def _why_none(self) -> SchemaError:
        try:
            return why_none(self._connection, self._schema, self._where)
        except psycopg.Error as error:
            raise database_error(error, self._where, role_of(self._connection)) from error

    def _named(self, question: sql.SQL) -> sql.Composed:
        return question.format(
            schema=sql.Identifier(self._schema),
            timeline=sql.SQL(TIMELINE),
            started_at=sql.SQL(STARTED_AT),
        )


def open_for_people(conninfo: str, where: str, timeout_s: float) -> psycopg.Connection[DictRow]:
    """Connect for what a person asks, whose rows are dictionaries.

    Errors: DatabaseUnreachableError, DatabaseRefusedError.
    """
    try:
        return driver.open_session(conninfo, timeout_s=timeout_s, row_factory=dict_row)
    except psycopg.Error as error:
        raise database_error(error, where) from error
