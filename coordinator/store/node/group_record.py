"""The record of a group that spreads tasks: read whole, and its version, which covers it.

Each change of the record raises the version in the same transaction and notifies the group. Only
tokens are taken and released without it: the group is notified that some are free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, LiteralString

from coordinator.protocol.messages.group_record import (
    GroupRecord,
    NodeRecord,
    Standing,
    TaskDef,
    TasksPolicy,
    TaskToken,
)
from coordinator.protocol.messages.requests import Answer
from coordinator.store.sql.planned_columns import planned_of
from coordinator.store.sql.statement import named
from coordinator.store.sql.task_columns import TASK_WIDTH, task_of
from coordinator.store.sql.transaction import Cursor, read
from coordinator.store.sql.view import Place, view_of

#: The tokens are those of tasks that exist, and of deleted ones as long as somebody holds them. A
#: node that never joined is none. Needs group_record as `record`.
_RECORD_COLUMNS: LiteralString = """
    record.version,
    record.suspended_at IS NOT NULL AS suspended,
    coalesce(record.spread_version, 0) AS spread_version,
    json_build_array(
        record.to_member_ms, record.late_max, record.late_within_ms, record.observer_grace_ms
    ) AS policy,
    (
        SELECT json_agg(json_build_array(
            task.deleted,
            {task_cells},
            held.term, held.task_id, held.session, held.term_floor,
            held.taken_version, held.base_version, held.base_node, held.base_taken_version
        ))
        FROM {schema}.task AS task
        -- A lookup for each task, whatever the planner believes: from old statistics it
        -- may believe in two tasks, and compare each of a thousand with every token (60 ms).
        LEFT JOIN LATERAL (
            SELECT token.* FROM {schema}.token_holder AS token
            WHERE token.group_id = task.group_id || '/' || task.name
            LIMIT 1
        ) AS held ON true
        WHERE task.group_id = %(group)s AND (NOT task.deleted OR held.session IS NOT NULL)
    ) AS tasks,
    (
        SELECT json_agg(json_build_array(
            member.task_id, member.standing, member.ended_at IS NULL, member.session,
            coalesce(chosen.value, member.priority), member.caught_up,
            member.seen_version, member.hosts_tasks, member.capacity
        ))
        FROM {schema}.health_check AS member
        LEFT JOIN {schema}.planned_change AS chosen
            ON chosen.group_id = member.group_id AND chosen.node = member.task_id
            AND chosen.kind = 'priority' AND chosen.outcome IS NULL
        WHERE member.group_id = %(group)s AND member.session IS NOT NULL
            AND member.isolation IS DISTINCT FROM 'in-process'
    ) AS nodes,
    (
        SELECT json_agg(json_build_array(failed.task, failed.node, failed.failed_count))
        FROM {schema}.task_node AS failed
        WHERE failed.group_id = %(group)s AND failed.failed_count > 0
    ) AS failures,
    {planned} AS planned
