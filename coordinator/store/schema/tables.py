"""The tables as SQLAlchemy Core knows them; migrations/ makes them, a test holds the two equal.

The columns of the origin's two tables keep their names; ours come after them. Those of tasks are in
`task_tables`, those that programs write to in `program`.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from coordinator.store.schema import task_tables
from coordinator.store.schema.columns import (
    MOMENT,
    NAME,
    NAME_LENGTH_MAX,
    NAME_PATTERN,
    SCHEMA,
    SERVER_NOW,
    metadata,
    shown,
)
from coordinator.store.schema.operations import tables as operation_tables
from coordinator.store.schema.planned import table as planned_table
from coordinator.store.schema.program import state_table
from coordinator.store.schema.segments import tables as segment_tables
from coordinator.store.schema.storage import storage, store_alike
from coordinator.store.schema.webhook import table as webhook_table

__all__ = [
    "SCHEMA",
    "metadata",
    "metadata_for",
    "operation_tables",
    "planned_table",
    "segment_tables",
    "state_table",
    "task_tables",
    "webhook_table",
]


def metadata_for(schema: str) -> sa.MetaData:
    """Return a copy of all tables that really are in `schema` (to compare, to create)."""
    copy = sa.MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        store_alike(table.to_metadata(copy, schema=schema), table)
    return copy


def _named(column: str) -> sa.CheckConstraint:
    """Return the check that `column` holds a well-formed name.

    Not for health_check and token_holder: a check runs at every UPDATE, so there a trigger does
    the same, for the statements alone that write a name.
    """
    rule = f"length({column}) <= {NAME_LENGTH_MAX} AND {column} ~ '{NAME_PATTERN}'"
    return sa.CheckConstraint(rule, name=column)


token_holder = sa.Table(
    "token_holder",
    metadata,
    sa.Column("group_id", NAME, primary_key=True),
    sa.Column("task_id", NAME),
    sa.Column("term", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("session", pg.UUID(as_uuid=False)),
    sa.Column("acquired_at", MOMENT),
    sa.Column("released_at", MOMENT),
    sa.Column("term_floor", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("taken_version", sa.BigInteger),
    sa.Column("base_version", sa.BigInteger),
    sa.Column("base_node", NAME),
    sa.Column("base_taken_version", sa.BigInteger),
    shown("acquired_at released_at"),
    info=storage(30, vacuum_after=200),
)
sa.Index(None, token_holder.c.session)

health_check = sa.Table(
    "health_check",
    metadata,
    sa.Column("task_id", NAME, nullable=False),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("last_heartbeat", MOMENT),
    sa.Column("session", pg.UUID(as_uuid=False)),
    sa.Column("beat", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("liveness_ms", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("lease_ms", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("heartbeat_ms", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("ended_at", MOMENT),
    sa.Column("end_reason", sa.Text),
    sa.Column("standing", sa.Text, nullable=False, server_default=sa.text("'member'")),
    sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("1")),
    sa.Column("host", sa.Text),
    sa.Column("pid", sa.Integer),
    sa.Column("version", sa.Text),
    sa.Column("config_hash", sa.Text),
    sa.Column("isolation", sa.Text),
    sa.Column("joined_at", MOMENT),
    sa.Column("started_at", MOMENT),
    sa.Column("caught_up", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("seen_version", sa.BigInteger),
    sa.Column("standing_version", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("hosts_tasks", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("capacity", sa.Integer),
    sa.Column("ready", sa.Boolean),  # of a standby that starts its program behind a gate
    sa.Column("address", sa.Text),  # at which others reach the node, for people and proxies
    sa.Column("clock_ms", sa.BigInteger),  # of its machine ahead of ours, for people alone
    sa.Column("file_liveness_ms", sa.Integer),  # of its Config.toml, whatever the group has set
    # The group first: its nodes are looked up together. Nothing that a beat changes is indexed,
    # so that beats stay HOT.
    sa.PrimaryKeyConstraint("group_id", "task_id"),
    info=storage(50, vacuum_after=1000),
)

group_record = sa.Table(
    "group_record",
    metadata,
    sa.Column("group_id", NAME, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    sa.Column("created_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("settled_branch", pg.UUID(as_uuid=False)),
    sa.Column("settled_start", sa.BigInteger),
    sa.Column("terms_by_clock", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("hosts_tasks", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("suspended_at", MOMENT),
    sa.Column("suspended_by", sa.Text),
    sa.Column("suspend_reason", sa.Text),
    sa.Column("spread_version", sa.BigInteger),
    *(sa.Column(f"{time}_ms", sa.BigInteger) for time in ("to_member", "late_within")),
    sa.Column("observer_grace_ms", sa.BigInteger),
    sa.Column("late_max", sa.Integer),
    _named("group_id"),
    shown("created_at"),
    shown("suspended_at", "suspended_by suspend_reason", name="suspended"),
    sa.CheckConstraint(
        "to_member_ms >= 0 AND late_max >= 0 AND late_within_ms > 0 AND observer_grace_ms >= 0",
        name="policy",
    ),
)

token_history = sa.Table(
    "token_history",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("task_id", NAME, nullable=False),
    sa.Column("session", pg.UUID(as_uuid=False), nullable=False),
    sa.Column("acquired_at", MOMENT, nullable=False),
    sa.Column("ended_at", MOMENT),
    sa.Column("how", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("end_how", sa.Text),
    sa.Column("end_reason", sa.Text),
    sa.Column("from_task", NAME),
    sa.Column("active_until", MOMENT),
    sa.Column("detected_ms", sa.BigInteger),
    sa.PrimaryKeyConstraint("group_id", "term"),
    shown(
        "acquired_at ended_at active_until",
        "group_id task_id how reason end_how end_reason from_task",
    ),
)

database_epoch = sa.Table(
    "database_epoch",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("system_identifier", sa.BigInteger, nullable=False),
    sa.Column("timeline", sa.Integer, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column(
        "branch",
        pg.UUID(as_uuid=False),
        nullable=False,
        server_default=sa.text("gen_random_uuid()"),
    ),
    sa.Column("first_branch", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("settled", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("waited_ms", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("first_seen_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("settled_by", sa.Text),
    sa.Column("settled_at", MOMENT),
    # The server first: how long others have watched it is looked up by that.
    sa.PrimaryKeyConstraint("system_identifier", "timeline", "started_at", "group_id"),
    shown("first_seen_at settled_at", "group_id settled_by"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("task_id", NAME),
    sa.Column("session", pg.UUID(as_uuid=False)),
    sa.Column("term", sa.BigInteger),
    sa.Column("reason", sa.Text),
    sa.Column("who", sa.Text),
    sa.Column(
        "xact",
        sa.BigInteger,
        nullable=False,
        server_default=sa.text("pg_current_xact_id()::text::bigint"),
    ),
    shown("at", "group_id kind task_id reason who"),
)
sa.Index(None, event.c.group_id, event.c.id)
sa.Index(None, event.c.xact)

schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("name", NAME, nullable=False, server_default=sa.text("''")),
    sa.Column("fired_count", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("last_fire_at", MOMENT),
    sa.Column("last_finished_at", MOMENT),
    sa.Column("last_outcome", sa.Text),
    sa.Column("last_error", sa.Text),
    sa.Column("last_duration_ms", sa.BigInteger),
    sa.Column("skipped_count", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    *(
        sa.Column(f"{name}_count", sa.BigInteger, nullable=False, server_default=sa.text("0"))
        for name in ("ok", "failed", "stopped", "died", "denied")
    ),
    sa.Column("next_fire_at", MOMENT),
    sa.Column("ended", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("end_reason", sa.Text),
    sa.Column("terminated_at", MOMENT),
    sa.Column("term", sa.BigInteger),
    sa.Column("updated_at", MOMENT),
    sa.Column("reserved_slot", MOMENT),
    sa.Column("reserved_by", NAME),
    sa.Column("reserved_until", MOMENT),
    sa.PrimaryKeyConstraint("group_id", "name"),
    shown(
        "last_fire_at last_finished_at next_fire_at terminated_at updated_at reserved_slot"
        " reserved_until",
        "group_id name last_outcome last_error end_reason reserved_by",
    ),
)

group_role = sa.Table(
    "group_role",
    metadata,
    sa.Column("role_name", NAME, nullable=False),
    sa.Column("group_id", NAME, nullable=False),
    # The role first: a policy asks for the groups of the login.
    sa.PrimaryKeyConstraint("role_name", "group_id"),
    sa.CheckConstraint(
        f"length(group_id) <= {NAME_LENGTH_MAX} AND group_id ~ '^[A-Za-z0-9_.:@-]+$'",
        name="group_id",  # a whole group: the tokens below it go with it
    ),
)
