"""A task's options are stated once: every field of TaskDef has its column, both ways."""

from __future__ import annotations

from dataclasses import fields

from coordinator.protocol.messages.group_record import OnDone, OnPartition, TaskDef
from coordinator.store.sql.task_columns import TASK_COLUMNS, TASK_WIDTH, task_of, values_of


def test_every_option_of_a_task_has_a_column():
    options = [field.name for field in fields(TaskDef) if field.name not in ("name", "revision")]

    assert [column.field for column in TASK_COLUMNS] == options


def test_a_definition_is_the_same_after_it_was_stored_and_read():
    definition = TaskDef(
        name="report",
        revision=7,
        enabled=False,
        nodes=("a", "b"),
        preferred="a",
        pinned=True,
        failover=False,
        failback=False,
        on_partition=OnPartition.CONTINUE,
        on_done=OnDone.FINISH,
        progress_s=1.5,
        stop_timeout_s=0.25,
        spec='{"command":["true"]}',
    )
    stored = values_of(definition)

    cells = ["report", 7, *(stored[column.name] for column in TASK_COLUMNS)]

    assert len(cells) == TASK_WIDTH
    assert task_of(cells) == definition
    assert (stored["progress_ms"], stored["on_done"]) == (1500, "finish")
