"""The tables of operations, as `tables` knows the others."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from coordinator.store.schema.columns import MOMENT, NAME, SERVER_NOW, metadata, shown

_UUID = pg.UUID(as_uuid=False)
_EMPTY = sa.text("'{}'::jsonb")
_NEW_ID = sa.text("gen_random_uuid()")
_ZERO = sa.text("0")

operation_type = sa.Table(
    "operation_type",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("locations", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("options", pg.JSONB, nullable=False, server_default=_EMPTY),
    sa.Column("result", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.PrimaryKeyConstraint("group_id", "name"),
    sa.CheckConstraint("name ~ '^[A-Za-z_][A-Za-z0-9_]{0,62}$'", name="name"),
    sa.CheckConstraint(
        "locations <@ ARRAY['SYSTEM', 'CLUSTER', 'NODE'] AND cardinality(locations) > 0",
        name="locations",
    ),
    sa.CheckConstraint("jsonb_typeof(options) = 'object'", name="options"),
)

operation_node = sa.Table(
    "operation_node",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("node", NAME, nullable=False),
    sa.Column("session", _UUID, nullable=False),
    sa.Column("types", pg.ARRAY(NAME), nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("group_id", "node"),
)

operation = sa.Table(
    "operation",
    metadata,
    sa.Column("id", _UUID, primary_key=True, server_default=_NEW_ID),
    sa.Column("name", sa.Text),
    sa.Column("type", NAME, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, server_default=sa.text("'user'")),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("place", sa.Text),
    sa.Column("options", pg.JSONB, nullable=False, server_default=_EMPTY),
    sa.Column("groups", pg.ARRAY(NAME), nullable=False),
    sa.Column("result", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'PENDING'")),
    sa.Column("waits_for", _UUID),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("started_at", MOMENT),
    sa.Column("finished_at", MOMENT),
    sa.Column("cancelled_by", sa.Text),
    sa.Column("error", sa.Text),
    sa.CheckConstraint("kind IN ('user', 'system')", name="kind"),
    sa.CheckConstraint(
        "location IN ('SYSTEM', 'CLUSTER', 'NODE') AND (place IS NULL) = (location = 'SYSTEM')",
        name="location",
    ),
    sa.CheckConstraint(
        "state IN ('PENDING', 'RUNNING', 'CANCELLING',"
        " 'COMPLETE', 'COMPLETE_WITH_ERRORS', 'FAILED', 'CANCELLED')"
        " AND (finished_at IS NULL) = (state IN ('PENDING', 'RUNNING', 'CANCELLING'))",
        name="state",
    ),
    shown("created_at started_at finished_at", "name place created_by cancelled_by error"),
)
sa.Index(
    "operation_name_idx",
    operation.c.name,
    unique=True,
    postgresql_where=sa.text("finished_at IS NULL"),
)
sa.Index(None, operation.c.waits_for, postgresql_where=sa.text("waits_for IS NOT NULL"))

operation_subtask = sa.Table(
    "operation_subtask",
    metadata,
    sa.Column("id", _UUID, primary_key=True, server_default=_NEW_ID),
    sa.Column("operation", _UUID, nullable=False),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, server_default=sa.text("'work'")),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("node", NAME),
    sa.Column("argument", pg.JSONB, nullable=False, server_default=_EMPTY),
    sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'PENDING'")),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    sa.Column("owner", NAME),
    sa.Column("session", _UUID),
    sa.Column("term", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("attempt", sa.Integer, nullable=False, server_default=_ZERO),
    sa.Column("units", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("units_failed", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("units_total", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("size", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("size_total", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("reports", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("moves", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("avoided", NAME),
    sa.Column("reason", sa.Text),
    sa.Column("result", pg.JSONB),
    sa.Column("created_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("started_at", MOMENT),
    sa.Column("reported_at", MOMENT),
    sa.Column("finished_at", MOMENT),
    sa.UniqueConstraint(
        *("operation", "group_id", "kind", "entity"), name="operation_subtask_entity_key"
    ),
    sa.CheckConstraint("kind IN ('plan', 'work')", name="kind"),
    sa.CheckConstraint(
        "state IN ('PENDING', 'RUNNING', 'DONE', 'SKIPPED', 'LOST', 'FAILED')"
        " AND (finished_at IS NULL) = (state IN ('PENDING', 'RUNNING'))"
        " AND (state <> 'RUNNING' OR session IS NOT NULL AND owner IS NOT NULL)",
        name="state",
    ),
    sa.CheckConstraint(
        "octet_length(entity) <= 1000 AND octet_length(reason) <= 10000", name="texts"
    ),
    shown("created_at started_at reported_at finished_at"),
)
sa.Index(
    "operation_subtask_open_idx",
    operation_subtask.c.group_id,
    operation_subtask.c.operation,
    postgresql_where=sa.text("finished_at IS NULL"),
)
