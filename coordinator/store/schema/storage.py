"""Storage parameters of tables: how full their pages are made, and when they are vacuumed.

SQLAlchemy 2.0 has no word for them, so they are set by a statement of their own.
"""

from __future__ import annotations

import sqlalchemy as sa

#: Key of a table's `info`.
STORAGE = "storage"


def storage(fillfactor: int, *, vacuum_after: int | None = None) -> dict[str, dict[str, int]]:
    """Return the `info` of a table whose rows change all the time.

    vacuum_after: so many dead rows, however large the table is; None leaves it to the server.
    """
    parameters = {"fillfactor": fillfactor}
    if vacuum_after is not None:
        parameters["autovacuum_vacuum_scale_factor"] = 0
        parameters["autovacuum_vacuum_threshold"] = vacuum_after
    return {STORAGE: parameters}


def store_alike(copied: sa.Table, original: sa.Table) -> None:
    """Let the creation of a copy set what its original has."""
    parameters = original.info.get(STORAGE)
    if parameters is not None:
        settings = ", ".join(f"{key} = {value}" for key, value in parameters.items())
        statement = sa.DDL(f"ALTER TABLE %(fullname)s SET ({settings})")  # type: ignore[no-untyped-call]
        sa.event.listen(copied, "after_create", statement)
