"""Each wrong start gives one line, the documented code, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.nodes.processes import descendants
from tests.support.servers.postgres import Server, free_port

CANARY = "canary-4711-secret"


@pytest.fixture
def coord(tmp_path, database):
    """Run `coord run` until it ends, and check what every failure must have in common."""

    def run(*arguments: str, env: dict[str, str] | None = None, config: str | None = None):
        environ = {
            key: value for key, value in os.environ.items() if not key.startswith(("COORD_", "PG"))
        }
        environ |= {
            "COORD_DATABASE_URL": database.conninfo,
            "COORD_DATABASE_SCHEMA": database.schema,
            "COORD_TASK_ID": "node-1",
            "COORD_GROUP_ID": "orders",
            "COORD_LOG_FORMAT": "text",
            **(env or {}),
        }
        environ = {key: value for key, value in environ.items() if value != ""}
        if config is not None:
            (tmp_path / "Config.toml").write_text(config)
        process = subprocess.Popen(
            [sys.executable, "-m", "coordinator.cli", "run", *arguments],
            env=environ,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=30)
        finally:
            family = descendants(process.pid)
            if process.poll() is None:
                process.kill()
        assert family == []
        assert "Traceback" not in out + err
        assert CANARY not in out + err
        return process.returncode, err

    return run


def assert_no_token_kept(database) -> None:
    rows = database.query("SELECT count(*) FROM token_holder WHERE session IS NOT NULL")
    assert rows == [(0,)]


def test_a_command_that_does_not_exist(coord, database):
    code, err = coord("--", "no-such-program-anywhere")

    assert (code, err) == (127, "coord: no-such-program-anywhere: command not found in PATH\n")
    assert_no_token_kept(database)


def test_a_command_that_is_not_executable(coord, tmp_path, database):
    (tmp_path / "plain.txt").write_text("no program")

    code, err = coord("--", "./plain.txt")

    assert code == 126
    assert err == "coord: ./plain.txt: not executable; try `chmod +x ./plain.txt`\n"
    assert_no_token_kept(database)


def test_a_callable_that_cannot_be_imported(coord, database):
    config = '[program]\ncallable = "no_such_module:work"\n'

    code, err = coord(config=config)

    assert code == 78
    assert err.count("\n") == 1
    assert "no_such_module" in err
    assert_no_token_kept(database)


def test_no_program_at_all(coord, database):
    code, err = coord()

    assert code == 2
    assert "no program to run" in err
    assert_no_token_kept(database)


def test_a_wrong_setting_names_file_and_line(coord):
    code, err = coord("--", "true", config="livenessCheckIntervall = 6\n")

    assert code == 78
    assert err == (
        "coord: Config.toml:1: livenessCheckIntervall: unknown key;"
        " did you mean 'livenessCheckInterval'?\n"
    )


def test_impossible_intervals(coord):
    code, err = coord("--", "true", config="heartbeatFrequency = 2\nlivenessCheckInterval = 5\n")

    assert code == 78
    assert "livenessCheckInterval" in err
    assert "3 x heartbeatFrequency" in err


def test_a_database_that_does_not_answer(coord):
    url = f"postgresql://ana:{CANARY}@127.0.0.1:{free_port()}/prod"

    code, err = coord("--", "true", env={"COORD_DATABASE_URL": url})

    assert code == 69
    assert "Connection refused" in err
    assert err.count("\n") == 1


def test_a_wrong_password(coord):
    """The server wants scram; the role and the place are named, the password is not."""
    server = Server.create(tcp=True)
    try:
        server.query(f"CREATE ROLE ana LOGIN PASSWORD 'another-{CANARY}'")
        hba = server.data / "pg_hba.conf"
        hba.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.query("SELECT pg_reload_conf()")
        url = f"postgresql://ana:{CANARY}@127.0.0.1:{server.tcp_port}/coord"

        code, err = coord("--", "true", env={"COORD_DATABASE_URL": url})
    finally:
        server.remove()

    assert code == 77
    assert "password authentication failed" in err
    assert err.count("\n") == 1


def test_a_standby_server(coord):
    primary = Server.create()
    try:
        standby = primary.clone_standby()
        try:
            env = {"COORD_DATABASE_URL": standby.conninfo(), "COORD_DATABASE_SCHEMA": "public"}
            code, err = coord("--", "true", env=env)
        finally:
            standby.remove()
    finally:
        primary.remove()

    assert code == 69
    assert "standby" in err
    assert err.count("\n") == 1


def test_missing_rights(coord, database):
    database.query("CREATE ROLE guest LOGIN")
    try:
        info = psycopg.conninfo.make_conninfo(database.conninfo, user="guest")
        code, err = coord("--", "true", env={"COORD_DATABASE_URL": info})
    finally:
        database.query("DROP OWNED BY guest")
        database.query("DROP ROLE guest")

    assert code == 77
    assert "GRANT" in err
    assert err.count("\n") == 1
    assert_no_token_kept(database)


def test_a_schema_that_is_newer(coord, database):
    database.query("UPDATE coord_version SET version_num = '9999'")

    code, err = coord("--", "true")

    assert code == 78
    assert "newer than this version" in err
    assert err.count("\n") == 1


def test_a_schema_that_is_missing_and_may_not_be_made(coord, unmigrated):
    env = {
        "COORD_DATABASE_URL": unmigrated.conninfo,
        "COORD_DATABASE_SCHEMA": unmigrated.schema,
        "COORD_AUTO_MIGRATE": "false",
    }

    code, err = coord("--", "true", env=env)

    assert code == 78
    assert "coord db upgrade" in err


def test_a_forbidden_embedded_database(coord):
    env = {"COORD_DATABASE_URL": "", "COORD_DATABASE_SCHEMA": "", "COORD_REQUIRE_DATABASE": "1"}

    code, err = coord("--", "true", env=env)

    assert code == 78
    assert "COORD_DATABASE_URL" in err


def test_the_program_s_own_exit_code_comes_back(coord, database):
    """The command ends by itself: its code, and the token is given back."""
    code, _ = coord("--", "sh", "-c", "exit 17")

    assert code == 17
    assert_no_token_kept(database)


def test_the_program_s_death_by_a_signal_comes_back(coord):
    code, _ = coord("--", "sh", "-c", "kill -9 $$")

    assert code == 128 + 9


def test_the_program_does_not_inherit_the_database(coord, database, tmp_path):
    """Secrets in no environment but where they were asked for; names and term are there."""
    out = tmp_path / "env"

    coord("--", "sh", "-c", f"env > {out}")

    lines = dict(line.split("=", 1) for line in out.read_text().splitlines() if "=" in line)
    assert lines["COORD_GROUP"] == "orders"
    assert lines["COORD_NODE"] == "node-1"
    assert lines["COORD_TERM"] == "1"
    assert "COORD_DATABASE_URL" not in lines
    assert database.conninfo not in out.read_text()


def test_the_token_is_held_by_another(coord, nodes_here):
    """-n as in flock: 75, or the code that was asked for."""
    assert coord("-n", "--", "true")[0] == 75
    assert coord("-n", "-E", "99", "--", "true")[0] == 99
    assert coord("-w", "0.5", "--", "true")[0] == 75


@pytest.fixture
def nodes_here(tmp_path, database):
    from tests.support.nodes.processes import bed

    Path(tmp_path / "bed").mkdir()
    with bed(tmp_path / "bed", database.conninfo, database.schema) as made:
        made.start("other")
        made.wait_for_run()
        yield made
