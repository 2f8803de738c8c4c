"""The record of a group that spreads tasks: read whole, and its version, which covers it.

Whatever changes what the record shows raises the version in the same transaction and tells the
group. Only tokens come and go without it: a node that looks for free ones is told that some are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

from coordinator.protocol.group import (
    GroupRecord,
    NodeRecord,
    OnDone,
    OnPartition,
    Standing,
    TaskDef,
    TaskToken,
)
from coordinator.protocol.requests import Answer
from coordinator.store.statement import named
from coordinator.store.transaction import Cursor
from coordinator.store.view import Place, view_of

#: The tokens are those of tasks that exist, and of deleted ones as long as somebody holds them. A
#: node that never joined is none. Needs group_record as `record`.
_RECORD_COLUMNS: LiteralString = """
    record.version,
    record.suspended_at IS NOT NULL AS suspended,
    (
        SELECT json_agg(json_build_array(
            task.deleted,
            task.name, task.revision, task.enabled, task.nodes, task.preferred, task.pinned,
            task.failover, task.failback, task.on_partition, task.on_done, task.progress_ms,
            task.stop_timeout_ms, task.spec::text,
            held.term, held.task_id, held.session,
            held.session IS NULL OR holder.task_id IS NULL, held.term_floor
        ))
        FROM {schema}.task AS task
        LEFT JOIN {schema}.token_holder AS held
            ON held.group_id = task.group_id || '/' || task.name
            -- all of them lie between group/ and group0, the next letter
            AND held.group_id > %(group)s || '/' AND held.group_id < %(group)s || '0'
        LEFT JOIN {schema}.health_check AS holder
            ON holder.group_id = task.group_id
            AND holder.task_id = held.task_id
            AND holder.session = held.session
            AND holder.ended_at IS NULL
        WHERE task.group_id = %(group)s AND (NOT task.deleted OR held.session IS NOT NULL)
    ) AS tasks,
    (
        SELECT json_agg(json_build_array(
            member.task_id, member.standing, member.ended_at IS NULL, member.session,
            member.priority, member.caught_up, member.seen_version
        ))
        FROM {schema}.health_check AS member
        WHERE member.group_id = %(group)s AND member.session IS NOT NULL
    ) AS nodes,
    (
        SELECT json_agg(json_build_array(failed.task, failed.node, failed.failed_count))
        FROM {schema}.task_node AS failed
        WHERE failed.group_id = %(group)s AND failed.failed_count > 0
    ) AS failures
"""
#: One statement, so one snapshot, in one round trip.
READ_GROUP: LiteralString = "SELECT " + _RECORD_COLUMNS + ", {view_columns} {view_from}"
#: The same for people, who have no session and need no view.
READ_RECORD: LiteralString = (
    "SELECT "
    + _RECORD_COLUMNS
    + "FROM {schema}.group_record AS record WHERE record.group_id = %(group)s"
)

#: Whether a group spreads tasks is what the last node said that joined or left.
RAISE_VERSION: LiteralString = """
UPDATE {schema}.group_record
SET version = version + 1, hosts_tasks = false
WHERE group_id = %(group)s
RETURNING version
"""
RAISE_AND_TELL: LiteralString = """
WITH raised AS (
    UPDATE {schema}.group_record
    SET version = version + 1, hosts_tasks = true
    WHERE group_id = %(group)s
    RETURNING version
)
SELECT raised.version, pg_notify(
    %(channel)s, json_build_object('kind', 'group', 'version', raised.version)::text
)
FROM raised
"""

_ON_PARTITION = {word.value: word for word in OnPartition}
_ON_DONE = {word.value: word for word in OnDone}
_STANDING = {word.value: word for word in Standing}


def raise_version(cursor: Cursor, place: Place) -> int:
    """Say that the group's record has changed: the last row that a transaction locks."""
    statement = RAISE_AND_TELL if place.hosts_tasks else RAISE_VERSION
    cursor.execute(named(statement, place.schema), place.params())
    row = cursor.fetchone()
    # Made at connect; a pooler may have moved us to a server that lost it.
    return 0 if row is None else int(row[0])


def read_group(cursor: Cursor, place: Place) -> Answer:
    """Read the record whole."""
    cursor.execute(named(READ_GROUP, place.schema), place.params())
    row = cursor.fetchone()
    assert row is not None, "a view is one row"
    view = view_of(row[5:], place.system_identifier)
    return Answer(done=True, view=view, group=record_of(row[:5]))


def record_of(row: Sequence[Any]) -> GroupRecord:
    """Return the record that these columns are of."""
    version, suspended, tasks, nodes, failures = row
    known = {defined[1]: task_of(defined[1:14]) for defined in tasks or () if not defined[0]}
    return GroupRecord(
        version=version or 0,
        tasks=known,
        nodes={node[0]: _node_of(node) for node in nodes or ()},
        tokens=dict(_tokens_of(tasks or ())),
        failures={(task, node): count for task, node, count in failures or () if task in known},
        suspended=bool(suspended),
    )


def task_of(row: Sequence[Any]) -> TaskDef:
    """Return the definition that these columns of a task's row, name to spec, are of."""
    name, revision, enabled, nodes, preferred, pinned, failover, failback = row[:8]
    on_partition, on_done, progress_ms, stop_timeout_ms, spec = row[8:]
    return TaskDef(
        name=name,
        revision=revision,
        enabled=enabled,
        nodes=tuple(nodes),
        preferred=preferred,
        pinned=pinned,
        failover=failover,
        failback=failback,
        on_partition=_ON_PARTITION[on_partition],
        on_done=_ON_DONE[on_done],
        progress_s=progress_ms / 1000,
        stop_timeout_s=stop_timeout_ms / 1000,
        spec=spec,
    )


def standing_of(word: str) -> Standing:
    """Return the standing that a column names."""
    return _STANDING[word]


def _tokens_of(rows: Iterable[Sequence[Any]]) -> Iterable[tuple[str, TaskToken]]:
    """Yield the tokens, by task; a row that is missing belongs to nobody yet."""
    for row in rows:
        term, node, session, free, floor = row[14:]
        if term is not None:
            token = TaskToken(term=term, node=node, session=session, free=free, floor=floor)
            yield row[1], token


def _node_of(row: Sequence[Any]) -> NodeRecord:
    node, standing, live, session, priority, caught_up, seen_version = row
    return NodeRecord(
        node=node,
        standing=standing_of(standing),
        live=live,
        session=session,
        priority=priority,
        caught_up=caught_up,
        seen_version=-1 if seen_version is None else seen_version,
    )
