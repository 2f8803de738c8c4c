"""The heartbeat's own statement as scripts of pgbench: whole, and each of its two jobs alone.

A beat writes one row, as the floor does, and looks: at the server's identity, the token, its
holder's row and the group's version, by keys only. What each job costs tells what is left to save.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench import floor
from bench.floor import Database
from bench.measure import BenchError, Figures, boottime, cpu_of, median, pause, spent, until
from coordinator.store import session
from coordinator.store.statement import named
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
RECORD = f"INSERT INTO group_record (group_id) VALUES ('{GROUP}')"
VALUES = {
    "group": f"'{GROUP}'::text",
    "token": f"'{GROUP}'::text",
    "node": "('n' || :client_id::text)",
    "mine": "md5(:client_id::text)",
}
#: As every session of ours has it.
SETTINGS = ("enable_seqscan", "jit")
SETTLE_S = 4.0


def prepare(database: Database, clients: int) -> None:
    """Make the rows that so many clients beat in."""
    database.query(ROWS, clients - 1)
    database.query(RECORD)
    database.query(HOLDER)
    for name in SETTINGS:
        database.query(f"ALTER DATABASE {database.name} SET {name} = off")


def script() -> str:
    """Return the whole statement."""
    return filled(named(session.BEAT_SETTLED, floor.SCHEMA).decode())


def halves() -> tuple[str, str]:
    """Return what it writes and what it looks at, as statements of their own."""
    text = named(session.BEAT_SETTLED, floor.SCHEMA).decode()
    opening, closing = "WITH beaten AS (", "(SELECT beat FROM beaten),"
    update, end, look = text.partition(closing)
    written = update.partition(opening)[2].rpartition(")")[0]
    if not end or not written:
        raise BenchError("the heartbeat's statement is not made of the parts that are known here")
    return filled(written), filled("SELECT" + look)


def filled(text: str) -> str:
    """Return a statement of ours as a script: each client of pgbench is a node of the group."""
    for name, value in VALUES.items():
        text = text.replace(f"%({name})s", value)
    return text.strip() + ";\n"


def parts(server: Server, clients: int, window_s: float, rounds: int) -> Figures:
    """Measure the floor, each half and the whole."""
    written, look = halves()
    scripts = {"upsert": floor.UPSERT, "write": written, "look": look, "beat": script()}
    return {"clients": clients, **costs(server, scripts, clients, window_s, rounds)}


def costs(
    server: Server, scripts: Mapping[str, str], clients: int, window_s: float, rounds: int
) -> dict[str, float]:
    """Measure scripts in turn, each at one a second for each client.

    Returns the backends' CPU in ms for one of each, by name: medians over the rounds.
    """
    database = floor.new_database(server)
    prepare(database, clients)
    database.query(floor.UPSERT_TABLE)
    found: dict[str, list[float]] = {name: [] for name in scripts}
    for _ in range(rounds):
        for name, text in scripts.items():
            found[name].append(_cpu_ms(database, text, clients, window_s))
    return {name: median(each) for name, each in found.items()}


def _cpu_ms(database: Database, text: str, clients: int, window_s: float) -> float:
    seconds = window_s + 4 * SETTLE_S + clients / 50
    with floor.pgbench(database, text, clients=clients, seconds=seconds, rate=clients):
        if not until(lambda: len(floor.backends(database.server, "pgbench")) >= clients, 60):
            raise BenchError(f"pgbench did not open {clients} connections")
        pause(SETTLE_S)
        serving = floor.backends(database.server, "pgbench")
        began_at, before = boottime(), cpu_of(serving)
        pause(window_s)
        took_s, after = boottime() - began_at, cpu_of(serving)
    return 1000 * spent(before, after) / (clients * took_s)
