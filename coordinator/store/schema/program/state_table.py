"""Table of the states that programs save for their successors, as `tables` knows the others."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from coordinator.protocol.rules.saved_state import STATE_BYTES_MAX, STATES_KEPT
from coordinator.store.schema.columns import MOMENT, NAME, metadata, shown
from coordinator.store.schema.storage import storage

token_state = sa.Table(
    "token_state",
    metadata,
    sa.Column("group_id", NAME, nullable=False),
    sa.Column("slot", sa.Integer, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("session", pg.UUID(as_uuid=False), nullable=False),
    sa.Column("node", NAME),
    sa.Column("saved_at", MOMENT, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.PrimaryKeyConstraint("group_id", "slot"),
    sa.CheckConstraint(
        f"slot BETWEEN 0 AND {STATES_KEPT - 1} AND slot = mod(sequence, {STATES_KEPT})", name="slot"
    ),
    sa.CheckConstraint(f"octet_length(content) <= {STATE_BYTES_MAX}", name="size"),
    shown("saved_at", "group_id node"),
    info=storage(50),
)
