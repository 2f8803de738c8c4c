"""`coord status`, `leader` and `history` on rows that SQL put there: text, codes, equality.

What each form prints is in the transcripts of tests/e2e/commands.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from coordinator.store.schema.migrate import SCHEMA_HEAD
from tests.conftest import Database
from tests.e2e import rows
from tests.e2e.rows import fill_orders
from tests.support.servers.postgres import Server

pytestmark = pytest.mark.real


@pytest.fixture
def filled(database: Database) -> Database:
    """Two groups: orders has a holder, two standbys and one that left; reports has nobody."""
    fill_orders(database)
    return database


def coord(database: Database, *arguments: str, timeout_s: float = 60) -> tuple[int, str, str]:
    """Run a command on the test's schema."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("COORD_", "PG"))
    }
    answer = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *arguments],
        env=clean
        | {"COORD_DATABASE_URL": database.conninfo, "COORD_DATABASE_SCHEMA": database.schema},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    return answer.returncode, answer.stdout, answer.stderr


@pytest.fixture
def beside(filled: Database) -> Iterator[Server]:
    """Another server that takes writes, with a database of the same name."""
    made = Server.create()
    try:
        made.query(f"CREATE DATABASE {conninfo_to_dict(filled.conninfo)['dbname']}")
        yield made
    finally:
        made.remove()


def test_two_primaries_among_the_hosts_are_shown_and_change_no_exit_code(
    filled: Database, server: Server, beside: Server
) -> None:
    """E4: what is written on one of them will be lost."""
    both = hosts(filled, server, beside)

    code, shown, _ = coord(both, "status", "orders", "--check")
    document = json.loads(coord(both, "status", "-o", "json")[1])
    line = json.loads(coord(both, "status", "-o", "jsonl")[1].splitlines()[0])
    row = coord(both, "status", "-o", "tsv")[1].splitlines()[1]

    addresses = [f"{each.sockets}:{each.port}" for each in (server, beside)]
    told = ", ".join(f"{address} (timeline 1)" for address in addresses)
    assert code == 0
    assert f"2 primaries take writes at once: {told}; stop all but one" in shown
    assert document["server"]["primaries"] == [
        {"address": address, "timeline": 1} for address in addresses
    ]
    assert line["primaries"] == document["server"]["primaries"]
    assert row.split("\t")[-1] == ",".join(addresses)


def test_one_primary_among_the_hosts_is_no_news(filled: Database, server: Server) -> None:
    """A host that is down, and a server that has two names, are no second primary."""
    code, shown, _ = coord(hosts(filled, server, server, port="1"), "status", "orders")
    document = json.loads(coord(hosts(filled, server, server), "status", "-o", "json")[1])

    assert (code, "primaries" in shown) == (0, False)
    (primary,) = document["server"]["primaries"]
    assert primary == {"address": f"{server.sockets}:{server.port}", "timeline": 1}


def hosts(database: Database, first: Server, second: Server, port: str = "") -> Database:
    """Name two servers, as a configuration for a cluster does."""
    named = make_conninfo(
        database.conninfo,
        host=f"{first.sockets},{second.sockets}",
        port=f"{first.port},{port or second.port}",
    )
    return replace(database, conninfo=named)


def test_a_plot_has_a_bar_for_each_gap(filled: Database) -> None:
    code, said, _ = coord(filled, "history", "orders", "--plot")

    assert code == 0
    bars = {line.split()[0]: line.count("█") for line in said.splitlines()[1:3]}
    assert bars == {"7": 0, "8": 40}
    assert "p50 6.41 s  longest 6.41 s" in said


