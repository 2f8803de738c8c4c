"""The tables of checkpoints and disks, as `tables` knows the others."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from coordinator.store.schema.columns import MOMENT, NAME, SERVER_NOW, metadata, shown

_UUID = pg.UUID(as_uuid=False)

storage_key = sa.Table(
    "storage_key",
    metadata,
    sa.Column("group_id", NAME, primary_key=True),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("octet_length(key) = 32", name="key"),
)

storage_node = sa.Table(
    "storage_node",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("node", NAME, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("reported_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.PrimaryKeyConstraint("group_id", "node"),
    shown("reported_at", "group_id node address fingerprint"),
)

storage_device = sa.Table(
    "storage_device",
    metadata,
    sa.Column("id", _UUID, primary_key=True),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("node", NAME, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'online'")),
    sa.Column("total_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("free_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("error", sa.Text),
    sa.Column("silent_ms", sa.BigInteger, nullable=False, server_default=sa.text("30000")),
    sa.Column("reported_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.CheckConstraint("state IN ('online', 'full', 'read-only', 'offline')", name="state"),
    shown("reported_at", "group_id node url error"),
)
sa.Index("storage_device_group_id_node_idx", storage_device.c.group_id, storage_device.c.node)

segment_group = sa.Table(
    "segment_group",
    metadata,
    # A scan of the disks brings the numbers of the groups that it finds.
    sa.Column("id", sa.BigInteger, sa.Identity(always=False), primary_key=True),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("token", NAME, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("session", _UUID, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("node", NAME, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'WRITING'")),
    sa.Column("form", sa.Text, nullable=False),
    sa.Column("data_count", sa.Integer, nullable=False),
    sa.Column("parity_count", sa.Integer, nullable=False),
    sa.Column("block_bytes", sa.Integer, nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("created_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("committed_at", MOMENT),
    sa.Column("expired_at", MOMENT),
    sa.CheckConstraint("state IN ('WRITING', 'COMMITTED', 'EXPIRED')", name="state"),
    sa.CheckConstraint("form IN ('bytes', 'file', 'directory')", name="form"),
    sa.CheckConstraint(
        "data_count BETWEEN 0 AND 64 AND parity_count BETWEEN 0 AND 64 AND block_bytes > 0"
        " AND length >= 0 AND (state <> 'COMMITTED' OR digest IS NOT NULL)",
        name="numbers",
    ),
    shown("created_at committed_at expired_at", "group_id token node"),
)
sa.Index(
    "segment_group_token_sequence_idx",
    segment_group.c.group_id,
    segment_group.c.token,
    segment_group.c.sequence,
    unique=True,
)

segment = sa.Table(
    "segment",
    metadata,
    sa.Column("id", _UUID, primary_key=True),
    sa.Column("segment_group", sa.BigInteger, nullable=False),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("device", _UUID, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'WRITING'")),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    sa.Column("file_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("owner", NAME),
    sa.Column("owner_term", sa.BigInteger),
    sa.Column("checked_at", MOMENT),
    sa.Column("changed_at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.CheckConstraint(
        "state IN ('WRITING', 'INTACT', 'DAMAGED', 'MISSING', 'REBUILDING')", name="state"
    ),
    sa.CheckConstraint("(owner IS NOT NULL) = (state = 'REBUILDING')", name="owner"),
    shown("checked_at changed_at", "group_id owner"),
)
sa.Index("segment_segment_group_place_idx", segment.c.segment_group, segment.c.place, unique=True)
sa.Index(None, segment.c.device)

segment_leaving = sa.Table(
    "segment_leaving",
    metadata,
    sa.Column("segment", _UUID, nullable=False),
    sa.Column("device", _UUID, nullable=False),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("leaves_at", MOMENT, nullable=False),
    sa.Column("subtask", _UUID),
    sa.Column("subtask_term", sa.BigInteger),
    sa.PrimaryKeyConstraint("segment", "device"),
    shown("leaves_at", "group_id"),
)
sa.Index(None, segment_leaving.c.device)

checkpoint_row = sa.Table(
    "checkpoint_row",
    metadata,
    sa.Column("segment_group", sa.BigInteger, nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.PrimaryKeyConstraint("segment_group", "place"),
    sa.CheckConstraint("octet_length(content) <= 1048576", name="content"),
    sa.CheckConstraint("octet_length(group_id) <= 1000000", name="values"),
)

check_disk_result = sa.Table(
    "check_disk_result",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("operation", _UUID),
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("node", NAME, nullable=False),
    sa.Column("device", _UUID, nullable=False),
    sa.Column("segment", _UUID, nullable=False),
    sa.Column("segment_group", sa.BigInteger),
    sa.Column("at", MOMENT, nullable=False, server_default=SERVER_NOW),
    sa.Column("state_before", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("block_count", sa.BigInteger, nullable=False),
    sa.Column("blocks_checked", sa.BigInteger, nullable=False),
    sa.Column("stored_digest", sa.LargeBinary),
    sa.Column("computed_digest", sa.LargeBinary),
    sa.Column("state_after", sa.Text, nullable=False),
    sa.Column("detail", sa.Text),
    shown("at", "group_id node state_before verdict state_after detail"),
)
sa.Index(None, check_disk_result.c.operation)
