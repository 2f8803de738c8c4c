"""What the rights of roles cost a heartbeat: row level security, definer functions, neither.

    python -m bench.role_rights [--rounds 5] [--seconds 5] [--clients 8]

One server, one statement (the heartbeat), the variants in turn within each round, so that whatever
else the machine does hits all of them alike. Prints beats per second and the ratio to the owner's.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from coordinator.store import migrate, session
from coordinator.store.roles import roles_for
from coordinator.store.statement import named
from tests.support.postgres import Server, scratch

GROUPS, NODES = 20, 50  #: groups, and nodes in each
SCHEMA = "app"
#: Of every node: a beat meets its row by the key.
SESSION = "00000000-0000-4000-8000-000000000000"

ROWS = """
INSERT INTO app.group_record (group_id) SELECT CAST(g AS text) FROM generate_series(1, %(groups)s) g;
INSERT INTO app.health_check (group_id, task_id, session, liveness_ms, heartbeat_ms, host, pid)
    SELECT CAST(g AS text), CAST(n AS text), CAST(%(session)s AS uuid), 6000, 1000, 'host', 1
    FROM generate_series(1, %(groups)s) g, generate_series(1, %(nodes)s) n;
INSERT INTO app.token_holder (group_id, task_id, session, term, acquired_at)
    SELECT CAST(g AS text), '1', CAST(%(session)s AS uuid), 1, now()
    FROM generate_series(1, %(groups)s) g;
INSERT INTO app.group_role (role_name, group_id)
    SELECT 'bench_login', CAST(g AS text) FROM generate_series(1, %(groups)s) g;
"""

COLUMNS = """
    my_beat bigint, timeline int, started_at bigint, settled boolean, longest int, version bigint,
    term bigint, holder text, holder_session text, floor bigint, known text, seen text, beat bigint,
    liveness int, ended boolean, age double precision, heartbeat int, host text, pid int
"""

#: The alternative: no rights on tables, and one function for each thing that a node does.
DEFINER = """
CREATE FUNCTION app.bench_beat(p_group text, p_node text, p_mine uuid)
RETURNS TABLE ({columns})
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
    for name, default in (("rounds", 5), ("seconds", 5), ("clients", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    # Group commit, not the disk, is what a fast beat would be measured against.
    server = Server.create(autovacuum="off", synchronous_commit="off")
    home = scratch()
    try:
        _measure(server, home, arguments)
    finally:
        server.remove()
        shutil.rmtree(home)


def _measure(server: Server, home: Path, arguments: argparse.Namespace) -> None:
    owner = server.conninfo()
    migrate.upgrade(owner, SCHEMA)
    with psycopg.connect(owner, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("\n".join(roles_for(SCHEMA, "bench", "orders")))
        connection.execute("CREATE ROLE bench_login LOGIN IN ROLE bench_node")
        connection.execute(ROWS, {"groups": GROUPS, "nodes": NODES, "session": SESSION})
        connection.execute(DEFINER.format(columns=COLUMNS, beat=beat("p_group", "p_node", "p_mine")))
    statement = _script(home, "statement", beat(":g", ":n", ":mine"))
    function = _script(home, "function", "SELECT * FROM app.bench_beat(:g, :n, :mine)")
    login = make_conninfo(owner, user="bench_login")
    variants = {
        "owner": (owner, statement, "ENABLE"),
        "owner, row level security off": (owner, statement, "DISABLE"),
        "node role, row level security": (login, statement, "ENABLE"),
        "node role, plain grants": (login, statement, "DISABLE"),
        "node role, definer function": (login, function, "ENABLE"),
    }
    seen: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(arguments.rounds):
        for name, (conninfo, script, switch) in variants.items():
            for table in ("health_check", "token_holder", "group_record"):
                server.query(f"ALTER TABLE app.{table} {switch} ROW LEVEL SECURITY")
            server.query("VACUUM app.health_check")
            seen[name].append(_pgbench(conninfo, script, arguments))
    for name, rates in seen.items():
        ratios = [rate / base for rate, base in zip(rates, seen["owner"], strict=True)]
        print(f"{name:32} {statistics.median(rates):8.0f}/s {statistics.median(ratios):6.2f}")


def beat(group: str, node: str, mine: str) -> str:
    """Return the heartbeat with other words for its parameters."""
    statement = named(session.BEAT_SETTLED, SCHEMA).decode()
    for name, word in (("group", group), ("node", node), ("mine", mine)):
        statement = statement.replace(f"%({name})s", word)
    return statement.strip()


def _script(home: Path, name: str, statement: str) -> Path:
    """Write what pgbench runs: each client beats for a node of its own."""
    path = home / f"{name}.sql"
    chosen = f"\\set g 1 + :client_id % {GROUPS}\n\\set n 2 + :client_id / {GROUPS}\n"
    path.write_text(chosen + " ".join(statement.split()) + ";\n")
    return path


def _pgbench(conninfo: str, script: Path, arguments: argparse.Namespace) -> float:
    """Return the transactions per second of one run, with the settings of a node's session."""
    answer = subprocess.run(
        [
            *("pgbench", "-n", "-M", "prepared", "-j", "2", "-D", f"mine={SESSION}"),
            *("-c", str(arguments.clients), "-T", str(arguments.seconds), "-f", str(script)),
            make_conninfo(conninfo, options="-c enable_seqscan=off -c jit=off"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"tps = ([\d.]+)", answer.stdout)
    assert found is not None, answer.stdout
    return float(found[1])


if __name__ == "__main__":
    main()
