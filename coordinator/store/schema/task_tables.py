"""The tables of tasks, as `tables` knows the others."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from coordinator.store.schema.columns import (
    MOMENT,
    NAME,
    NAME_LENGTH_MAX,
    SERVER_NOW,
    TASK_PATTERN,
    metadata,
    shown,
)
from coordinator.store.sql.task_columns import TASK_COLUMNS, TaskColumn

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "bigint": sa.BigInteger(),
    "boolean": sa.Boolean(),
    "jsonb": pg.JSONB(),
    "text": sa.Text(),
}


def _column(column: TaskColumn) -> sa.Column[Any]:
    """Return the column of an option of a task."""
    kind = NAME if column.names else _TYPES[column.type]
    return sa.Column(
        column.name,
        pg.ARRAY(kind) if column.type.endswith("[]") else kind,
        nullable=column.default is None,
        server_default=None if column.default is None else sa.text(column.default),
    )


task = sa.Table(
    "task",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    # In the order in which the migrations make them.
    _column(TASK_COLUMNS[0]),
    sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.text("false")),
    *map(_column, TASK_COLUMNS[1:]),
    sa.Column("origin", sa.Text, nullable=False, server_default=sa.text("'cli'")),
    sa.Column("end_reason", sa.Text),
    sa.Column("created_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("changed_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("changed_by", sa.Text),
    sa.PrimaryKeyConstraint("group_id", "name"),
    # Its token's name, group/task, is a name as well; our own tokens begin with an underscore.
    sa.CheckConstraint(
        f"length(group_id) + length(name) <= {NAME_LENGTH_MAX - 1} AND name ~ '{TASK_PATTERN}'",
        name="name",
    ),
    sa.CheckConstraint("on_partition IN ('stop', 'continue')", name="on_partition"),
    sa.CheckConstraint("on_done IN ('restart', 'release', 'finish')", name="on_done"),
    sa.CheckConstraint("origin IN ('cli', 'file', 'api')", name="origin"),
    # Every node of the group reads what is written here by hand.
    sa.CheckConstraint(
        "array_position(nodes, NULL) IS NULL AND coalesce(array_ndims(nodes), 1) = 1", name="nodes"
    ),
    sa.CheckConstraint("progress_ms >= 0 AND stop_timeout_ms >= 0", name="times"),
    shown("created_at changed_at", "preferred end_reason changed_by"),
)

task_node = sa.Table(
    "task_node",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("task", NAME, nullable=False),
    sa.Column("node", NAME, nullable=False),
    sa.Column("state", sa.Text),
    sa.Column("term", sa.BigInteger),
    sa.Column("error", sa.Text),
    sa.Column("told_at", MOMENT),
    sa.Column("failed_count", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.PrimaryKeyConstraint("group_id", "task", "node"),
    shown("told_at", "group_id task node state error"),
)
# The few that every reader of the group's record asks for, among tasks times nodes.
sa.Index(
    "task_node_failed_idx",
    task_node.c.group_id,
    task_node.c.task,
    task_node.c.node,
    postgresql_where=sa.text("failed_count > 0"),
)

observer_decision = sa.Table(
    "observer_decision",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("observer", NAME, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("node", NAME, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    shown("at", "group_id observer node kind before after reason"),
)
sa.Index(None, observer_decision.c.group_id, observer_decision.c.id)
