"""The heartbeat's own statements as scripts of pgbench, side by side with the floor.

A beat writes one row, as the floor does, and watches the holder's row, by keys only; one of some
looks at everything that a view has. What each costs tells what is left to save.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import LiteralString

from bench import floor
from bench.floor import Database
from bench.measure import BenchError, Figures, boottime, cpu_of, pause, spent, until
from coordinator.store.node import heartbeat
from coordinator.store.sql.statement import named
from tests.support.servers.postgres import Server

GROUP = "alone"
#: A heartbeat that looks at nothing.
WRITE: LiteralString = "{beat}"
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
    "INSERT INTO database_epoch (group_id, system_identifier, timeline, settled)"
    " VALUES (%s, 0, 1, true)"
)
#: As every session of ours has it.
SETTINGS = ("enable_seqscan", "jit")
#: A connection's first five executions of a statement are planned anew each.
SETTLE_S = 9.0


def prepare(database: Database, clients: int, group: str = GROUP) -> dict[str, str]:
    """Make a group that so many clients beat in; returns words for the statements' parameters."""
    database.query(EPOCH, group)
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
        "wall_ms": "1000",
        "holder": "'n0'::text",
        "holding": "md5('0')",
        "holder_ms": "30000",
    }


def text_of(statement: LiteralString = heartbeat.BEAT_AND_WATCH) -> str:
    """Return a statement, by default the usual heartbeat."""
    return named(statement, floor.SCHEMA).decode()


def filled(text: str, words: Mapping[str, str]) -> str:
    """Return a statement of ours as a script: each client of pgbench is a node of the group."""
    for name, word in words.items():
        text = text.replace(f"%({name})s", word)
    return text.strip().removesuffix(";") + ";\n"


def parts(server: Server, clients: int, window_s: float) -> Figures:
    """Measure the floor, what a heartbeat writes, and both kinds of heartbeats."""
    texts = {
        "upsert": floor.UPSERT,
        "write": text_of(WRITE),
        "watch": text_of(),
        "look": text_of(heartbeat.BEAT_AND_LOOK),
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