"""
#: Number of these columns.
RECORD_WIDTH = 8
#: Index of the token's first cell in a task's array: behind `deleted` and the definition.
_TOKEN_AT = 1 + TASK_WIDTH
#: One statement, so one snapshot, in one round trip.
READ_GROUP: LiteralString = "SELECT " + _RECORD_COLUMNS + ", {view_columns} {view_from}"
#: The same for people, who have no session and need no view.
READ_RECORD: LiteralString = (
    "SELECT "
    + _RECORD_COLUMNS
    + "FROM {schema}.group_record AS record WHERE record.group_id = %(group)s"
)

#: The kind of a group, one program or tasks, is decided when a node joins it (session.py).
RAISE_VERSION: LiteralString = """
UPDATE {schema}.group_record
SET version = version + 1
WHERE group_id = %(group)s
RETURNING version
"""
RAISE_AND_TELL: LiteralString = """
WITH raised AS (
    UPDATE {schema}.group_record
    SET version = version + 1
    WHERE group_id = %(group)s
    RETURNING version
)
SELECT raised.version, pg_notify(
    %(channel)s, json_build_object('kind', 'group', 'version', raised.version)::text
)
FROM raised
"""

_STANDING = {word.value: word for word in Standing}


def raise_version(cursor: Cursor, place: Place, *, told: bool = False) -> int:
    """Raise the version of the group's record: the last row that a transaction locks.

    told: notify a group with one program as well.
    """
    statement = RAISE_AND_TELL if place.hosts_tasks or told else RAISE_VERSION
    cursor.execute(named(statement, place.schema), place.params())
    row = cursor.fetchone()
    # Made at connect; a pooler may have moved us to a server that lost it.
    return 0 if row is None else int(row[0])


class Known:
    """Cache of the tasks that were read last; only rows that changed are converted again."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[Sequence[Any], TaskDef]] = {}
        self._tokens: dict[str, tuple[Sequence[Any], TaskToken]] = {}

    def tasks(self, rows: Iterable[Sequence[Any]]) -> dict[str, TaskDef]:
        """Return the definitions, by task, of those that are not deleted."""
        before, self._tasks = self._tasks, {}
        for row in rows:
            if not row[0]:
                cells = row[1:_TOKEN_AT]
                old = before.get(cells[0])
                same = old is not None and old[0] == cells
                self._tasks[cells[0]] = old if old and same else (cells, task_of(cells))
        return {name: task for name, (_, task) in self._tasks.items()}

    def tokens(
        self,
        rows: Iterable[Sequence[Any]],
        live: AbstractSet[tuple[str, str | None]],
        version: int,
    ) -> dict[str, TaskToken]:
        """Return the tokens, by task; a row that is missing belongs to nobody yet.

        A token that has changed since this version was made also has its holder of that moment.
        """
        before, self._tokens = self._tokens, {}
        for row in rows:
            name, (term, node, session, floor, taken, *base) = row[1], row[_TOKEN_AT:]
            if term is None:
                continue
            free = session is None or (node, session) not in live
            since = None if free else taken or 0
            base_node, base_taken = base[1:] if base[0] == version else (node, since)
            cells = (term, node, session, floor, free, base_node, base_taken)
            old = before.get(name)
            if old is None or old[0] != cells:
                token = TaskToken(
                    term=term,
                    node=node,
                    session=session,
                    free=free,
                    floor=floor,
                    base_node=base_node,
                    base_taken=base_taken,
                )
                old = cells, token
            self._tokens[name] = old
        return {name: token for name, (_, token) in self._tokens.items()}


def read_group(cursor: Cursor, place: Place, known: Known) -> Answer:
    """Read the record whole."""
    (row,) = read(cursor, named(READ_GROUP, place.schema), place.params())
    view = view_of(row[RECORD_WIDTH:], place.system_identifier)
    return Answer(done=True, view=view, group=record_of(row[:RECORD_WIDTH], known))


def record_of(row: Sequence[Any], known: Known) -> GroupRecord:
    """Return the record that these columns are of."""
    version, suspended, spread_version, policy, rows, nodes, failures, planned = row
    tasks = known.tasks(rows or ())
    members = [_node_of(node) for node in nodes or ()]
    live = {(member.node, member.session) for member in members if member.live}
    return GroupRecord(
        version=version or 0,
        tasks=tasks,
        nodes={member.node: member for member in members},
        tokens=known.tokens(rows or (), live, version or 0),
        failures={(task, node): count for task, node, count in failures or () if task in tasks},
        suspended=bool(suspended),
        spread_version=spread_version or 0,
        policy=policy_of(policy),
        planned=planned_of(planned),
    )


def policy_of(row: Sequence[Any]) -> TasksPolicy:
    """Return the policy that these columns of the group's row are of."""
    to_member_ms, late_max, late_within_ms, grace_ms = row
    return TasksPolicy(
        to_member_s=_seconds(to_member_ms),
        late_max=late_max,
        late_within_s=_seconds(late_within_ms),
        grace_s=_seconds(grace_ms),
    )


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def standing_of(word: str) -> Standing:
    """Return the standing that a column names."""
    return _STANDING[word]


def _node_of(row: Sequence[Any]) -> NodeRecord:
    node, standing, live, session, priority, caught_up, seen_version, hosts_tasks, capacity = row
    return NodeRecord(
        node=node,
        standing=standing_of(standing),
        live=live,
        session=session,
        priority=priority,
        caught_up=caught_up,
        seen_version=-1 if seen_version is None else seen_version,
        hosts_tasks=hosts_tasks,
        capacity=capacity,
    )
