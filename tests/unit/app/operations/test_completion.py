"""Words that the prompt of `coord sql` offers at the cursor."""

from __future__ import annotations

import pytest

from coordinator.app.admin.operations.completion import Known, candidates

KNOWN = Known(
    types={"rebuild": ("node", "table_id"), "check_disk": ("fix",)},
    names=(("cluster", "orders"), ("cluster", "my-group"), ("node", "node"), ("task", "it's")),
    views=("sys.tasks", "sys.subtasks"),
)


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("", ["CREATE TASK", "CANCEL TASK", "SELECT * FROM sys.tasks"]),
        ("cr", ["CREATE TASK"]),
        ("CREATE ", ["TASK"]),
        ("CREATE TASK ", ["TYPE"]),
        ("CREATE TASK nightly ", ["TYPE"]),
        ("create task type ", ["rebuild", "check_disk"]),
        ("CREATE TASK TYPE reb", ["rebuild"]),
        ("CREATE TASK TYPE rebuild ", ["LOCATION", "OPTIONS"]),
        ("CREATE TASK TYPE rebuild location c", ["CLUSTER"]),
        ("CREATE TASK TYPE rebuild LOCATION CLUSTER ", ["orders", "'my-group'"]),
        ("CREATE TASK TYPE rebuild LOCATION CLUSTER 'my", ["'my-group'"]),
        ("CREATE TASK TYPE check_disk LOCATION NODE ", ["'node'"]),
        ("CREATE TASK TYPE rebuild OPTIONS ", ["node = ", "table_id = "]),
        ("CREATE TASK TYPE check_disk OPTIONS f", ["fix = "]),
        ("CREATE TASK TYPE rebuild OPTIONS node = ", ["'node'"]),
        ("CREATE TASK TYPE check_disk OPTIONS fix = t", ["true"]),
        ("CREATE TASK TYPE rebuild OPTIONS node = 'a', ", ["node = ", "table_id = "]),
        ("CREATE TASK TYPE unknown OPTIONS ", []),
        ("CANCEL ", ["TASK"]),
        ("CANCEL TASK ", ["'it''s'"]),
        ("CANCEL TASK 'it", ["'it''s'"]),
        ("SELECT * FROM ", ["sys.tasks", "sys.subtasks"]),
        ("SELECT * FROM sys.s", ["sys.subtasks"]),
        ("CREATE TASK TYPE rebuild; CAN", ["CANCEL TASK"]),
    ],
)
def test_what_may_stand_at_the_cursor(before: str, found: list[str]):
    assert [word for word, _ in candidates(before, KNOWN)] == found


def test_the_typed_letters_are_replaced():
    assert list(candidates("CREATE TASK TYPE reb", KNOWN)) == [("rebuild", 3)]
    assert list(candidates("CANCEL TASK 'it", KNOWN)) == [("'it''s'", 3)]
