"""`python -m bench.beat_variants [CLIENTS]`: what a beat would cost the server in other words.

Each variant leaves something out or says it otherwise; most of them could not be used as they
stand. They tell where a beat's cost is, and so whether there is something left to save (ADR 12).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import LiteralString

from bench import beat, floor
from bench.measure import BenchError
from coordinator.store import session
from coordinator.store.statement import named

CLIENTS, WINDOW_S, ROUNDS = 300, 8.0, 3
#: Of the columns those that change while nothing happens.
FEW_COLUMNS = "record.version, token.term, node.session, node.beat, node.ended_at IS NOT NULL"
UPDATE: LiteralString = (
    "UPDATE {schema}.health_check AS own SET beat = own.beat + 1,"
    " last_heartbeat = clock_timestamp() {rows_from} WHERE own.group_id = %(group)s"
    " AND own.task_id = %(node)s AND own.session = %(mine)s::uuid AND own.ended_at IS NULL"
    " RETURNING own.beat, server.timeline, server.started_at, {rows_columns}"
)


#: The least that could be called a look: one column of the token, and one of its holder's row.
LEAST: LiteralString = (
    "UPDATE {schema}.health_check AS own SET beat = own.beat + 1,"
    " last_heartbeat = clock_timestamp() WHERE own.group_id = %(group)s"
    " AND own.task_id = %(node)s AND own.session = %(mine)s::uuid AND own.ended_at IS NULL"
    " RETURNING own.beat,"
    " (SELECT term FROM {schema}.token_holder WHERE group_id = %(token)s),"
    " (SELECT beat FROM {schema}.health_check WHERE group_id = %(group)s AND task_id = 'n0')"
)
RECORD: LiteralString = "LEFT JOIN {schema}.group_record AS record ON record.group_id = %(group)s"


def variants() -> dict[str, str]:
    """Return the scripts by name."""
    _, look = beat.halves()
    no_record = {RECORD: "", "record.version": "0"}
    no_server = {"{server}": "SELECT 1 AS timeline, 2 AS started_at"}
    return {
        "upsert": floor.UPSERT,
        "beat": beat.script(),
        "its look alone": look,
        "UPDATE ... FROM ... RETURNING": beat.filled(_composed(UPDATE)),
        "write, and two columns of others": beat.filled(_composed(LEAST)),
        "5 columns instead of 14": _instead({"{rows_columns}": FEW_COLUMNS}),
        "without the group's version": _instead(no_record),
        "without the server's identity": _instead(no_server),
    }


def _composed(statement: LiteralString) -> str:
    return named(statement, floor.SCHEMA).decode()


def _instead(words: Mapping[LiteralString, str]) -> str:
    """Return the heartbeat with other words for some of its own."""
    text = _composed(session.BEAT_SETTLED)
    for old, new in words.items():
        before, text = text, text.replace(_composed(old), new)
        if text == before:
            raise BenchError(f"the heartbeat does not say {old}")
    return beat.filled(text)


def main() -> None:
    """Measure all, and print what each costs beside the floor."""
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS
    with floor.bench_server() as server:
        found = beat.costs(server, variants(), clients, WINDOW_S, ROUNDS)
    for name, cost_ms in found.items():
        print(f"{name:34} {cost_ms:.3f} ms {cost_ms / found['upsert']:6.2f}")


if __name__ == "__main__":
    main()
