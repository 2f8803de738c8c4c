"""The heartbeat's own statement as scripts of pgbench: whole, and each of its two jobs alone.

A beat writes one row, as the floor does, and looks: whether the server's identity, the token and
the group's version are as they were, and at the holder's row, by keys only. What each job costs
tells what is left to save.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

import psycopg
from psycopg import sql

from bench import floor
from bench.floor import Database
from bench.measure import BenchError, Figures, boottime, cpu_of, median, pause, spent, until
from coordinator.store import session
from coordinator.store.statement import named
from coordinator.store.transaction import Cursor
from coordinator.store.view import Place, known_as, read_view
from tests.support.postgres import Server

GROUP = "alone"
#: Each client of pgbench is a node; the first one holds the token.
ROWS = (
    "INSERT INTO health_check (group_id, task_id, session, liveness_ms, heartbeat_ms, lease_ms)"
    f" SELECT '{GROUP}', 'n' || n, md5(n::text)::uuid, 30000, 1000, 20000"
    " FROM generate_series(0, %s) AS n"
)
HOLDER = (
    "INSERT INTO token_holder (group_id, term, task_id, session)"
    f" VALUES ('{GROUP}', 1, 'n0', md5('0')::uuid)"
)
EPOCH = "INSERT INTO database_epoch (system_identifier, timeline, settled) VALUES (0, 1, true)"
RECORD = f"INSERT INTO group_record (group_id) VALUES ('{GROUP}')"
#: Of the node that a client of pgbench plays.
NODE = {
    "group": f"'{GROUP}'::text",
    "token": f"'{GROUP}'::text",
    "node": "('n' || :client_id::text)",
    "mine": "md5(:client_id::text)",
    "system": "0",
}
#: As every session of ours has it.
SETTINGS = ("enable_seqscan", "jit")
#: A connection's first five executions of a statement are planned anew each.
SETTLE_S = 9.0


def prepare(database: Database, clients: int) -> dict[str, str]:
    """Make the rows that so many clients beat in; returns words for the statements' parameters."""
    database.query(ROWS, clients - 1)
    database.query(EPOCH)
    database.query(RECORD)
    database.query(HOLDER)
    for name in SETTINGS:
        database.query(f"ALTER DATABASE {database.name} SET {name} = off")
    return NODE | known(database.conninfo, floor.SCHEMA, GROUP)


def known(conninfo: str, schema: str, group: str) -> dict[str, str]:
    """Return what a heartbeat says of the token that it knows, as literals."""
    place = Place(
        schema=schema,
        group=group,
        node="",
        token=group,
        hosts_tasks=False,
        system_identifier=0,
        started_at=0,
        channel="",
    )
    with psycopg.connect(conninfo, autocommit=True) as connection:
        params = known_as(read_view(Cursor(connection), place))
        return {name: sql.Literal(value).as_string(connection) for name, value in params.items()}


def text_of(statement: LiteralString = session.BEAT_IF_KNOWN) -> str:
    """Return a statement, by default the heartbeat that tells nothing new."""
    return named(statement, floor.SCHEMA).decode()


def halves() -> tuple[str, str]:
    """Return what it writes and what it looks at, as statements of their own."""
    written, end, look = text_of().partition("RETURNING beat\n")
    if not end or not look.startswith(","):
        raise BenchError("the heartbeat's statement is not made of the parts that are known here")
    return written + end, "SELECT " + look.removeprefix(",")


def filled(text: str, words: Mapping[str, str]) -> str:
    """Return a statement of ours as a script: each client of pgbench is a node of the group."""
    for name, word in words.items():
        text = text.replace(f"%({name})s", word)
    return text.strip().removesuffix(";") + ";\n"


def parts(server: Server, clients: int, window_s: float, rounds: int) -> Figures:
    """Measure the floor, each half, the whole, and the heartbeat that reads everything."""
    written, look = halves()
    texts = {
        "upsert": floor.UPSERT,
        "write": written,
        "look": look,
        "beat": text_of(),
        "whole": text_of(session.BEAT),
    }
    return {"clients": clients, **costs(server, texts, clients, window_s, rounds)}


def costs(
    server: Server, texts: Mapping[str, str], clients: int, window_s: float, rounds: int
) -> dict[str, float]:
    """Measure statements in turn, each at one a second for each client.

    Returns the backends' CPU in ms for one of each, by name: medians over the rounds.
    """
    database = floor.new_database(server)
    words = prepare(database, clients)
    database.query(floor.UPSERT_TABLE)
    found: dict[str, list[float]] = {name: [] for name in texts}
    for _ in range(rounds):
        for name, text in texts.items():
            found[name].append(_cpu_ms(database, filled(text, words), clients, window_s))
    return {name: median(each) for name, each in found.items()}


def _cpu_ms(database: Database, text: str, clients: int, window_s: float) -> float:
    seconds = window_s + 2 * SETTLE_S + clients / 50
    with floor.pgbench(database, text, clients=clients, seconds=seconds, rate=clients):
        if not until(lambda: len(floor.backends(database.server, "pgbench")) >= clients, 60):
            raise BenchError(f"pgbench did not open {clients} connections")
        pause(SETTLE_S)
        serving = floor.backends(database.server, "pgbench")
        began_at, before = boottime(), cpu_of(serving)
        pause(window_s)
        took_s, after = boottime() - began_at, cpu_of(serving)
    return 1000 * spent(before, after) / (clients * took_s)
