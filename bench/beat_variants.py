"""`python -m bench.beat_variants [CLIENTS]`: what a beat would cost the server in other words.

Each variant leaves something out or says it otherwise; most of them could not be used as they
stand. They tell where a beat's cost is, and so whether there is something left to save (ADR 13).
"""

from __future__ import annotations

import sys
from typing import LiteralString

from bench import beat, floor
from bench.measure import BenchError
from coordinator.store import heartbeat
from coordinator.store.statement import named

CLIENTS, WINDOW_S = 100, 60.0
#: The whole view, told by the UPDATE itself.
UPDATE: LiteralString = (
    "UPDATE {schema}.health_check AS own SET beat = own.beat + 1,"
    " last_heartbeat = clock_timestamp() {view_from} WHERE own.group_id = %(group)s"
    " AND own.task_id = %(node)s AND own.session = %(mine)s::uuid AND own.ended_at IS NULL"
    " RETURNING own.beat, {view_columns}"
)
#: The whole view, less most of its columns.
FEW: LiteralString = (
    "WITH beaten AS ({beat}) SELECT (SELECT beat FROM beaten), record.version, token.term,"
    " node.session, node.beat, node.ended_at IS NOT NULL {view_from}"
)
#: The least that could be called a look: one column of the token, and one of its holder's row.
LEAST: LiteralString = (
    "{beat}, (SELECT term FROM {schema}.token_holder WHERE group_id = %(token)s),"
    " (SELECT beat FROM {schema}.health_check WHERE group_id = %(group)s AND task_id = %(holder)s)"
)
VERSION = "(SELECT version FROM {schema}.group_record WHERE group_id = %(group)s)"
SAME_SERVER = (
    "WHEN {started_at} <> %(started_at)s OR {timeline} <> %(timeline)s THEN ARRAY[]::bigint[]"
)
AGE = "(1000 * {age_s})::bigint"


def variants() -> dict[str, str]:
    """Return the statements by name."""
    written, look = beat.halves()
    return {
        "upsert": floor.UPSERT,
        "beat": beat.text_of(),
        "what it writes": written,
        "its look": look,
        "whole view": beat.text_of(heartbeat.BEAT),
        "whole view, UPDATE ... FROM": beat.text_of(UPDATE),
        "whole view, 5 columns of 18": beat.text_of(FEW),
        "write, and two columns of others": beat.text_of(LEAST),
        "without the group's version": _instead(VERSION, "0"),
        "without the server's identity": _instead(SAME_SERVER, ""),
        "without the age of the beat": _instead(AGE, "0"),
    }


def _instead(old: LiteralString, new: str) -> str:
    """Return the heartbeat with other words for some of its own."""
    text = beat.text_of()
    changed = text.replace(named(old, floor.SCHEMA).decode(), new)
    if changed == text:
        raise BenchError(f"the heartbeat does not say {old}")
    return changed


def main() -> None:
    """Measure all, and print what each costs beside the floor."""
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS
    with floor.bench_server() as server:
        found = beat.costs(server, variants(), clients, WINDOW_S)
    for name, cost_ms in found.items():
        print(f"{name:34} {cost_ms:.3f} ms {cost_ms / found['upsert']:6.2f}")


if __name__ == "__main__":
    main()