@pytest.mark.parametrize(
    ("arguments", "code", "said", "trouble"),
    [
        (("status",), 0, "orders", ""),
        (("status", "orders", "--check"), 0, "node-2", ""),
        (("status", "reports", "--check"), 3, "nobody has been active", "coord: nobody is active"),
        (("status", "--check"), 3, "reports", "coord: nobody is active in reports"),
        (("status", "nope"), 4, "", "coord: there is no group 'nope'"),
        (("status", "nope", "--check"), 4, "", "coord: there is no group 'nope'"),
        (("leader", "orders"), 0, "node-2\n", ""),
        (("leader", "-g", "orders", "-q"), 0, "node-2\n", ""),
        (("leader", "orders", "--address"), 0, "10.0.0.7\n", ""),
        (("leader", "reports", "--address"), 3, "", "coord: reports: nobody is active (term 3)"),
        (("leader", "nope", "--address"), 4, "", "coord: there is no group 'nope'"),
        (("leader", "reports"), 3, "", "coord: reports: nobody is active (term 3)"),
        (("leader", "nope"), 4, "", "coord: there is no group 'nope'"),
        (("history", "nope"), 4, "", "coord: there is no group 'nope'"),
        (("history", "reports"), 0, "no takeovers in this time", ""),
        (("history", "orders", "--since", "1ms"), 0, "no takeovers in this time", ""),
        (("db", "current"), 0, f"{SCHEMA_HEAD}\n", ""),
        (("db", "check"), 0, "ok\n", ""),
        (("db", "upgrade"), 0, f"is at {SCHEMA_HEAD}\n", ""),
    ],
)
def test_the_exit_code_is_the_answer(
    arguments: tuple[str, ...], code: int, said: str, trouble: str, filled: Database
) -> None:
    answer = coord(filled, *arguments)

    assert answer[0] == code
    assert said in answer[1]
    assert answer[2].startswith(trouble)
    assert len(answer[2].splitlines()) <= 1


def test_a_holder_without_an_address_is_no_answer_to_a_script(filled: Database) -> None:
    with filled.connect() as sql:
        sql.execute("UPDATE health_check SET address = NULL")

    code, said, trouble = coord(filled, "leader", "orders", "--address")

    assert (code, said) == (3, "")
    assert "orders: node-2 is known by no address: set [node] address" in trouble


def test_a_schema_without_tables_is_exit_code_78_and_says_what_to_do(unmigrated: Database) -> None:
    for arguments in (("status",), ("history",), ("leader",), ("explain",), ("db", "check")):
        code, said, trouble = coord(unmigrated, *arguments)

        assert (code, said) == (78, "")
        assert "coord db upgrade" in trouble

    code, said, trouble = coord(unmigrated, "db", "current")
    assert (code, said) == (3, "")


def test_db_upgrade_makes_the_schema_that_status_reads(unmigrated: Database) -> None:
    code, said, _ = coord(unmigrated, "db", "upgrade")

    assert (code, said.split()[-3:]) == (0, ["upgraded", "to", SCHEMA_HEAD])
    assert coord(unmigrated, "status")[0] == 0


def test_a_database_that_does_not_answer_is_exit_code_69(tmp_path: Path) -> None:
    nowhere = Database(f"host={tmp_path} user=u dbname=d password=s3cret", "app")

    code, said, trouble = coord(nowhere, "status")

    assert (code, said) == (69, "")
    assert len(trouble.splitlines()) == 1
    assert "s3cret" not in trouble


def test_a_server_that_is_locked_up_is_given_up_in_the_time_asked_for(filled: Database) -> None:
    with filled.connect() as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE health_check IN ACCESS EXCLUSIVE MODE")

        code, said, trouble = coord(filled, "status", "--timeout", "0.5")

    assert (code, said) == (69, "")
    assert len(trouble.splitlines()) == 1


def test_a_question_to_the_views_equals_the_command(filled: Database) -> None:
    """The views are an interface too: `psql -c 'table coord_status'` shows the same rows."""
    _, said, _ = coord(filled, "status", "-o", "json")
    groups = json.loads(said)["groups"]

    rows = filled.query("SELECT group_id, state, task_id, term, standby_count FROM coord_status")
    assert sorted(rows) == [
        tuple(group[key] for key in ("groupId", "state", "holder", "term", "standbys"))
        for group in groups
    ]
    rows = filled.query("SELECT group_id, task_id, role, state, pid FROM coord_nodes")
    assert sorted(rows) == sorted(
        (group["groupId"], *(node[key] for key in ("taskId", "role", "state", "pid")))
        for group in groups
        for node in group["nodes"]
    )
    _, said, _ = coord(filled, "history", "-o", "json")
    rows = filled.query("SELECT term, from_task, task_id, gap_s FROM coord_history ORDER BY 1 DESC")
    assert rows == [
        tuple(each[key] for key in ("term", "from", "to", "gapSeconds"))
        for each in json.loads(said)["takeovers"]
    ]


