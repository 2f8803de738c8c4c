"""Fence of a transaction: it commits only while (term, session) is the token's current holding."""

from __future__ import annotations

from typing import LiteralString

from coordinator.store.sql.statement import named

#: SQLSTATE that coord_fence raises when (term, session) is not the current holding.
NOT_CURRENT = "CF001"

#: The first statement of a fenced transaction. Qualified in full: the search_path may be a user's.
FENCE: LiteralString = """
SELECT {schema}.coord_fence(
    CAST(%(group)s AS pg_catalog.text),
    CAST(%(term)s AS pg_catalog.int8),
    CAST(%(session)s AS pg_catalog.uuid)
)
"""


def fence_sql(schema: str) -> str:
    """Return FENCE for a schema; its parameters are group, term and session."""
    return named(FENCE, schema).decode()
