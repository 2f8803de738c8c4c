"""The heartbeat's own statement as scripts of pgbench: whole, and each of its two jobs alone.

A beat writes one row, as the floor does, and looks: whether the server's identity, the token and
the group's version are as they were, and at the holder's row, by keys only. What each job costs
tells what is left to save.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import LiteralString

import psycopg
from psycopg import sql

from bench import floor
from bench.floor import Database
from bench.measure import BenchError, Figures, boottime, cpu_of, pause, spent, until
from coordinator.store import heartbeat
from coordinator.store.statement import named
from coordinator.store.transaction import Cursor
from coordinator.store.view import Place, known_as, read_view
from tests.support.postgres import Server

GROUP = "alone"
#: Each client of pgbench is a node; the first one holds the token.
ROWS = (
    "INSERT INTO health_check (group_id, task_id, session, liveness_ms, heartbeat_ms, lease_ms)"
    " SELECT %s, 'n' || n, md5(n::text)::uuid, 30000, 1000, 20000"
    " FROM generate_series(0, %s) AS n"
)
HOLDER = (
    "INSERT INTO token_holder (group_id, term, task_id, session)"
    " VALUES (%s, 1, 'n0', md5('0')::uuid)"
)
RECORD = "INSERT INTO group_record (group_id) VALUES (%s)"
EPOCH = (
    "INSERT INTO database_epoch (system_identifier, timeline, settled) VALUES (0, 1, true)"
    " ON CONFLICT DO NOTHING"
)
#: As every session of ours has it.
SETTINGS = ("enable_seqscan", "jit")
#: A connection's first five executions of a statement are planned anew each.
SETTLE_S = 9.0


def prepare(database: Database, clients: int, group: str = GROUP) -> dict[str, str]:
    """Make a group that so many clients beat in; returns words for the statements' parameters."""
    database.query(EPOCH)
    database.query(ROWS, group, clients - 1)
    database.query(RECORD, group)
    database.query(HOLDER, group)
    for name in SETTINGS:
        database.query(f"ALTER DATABASE {database.name} SET {name} = off")
    return {
        "system": "0",
        "group": f"'{group}'::text",
        "token": f"'{group}'::text",
        "node": "('n' || :client_id::text)",
        "mine": "md5(:client_id::text)",
        **known(database.conninfo, floor.SCHEMA, group),
    }


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


def text_of(statement: LiteralString = heartbeat.BEAT_IF_KNOWN) -> str:
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


def parts(server: Server, clients: int, window_s: float) -> Figures:
    """Measure the floor, each half, the whole, and the heartbeat that reads everything."""
    written, look = halves()
    texts = {
        "upsert": floor.UPSERT,
        "write": written,
        "look": look,
        "beat": text_of(),
        "whole": text_of(heartbeat.BEAT),
    }
    return {"clients": clients, **costs(server, texts, clients, window_s)}


def costs(
    server: Server, texts: Mapping[str, str], clients: int, window_s: float
) -> dict[str, float]:
    """Measure statements side by side, each by so many clients of its own at one a second.

    All of them meet the same mood of the machine, which changes within minutes by more than what
    tells them apart. Returns the backends' CPU in ms for one of each, by name.
    """
    database = floor.new_database(server)
    database.query(floor.UPSERT_TABLE)
    seconds = window_s + 2 * SETTLE_S + len(texts) * clients / 50
    with ExitStack() as stack:
        for number, text in enumerate(texts.values()):
            words = prepare(database, clients, f"{GROUP}-{number}")
            script = filled(text, words)
            running = floor.pgbench(
                database,
                script,
                clients=clients,
                seconds=seconds,
                rate=clients,
                application=f"{GROUP}-{number}",
            )
            stack.enter_context(running)
        serving = [_serving(server, f"{GROUP}-{number}", clients) for number in range(len(texts))]
        pause(SETTLE_S)
        everybody = [pid for each in serving for pid in each]
        began_at, before = boottime(), cpu_of(everybody)
        pause(window_s)
        took_s, after = boottime() - began_at, cpu_of(everybody)
    return {
        name: 1000 * spent({pid: before[pid] for pid in each}, after) / (clients * took_s)
        for name, each in zip(texts, serving, strict=True)
    }


def _serving(server: Server, application: str, clients: int) -> list[int]:
    """Return the backends of so many clients, once all of them are there."""
    if not until(lambda: len(floor.backends(server, application)) >= clients, 60):
        raise BenchError(f"pgbench did not open {clients} connections")
    return floor.backends(server, application)
