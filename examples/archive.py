"""A periodic archive: each run moves what is old, in transactions that only the holder commits.

A node that was paused in the middle and comes back too late cannot commit: what it has moved so
far is rolled back, and the node that took over has moved it, or will.
"""

from __future__ import annotations

from sqlalchemy import text

from coordinator import HeldTask

MOVE = text(
    """
    WITH old AS (
        DELETE FROM document
        WHERE id IN (
            SELECT id FROM document
            WHERE written_at < clock_timestamp() - make_interval(secs => :older_than)
            ORDER BY id
            LIMIT :batch
        )
        RETURNING id, body, written_at
    )
    INSERT INTO document_archive (id, body, written_at)
    OVERRIDING SYSTEM VALUE SELECT * FROM old
    """
)


def run() -> None:
    """Move everything that is old, a batch at a time."""
    task = HeldTask()
    batch = int(task.options["batch"])
    values = {"older_than": float(task.options["olderThan"]), "batch": batch}
    moved = batch
    while moved == batch:
        with task.transaction() as connection:
            moved = connection.execute(MOVE, values).rowcount
