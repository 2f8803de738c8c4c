"""Count tokens that are taken and released in a second, beside pgbench with the same updates.

`python -m bench.parts.tokens CONNINFO SCHEMA GROUP SECONDS` is one worker: it says "ready",
begins at a line on stdin, and writes how many it took and released.
"""

from __future__ import annotations

import subprocess
import sys
import uuid

from bench import floor
from bench.measure import BenchError, Figures, boottime, cpu_of, median, pause, spent
from coordinator.protocol.messages.holder_requests import Exchange, Give, Want
from coordinator.protocol.messages.requests import Join, NodeFacts
from coordinator.store.connection.postgres import PostgresStore
from tests.support.servers.postgres import Server

TIMEOUT_S = 10.0

#: Writes of a take and a release, in two transactions of the same isolation level; nobody checks
#: anything here. The row is made by `_floor_rows`.
SAME_UPDATES = """
BEGIN;
UPDATE token_holder SET task_id = 'floor', session = 'f1000000-0000-0000-0000-000000000000',
    term = term + 1, acquired_at = clock_timestamp(), released_at = NULL
    WHERE group_id = 'floor-' || :client_id RETURNING term \\gset
INSERT INTO token_history (group_id, term, task_id, session, acquired_at, how, reason)
    VALUES ('floor-' || :client_id, :term, 'floor', 'f1000000-0000-0000-0000-000000000000',
        clock_timestamp(), 'release', '');
INSERT INTO event (group_id, kind, task_id, term, reason, who)
    VALUES ('floor-' || :client_id, 'taken', 'floor', :term, '', 'floor');
COMMIT;
BEGIN;
UPDATE token_holder SET session = NULL, released_at = clock_timestamp()
    WHERE group_id = 'floor-' || :client_id;
UPDATE token_history SET ended_at = clock_timestamp(), end_how = 'release', end_reason = ''
    WHERE group_id = 'floor-' || :client_id AND term = :term;
INSERT INTO event (group_id, kind, task_id, term, reason, who)
    VALUES ('floor-' || :client_id, 'released', 'floor', :term, '', 'floor');
SELECT pg_notify('floor_' || :client_id, 'released');
SELECT pg_notify('floor_name_' || :client_id, 'released');
COMMIT;
"""


def tokens(server: Server, *, clients: int, seconds: float, rounds: int) -> Figures:
    """Measure ours and the floor in turn; tokens a second, and server CPU for each token."""
    ours, floors = [], []
    for _ in range(rounds):
        ours.append(_ours(server, clients, seconds))
        floors.append(_floor(server, clients, seconds))
    per_s, cpu_ms = (median([each[n] for each in ours]) for n in (0, 1))
    floor_per_s, floor_cpu_ms = (median([each[n] for each in floors]) for n in (0, 1))
    return {
        "clients": clients,
        "per_s": per_s,
        "floor_per_s": floor_per_s,
        "ratio_per_s": per_s / floor_per_s,
        "cpu_ms": cpu_ms,
        "floor_cpu_ms": floor_cpu_ms,
        "ratio_cpu_ms": cpu_ms / floor_cpu_ms,
    }


def _ours(server: Server, clients: int, seconds: float) -> tuple[float, float]:
    database = floor.new_database(server)
    command = [sys.executable, "-m", "bench.parts.tokens", database.conninfo, floor.SCHEMA]
    workers = [
        subprocess.Popen(
            [*command, f"group-{number}", str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for number in range(clients)
    ]
    try:
        for worker in workers:
            if _line(worker) != "ready":
                raise BenchError("a worker did not connect")
        serving = floor.backends(server, "coord")
        before = cpu_of(serving)
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
        counts = [int(_line(worker)) for worker in workers]
        after = cpu_of(serving)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    return sum(counts) / seconds, 1000 * spent(before, after) / max(1, sum(counts))


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def _floor(server: Server, clients: int, seconds: float) -> tuple[float, float]:
    database = floor.new_database(server)
    _floor_rows(database, clients)
    with floor.pgbench(database, SAME_UPDATES, clients=clients, seconds=seconds + 1.0) as running:
        pause(0.5)
        serving = floor.backends(server, "pgbench")
        began, before = boottime(), cpu_of(serving)
        terms = "SELECT sum(term)::bigint FROM token_holder"
        first = int(database.query(terms)[0][0])
        pause(seconds * 0.8)
        after, last = cpu_of(serving), int(database.query(terms)[0][0])
        took_s = boottime() - began
        running.tps(seconds + 30)
    done = max(1, last - first)
    return done / took_s, 1000 * spent(before, after) / done


def _floor_rows(database: floor.Database, clients: int) -> None:
    for number in range(clients):
        database.query("INSERT INTO token_holder (group_id) VALUES (%s)", f"floor-{number}")


# --- one worker -------------------------------------------------------------------------------


def main() -> None:
    """Take and release one token for a while, as often as it goes."""
    conninfo, schema, group, seconds = sys.argv[1:5]
    facts = NodeFacts(
        node=group, group=group, liveness_s=60.0, heartbeat_s=1.0, lease_s=48.0, holds=True
    )
    connection = PostgresStore(conninfo, schema, facts).connect(TIMEOUT_S)
    session = str(uuid.uuid4())
    branch = connection.ask(Join(session=session, previous=None), TIMEOUT_S).view.identity.branch
    token, term = f"{group}/lock", 0
    print("ready", flush=True)
    sys.stdin.readline()
    count, end_at = 0, boottime() + float(seconds)
    while boottime() < end_at:
        wants = (Want(token=token, least_term=term + 1),)
        taken = connection.ask(Exchange(session=session, branch=branch, wants=wants), TIMEOUT_S)
        ((_, term),) = taken.taken
        gives = (Give(token=token, term=term, reason="bench"),)
        connection.ask(Exchange(session=session, branch=branch, gives=gives), TIMEOUT_S)
        count += 1
    print(count, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
