"""A continuous copy with a cursor: rows and cursor move in one transaction, so none is lost.

Stop it anywhere, on any node: the next one goes on behind the last row that was committed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from coordinator import HeldTask

COPY = text(
    """
    WITH fresh AS (
        SELECT id, body FROM note WHERE id > :last_id ORDER BY id LIMIT :batch
    ), copied AS (
        INSERT INTO note_mirror (id, body, term) SELECT id, body, :term FROM fresh RETURNING id
    )
    SELECT max(id) FROM copied
    """
)


def run(context: Any) -> None:
    """Copy until the node is told to stop, or loses the task."""
    task = HeldTask()
    batch, pause_s = int(task.options["batch"]), float(task.options["pause"])
    while not context.stop_event.wait(pause_s):
        with task.transaction() as connection:
            cursor = task.cursor_in(connection) or {"lastId": 0}
            values = {"last_id": cursor["lastId"], "batch": batch, "term": task.term}
            last = connection.execute(COPY, values).scalar_one()
            if last is not None:
                task.save_cursor(connection, {"lastId": last})
        task.progress()
