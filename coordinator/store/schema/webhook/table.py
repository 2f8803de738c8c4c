"""Table of how far the events of each group were delivered, as `tables` knows the others."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from coordinator.store.schema.columns import MOMENT, NAME, metadata, shown

_ZERO = sa.text("0")

webhook = sa.Table(
    "webhook",
    metadata,
    sa.Column("group_id", NAME, primary_key=True),
    sa.Column("read_to", sa.Text, nullable=False),
    sa.Column("read_id", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("reading", sa.Text, nullable=False),
    sa.Column("reading_id", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("delivered_id", sa.BigInteger, nullable=False, server_default=_ZERO),
    sa.Column("delivered_at", MOMENT),
    sa.Column("sender", pg.UUID(as_uuid=False)),
    sa.Column("sending_until", MOMENT),
    sa.Column("failed_count", sa.Integer, nullable=False, server_default=_ZERO),
    sa.Column("failed_since", MOMENT),
    sa.Column("next_at", MOMENT),
    sa.Column("error", sa.Text),
    shown("delivered_at sending_until failed_since next_at", "group_id error"),
)