def test_what_others_wrote_cannot_command_the_terminal(filled: Database) -> None:
    filled.query("UPDATE health_check SET host = E'\\x1b[31mred', version = E'a\\tb'")

    _, said, _ = coord(filled, "status", "orders", "--color", "always")

    assert "\x1b[31mred" not in said
    assert "?[31mred" in said


TERMINALS = [
    {},
    {"TERM": "dumb", "NO_COLOR": "1"},
    {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "20", "LINES": "2"},
]


@pytest.mark.parametrize("terminal", TERMINALS, ids=str)
@pytest.mark.parametrize(("word", "coloured"), [(None, False), ("always", True), ("never", False)])
def test_a_pipe_gets_no_colours_unless_asked(
    word: str | None,
    coloured: bool,
    terminal: dict[str, str],
    filled: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request goes before what is known of a terminal."""
    monkeypatch.delenv("TERM", raising=False)
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)

    said = coord(filled, "status", *(() if word is None else ("--color", word)))[1]

    assert ("\x1b[" in said) is coloured


def test_never_goes_before_a_forced_colour(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    assert "\x1b[" in coord(filled, "status")[1]
    assert "\x1b[" not in coord(filled, "status", "--color", "never")[1]


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": ""}, {"NO_COLOR": "1"}])
def test_a_flag_stands_above_what_the_environment_says_about_colours(
    environment: dict[str, str], filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert "\x1b[" in coord(filled, "status", "--color", "always")[1]


@pytest.fixture
def watching(filled: Database) -> Callable[..., subprocess.Popen[str]]:
    """Start `coord status -w` on the rows."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "COORD_DATABASE_URL": filled.conninfo,
            "COORD_DATABASE_SCHEMA": filled.schema,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "coordinator.cli", "status", "-w", "0.1", *arguments],
            env=environment,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A test runner in the background may ignore SIGINT, and its children would too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


def test_watching_streams_one_line_for_each_group_until_it_is_interrupted(
    watching: Callable[..., subprocess.Popen[str]],
) -> None:
    with watching("-o", "jsonl") as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(4)]
        process.send_signal(2)
        _, trouble = process.communicate(timeout=30)

    assert [line["groupId"] for line in lines] == ["orders", "reports"] * 2
    assert lines[2]["asOf"] > lines[0]["asOf"]
    assert (process.returncode, trouble) == (130, "")


def test_watching_goes_on_through_an_outage(
    filled: Database, watching: Callable[..., subprocess.Popen[str]]
) -> None:
    with watching("-o", "jsonl") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        filled.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert process.stderr.readline().startswith("coord: ")
        again = [json.loads(process.stdout.readline()) for _ in range(40)]
        process.send_signal(2)
        process.communicate(timeout=30)

    assert again[-1]["groupId"] in ("orders", "reports")
    assert process.returncode == 130


def completed(filled: Database, line: str, **environment: str) -> tuple[list[str], str]:
    """Return what bash is offered at the end of a line, and what is said beside it."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli"],
        env=os.environ
        | {"COORD_DATABASE_URL": filled.conninfo, "COORD_DATABASE_SCHEMA": filled.schema}
        | {"_COORD_COMPLETE": "complete_bash", "COMP_WORDS": line}
        | {"COMP_CWORD": str(len(words) - 1)}
        | environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("coord status ", ["orders", "reports"]),
        ("coord history r", ["reports"]),
        ("coord leader -g or", ["orders"]),
        ("coord evict -g orders node-", ["node-1", "node-2", "node-3", "node-4"]),
    ],
)
def test_a_shell_completes_names_of_groups_and_nodes(
    line: str, offered: list[str], filled: Database
) -> None:
    found, said = completed(filled, line)

    assert said == ""
    assert [name for name in found if not name.startswith("-")] == offered


def test_a_completion_that_cannot_ask_says_nothing(filled: Database) -> None:
    nowhere = {"COORD_DATABASE_URL": "host=/nowhere", "COORD_GROPU_ID": "x"}

    assert completed(filled, "coord status ", **nowhere) == ([], "")


def test_watching_waits_for_a_group_that_is_not_there_yet(
    watching: Callable[..., subprocess.Popen[str]], filled: Database
) -> None:
    process = watching("new", "-o", "jsonl")
    try:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "there is no group 'new'" in process.stderr.readline()
        filled.query(rows.GROUP, "new")
        filled.query("INSERT INTO token_holder (group_id) VALUES ('new')")

        assert json.loads(process.stdout.readline())["groupId"] == "new"
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
