"""Rows deleted under live nodes, as by somebody's clean-up or a restore of one table (rule O7)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from tests.faults.campaign.ground import NAMES, Ground, boottime
from tests.faults.campaign.history import Asked
from tests.faults.campaign.limits import HEARTBEAT_S

Inject = Callable[[Ground], None]
#: A rejoin takes some transactions at once; over so many heartbeats they are few.
WATCHED_HEARTBEATS = 12
#: A statement in the log, by `log_line_prefix` and `log_statement = all` of this ground: the
#: application that asked, and its transaction.
LOG = {"log_statement": "all", "log_line_prefix": "%a|%v|"}
LINE = re.compile(rb"^(node-\d)\|(\d+/\d+)\|LOG: ", re.MULTILINE)

TABLES = (
    "token_holder",
    "health_check",
    "group_record",
    "database_epoch",
    "event",
    "schedule",
    "task",
    "task_node",
    "token_state",
    "observer_decision",
)


def truncate(*tables: str) -> str:
    return "TRUNCATE " + ", ".join(f"{{schema}}.{table}" for table in tables)


TOKEN = "DELETE FROM {schema}.token_holder"
TOKEN_AND_HISTORY = truncate("token_holder", "token_history")
HOLDERS_NODE = """
DELETE FROM {schema}.health_check AS node USING {schema}.token_holder AS token
WHERE node.session = token.session
"""
NODES = "DELETE FROM {schema}.health_check"
RECORD = "DELETE FROM {schema}.group_record"
EPOCHS = "DELETE FROM {schema}.database_epoch"
ALL_BUT_HISTORY = truncate(*TABLES)
ALL = truncate(*TABLES, "token_history")


def wreck(statement: str) -> Inject:
    """Run a statement that nobody should, and count what the nodes ask for afterwards."""

    def inject(ground: Ground) -> None:
        ground.note_grants()  # what is deleted with the history has to be judged all the same
        log = ground.server.log
        before, at = log.stat().st_size, boottime()
        assert ground.ask(statement) is not None
        ground.pass_time(WATCHED_HEARTBEATS * HEARTBEAT_S)
        until = boottime()
        with log.open("rb") as file:
            file.seek(before)
            asked = transactions(file.read())
        ground.history.asked += [
            Asked(node=name, at=at, until=until, transactions=asked[name]) for name in NAMES
        ]

    return inject


def transactions(log: bytes) -> Counter[str]:
    """Count the transactions of each node in a server's log, however many statements they had."""
    distinct = {(name.decode(), number) for name, number in LINE.findall(log)}
    return Counter(name for name, _ in distinct)
