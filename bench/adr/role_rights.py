"""Cost of the rights of roles for a heartbeat: row level security, definer functions, neither.

    python -m bench.adr.role_rights [--rounds 9] [--beats 4000]

One server, one statement (the heartbeat), the variants in turn within each round. Counted is the
CPU time of the server's own process, which says the same on a busy machine as on an idle one.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from bench.parts.beat import filled
from coordinator.store.node import heartbeat
from coordinator.store.schema import migrate
from coordinator.store.schema.roles import roles_for
from coordinator.store.sql.statement import named
from tests.support.servers.postgres import Server

GROUPS, NODES = 20, 50  #: groups, and nodes in each
SCHEMA = "app"
#: Of every node: a beat meets its row by the key.
SESSION = "00000000-0000-4000-8000-000000000000"

ROWS = """
INSERT INTO app.group_record (group_id)
    SELECT CAST(g AS text) FROM generate_series(1, %(groups)s) g;
INSERT INTO app.health_check (group_id, task_id, session, liveness_ms, heartbeat_ms, host, pid)
    SELECT CAST(g AS text), CAST(n AS text), CAST(%(session)s AS uuid), 6000, 1000, 'host', 1
    FROM generate_series(1, %(groups)s) g, generate_series(1, %(nodes)s) n;
INSERT INTO app.token_holder (group_id, task_id, session, term, acquired_at)
    SELECT CAST(g AS text), '1', CAST(%(session)s AS uuid), 1, now()
    FROM generate_series(1, %(groups)s) g;
INSERT INTO app.group_role (role_name, group_id)
    SELECT 'login-' || g, CAST(g AS text) FROM generate_series(1, %(groups)s) g
    UNION ALL SELECT 'bench_login', '1';
"""

#: The alternative: no rights on tables, and one function for each thing that a node does.
DEFINER = """
CREATE FUNCTION app.bench_beat(p_group text, p_node text, p_mine uuid)
RETURNS TABLE (my_beat bigint, holders_beat bigint, age_s double precision, served_by int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, app, pg_temp
AS $bench$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (
        SELECT FROM app.group_role
        WHERE role_name = CAST(session_user AS text) AND group_id = split_part(p_group, '/', 1)
    ) THEN
        RAISE insufficient_privilege;
    END IF;
    RETURN QUERY {beat};
END
$bench$;
GRANT EXECUTE ON FUNCTION app.bench_beat(text, text, uuid) TO bench_login
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--beats", type=int, default=4000)
    arguments = parser.parse_args()
    # The wait for the disk is the same for all of them.
    server = Server.create(autovacuum="off", synchronous_commit="off")
    try:
        _measure(server, arguments.rounds, arguments.beats)
    finally:
        server.remove()


def _measure(server: Server, rounds: int, beats: int) -> None:
    owner, login = server.conninfo(), make_conninfo(server.conninfo(), user="bench_login")
    _prepare(owner)
    statement = beat("$1", "$2", "$3")
    function = "SELECT * FROM app.bench_beat($1, $2, $3)"
    variants = {
        "owner": (owner, statement, "ENABLE"),
        "owner, row level security off": (owner, statement, "DISABLE"),
        "login with plain grants": (login, statement, "DISABLE"),
        "login with row level security": (login, statement, "ENABLE"),
        "login with a definer function": (login, function, "ENABLE"),
    }
    seen: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, (conninfo, words, switch) in variants.items():
            for table in ("health_check", "token_holder", "group_record"):
                server.query(f"ALTER TABLE app.{table} {switch} ROW LEVEL SECURITY")
            server.query("VACUUM app.health_check")
            seen[name].append(_cpu_us(conninfo, words, beats))
    for name, costs in seen.items():
        ratios = [cost / base for cost, base in zip(costs, seen["owner"], strict=True)]
        print(f"{name:32} {statistics.median(costs):6.1f} us {statistics.median(ratios):6.2f}")


def _prepare(owner: str) -> None:
    migrate.upgrade(owner, SCHEMA)
    with psycopg.connect(owner, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("\n".join(roles_for(SCHEMA, "bench", "orders")))
        connection.execute("CREATE ROLE bench_login LOGIN IN ROLE bench_node")
        connection.execute(ROWS, {"groups": GROUPS, "nodes": NODES, "session": SESSION})
        words = beat("p_group", "p_node", "p_mine")
        connection.execute(DEFINER.format(beat=words))


def beat(group: str, node: str, mine: str) -> str:
    """Return the heartbeat with other words for its parameters."""
    holder = {"holder": "'1'", "holding": f"'{SESSION}'", "holder_ms": "6000"}
    words = {"group": group, "node": node, "mine": mine, **holder}
    return filled(named(heartbeat.BEAT_AND_WATCH, SCHEMA).decode(), words).rstrip(";\n")


def _cpu_us(conninfo: str, statement: str, beats: int) -> float:
    """Return the server's CPU time for one beat, prepared, in a session as nodes have it."""
    options = "-c enable_seqscan=off -c jit=off"
    with psycopg.connect(conninfo, autocommit=True, options=options) as connection:
        connection.execute(f"PREPARE beat (text, text, uuid) AS {statement}")
        again = f"EXECUTE beat ('1', '2', '{SESSION}')"
        for _ in range(20):  # until the plan is the generic one
            connection.execute(again, prepare=False)
        schedstat = Path(f"/proc/{connection.info.backend_pid}/schedstat")
        before = int(schedstat.read_text().split()[0])
        for _ in range(beats):
            connection.execute(again, prepare=False)
        return (int(schedstat.read_text().split()[0]) - before) / beats / 1000


if __name__ == "__main__":
    main()
