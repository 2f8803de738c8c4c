"""`python -m bench.adr.beat_variants [CLIENTS]`: cost of other forms of the heartbeat.

Each variant leaves something out or says it otherwise; most of them could not be used as they
stand. They tell where a beat's cost is, and so whether there is something left to save (ADR 13).
"""

from __future__ import annotations

import sys
from typing import LiteralString

from bench import floor
from bench.parts import beat
from coordinator.store.node import heartbeat

CLIENTS, WINDOW_S = 100, 60.0
AGE: LiteralString = ", date_part('epoch', own.last_heartbeat - holder.last_heartbeat)"
#: A sub-select where the heartbeat has a join.
SUBSELECT: LiteralString = (
    "{beat}, (SELECT ARRAY[node.beat, (1000 * {age_s})::bigint]"
    " FROM {schema}.health_check AS node WHERE node.group_id = %(group)s"
    " AND node.task_id = %(holder)s AND node.session = %(holding)s::uuid AND node.ended_at IS NULL)"
)
#: The write in a CTE, joined with the holder's row.
CTE: LiteralString = (
    "WITH beaten AS ({beat}) SELECT beaten.beat, node.beat, {age_s} FROM beaten"
    " LEFT JOIN {schema}.health_check AS node ON node.group_id = %(group)s"
    " AND node.task_id = %(holder)s AND node.session = %(holding)s::uuid AND node.ended_at IS NULL"
)
#: Also asks whether the token's row is as it was, and for the group's version.
TOKEN: LiteralString = (
    "{beat}, CASE WHEN EXISTS (SELECT FROM {schema}.token_holder WHERE group_id = %(token)s"
    " AND term = 1 AND task_id = %(holder)s AND session = %(holding)s::uuid)"
    " THEN (SELECT ARRAY[node.beat, (1000 * {age_s})::bigint,"
    " (SELECT version FROM {schema}.group_record WHERE group_id = %(group)s)]"
    " FROM {schema}.health_check AS node WHERE node.group_id = %(group)s"
    " AND node.task_id = %(holder)s AND node.session = %(holding)s::uuid AND node.ended_at IS NULL)"
    " END"
)
SERVER: LiteralString = ", {started_at}, {timeline}"
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


def variants() -> dict[str, str]:
    """Return the statements by name."""
    watching = beat.text_of()
    return {
        "upsert": floor.UPSERT,
        "what a heartbeat writes": beat.text_of(beat.WRITE),
        "heartbeat that watches": watching,
        "without the age": watching.replace(beat.text_of(AGE), ""),
        "and the server's identity": watching + beat.text_of(SERVER),
        "as a sub-select": beat.text_of(SUBSELECT),
        "as a CTE": beat.text_of(CTE),
        "and the token, and the version": beat.text_of(TOKEN),
        "heartbeat that looks": beat.text_of(heartbeat.BEAT_AND_LOOK),
        "looks, as UPDATE ... FROM": beat.text_of(UPDATE),
        "looks, 5 columns of 18": beat.text_of(FEW),
    }


def main() -> None:
    """Measure all, and print what each costs beside the floor."""
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS
    with floor.bench_server() as server:
        found = beat.costs(server, variants(), clients, WINDOW_S)
    for name, cost_ms in found.items():
        print(f"{name:34} {cost_ms:.3f} ms {cost_ms / found['upsert']:6.2f}")


if __name__ == "__main__":
    main()
