"""The table of planned changes, as `tables` knows the others."""

from __future__ import annotations

import sqlalchemy as sa

from coordinator.store.schema.columns import MOMENT, NAME, SERVER_NOW, metadata

_MOMENTS = ("asked_at", "due_at", "until_at", "ended_at", "agreed_at")
_TEXTS = ("group_id", "node", "asked_by", "reason", "ended_by", "outcome_reason")
_BETWEEN = "BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'"

planned_change = sa.Table(
    "planned_change",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("node", NAME),
    sa.Column("value", sa.Integer),
    sa.Column("asked_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("asked_by", sa.Text, nullable=False, server_default=sa.text("session_user")),
    sa.Column("reason", sa.Text),
    sa.Column("due_at", MOMENT),
    sa.Column("until_at", MOMENT),
    sa.Column("ended_at", MOMENT),
    sa.Column("ended_by", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Column("outcome_reason", sa.Text),
    sa.Column("agreed_at", MOMENT),
    sa.CheckConstraint(
        "kind IN ('switchover', 'resign', 'pause work', 'pause takeovers', 'drain', 'priority',"
        " 'livenessCheckInterval')",
        name="kind",
    ),
    sa.CheckConstraint(
        "CASE WHEN kind = 'switchover' THEN true"
        " WHEN kind IN ('pause work', 'pause takeovers', 'livenessCheckInterval')"
        " THEN node IS NULL"
        " ELSE node IS NOT NULL END",
        name="node",
    ),
    sa.CheckConstraint("due_at IS NULL OR kind = 'switchover'", name="due"),
    sa.CheckConstraint(
        "CASE WHEN kind = 'priority' THEN value IS NOT NULL AND value >= 0"
        " WHEN kind = 'livenessCheckInterval' THEN value IS NOT NULL AND value > 0"
        " ELSE value IS NULL END",
        name="value",
    ),
    sa.CheckConstraint("agreed_at IS NULL OR kind = 'livenessCheckInterval'", name="agreed"),
    sa.CheckConstraint("outcome IN ('done', 'refused', 'expired', 'cancelled')", name="outcome"),
    sa.CheckConstraint(
        " AND ".join(
            [
                *(f"{moment} {_BETWEEN}" for moment in _MOMENTS),
                *(f"octet_length({text}) <= 1000" for text in _TEXTS),
            ]
        ),
        name="values",
    ),
)
_OPEN = "outcome IS NULL"
sa.Index("planned_change_open_idx", planned_change.c.group_id, postgresql_where=sa.text(_OPEN))
sa.Index(
    "planned_change_handover_idx",
    planned_change.c.group_id,
    unique=True,
    postgresql_where=sa.text(f"{_OPEN} AND kind IN ('switchover', 'resign')"),
)
sa.Index(
    "planned_change_pause_idx",
    planned_change.c.group_id,
    unique=True,
    postgresql_where=sa.text(f"{_OPEN} AND kind IN ('pause work', 'pause takeovers')"),
)
sa.Index(
    "planned_change_node_idx",
    planned_change.c.group_id,
    planned_change.c.kind,
    planned_change.c.node,
    unique=True,
    postgresql_where=sa.text(f"{_OPEN} AND kind IN ('drain', 'priority')"),
)
sa.Index(
    "planned_change_setting_idx",
    planned_change.c.group_id,
    planned_change.c.kind,
    unique=True,
    postgresql_where=sa.text(f"{_OPEN} AND kind = 'livenessCheckInterval' AND agreed_at IS NULL"),
)
