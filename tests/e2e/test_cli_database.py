"""`coord db`, `coord demo` and docker-compose.yml, as processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from coordinator.runtime.linux.processes import everyone
from tests.conftest import Database
from tests.support.servers.scratch import scratch

pytestmark = pytest.mark.real

REPOSITORY = Path(__file__).resolve().parents[2]
COORD = (sys.executable, "-m", "coordinator.cli")


def coord(
    *arguments: str, timeout_s: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command without any COORD_* or PG* of the tester."""
    return subprocess.run(
        [*COORD, *arguments],
        env=clean() | environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def clean() -> dict[str, str]:
    kept = ("COORD_PG_BINDIR",)
    return {
        key: value
        for key, value in os.environ.items()
        if key in kept or not key.startswith(("COORD_", "PG"))
    }


@pytest.fixture
def root() -> Iterator[Path]:
    """A home for an embedded server, which is stopped afterwards."""
    home = scratch()
    yield home / "pg"
    coord("db", "down", COORD_EMBEDDED_ROOT=str(home / "pg"))
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def guest(database: Database) -> Iterator[str]:
    """A role that may do nothing yet with the tables of the test."""
    role = f"guest_{os.getpid()}"
    with psycopg.connect(database.conninfo, autocommit=True) as sql:
        row = sql.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        if not row or not row[0]:
            pytest.skip("the test's role may not create roles")
        sql.execute(f"CREATE ROLE {role} LOGIN")
        yield role
        sql.execute(f"DROP OWNED BY {role}")
        sql.execute(f"DROP ROLE {role}")


def test_the_embedded_server_goes_up_and_down(root: Path) -> None:
    home = {"COORD_EMBEDDED_ROOT": str(root)}

    assert coord("db", "path", **home).stdout == f"{root}\n"
    assert "runs in" in coord("db", "up", **home).stdout
    assert "running with pid" in coord("db", "path", **home).stderr
    assert coord("db", "down", **home).stdout == "stopped\n"
    assert coord("db", "down", **home).stdout == "was not running\n"


def test_a_demonstration_takes_over_in_time_and_leaves_nothing_behind(
    root: Path, tmp_path: Path
) -> None:
    home = {"COORD_EMBEDDED_ROOT": str(root), "TMPDIR": str(tmp_path)}

    answer = coord("demo", "--once", timeout_s=150, **home)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "took over with term 2" in answer.stdout
    assert "the page: http://127.0.0.1:" in answer.stdout
    assert coord("db", "path", **home).stderr == "coord: not running\n"
    assert not [pid for pid in everyone() if _cwd(pid).startswith(str(tmp_path))]
    assert list(tmp_path.iterdir()) == []


def test_a_demonstration_leaves_the_users_server_as_it_was(root: Path) -> None:
    home = {"COORD_EMBEDDED_ROOT": str(root)}
    coord("db", "up", **home)

    answer = coord("demo", "--once", "--nodes", "2", timeout_s=150, **home)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "running with pid" in coord("db", "path", **home).stderr
    assert json.loads(coord("status", "-o", "json", **home).stdout)["groups"] == []


def test_a_demonstration_that_is_refused_stops_the_server_that_it_started(root: Path) -> None:
    home = {"COORD_EMBEDDED_ROOT": str(root)}
    coord("db", "up", **home)
    with psycopg.connect(coord("db", "url", **home).stdout.strip(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA coord")
        connection.execute("CREATE TABLE coord.coord_version (version_num text)")
        connection.execute("INSERT INTO coord.coord_version VALUES ('of tomorrow')")
    coord("db", "down", **home)

    answer = coord("demo", "--once", timeout_s=150, **home)

    assert answer.returncode == 78, answer.stdout + answer.stderr
    assert coord("db", "path", **home).stderr == "coord: not running\n"


def test_psql_gets_the_password_in_its_environment_alone(tmp_path: Path) -> None:
    script = tmp_path / "psql"
    script.write_text('#!/bin/sh\necho "$PGPASSWORD"\nprintf "%s\\n" "$@"\n')
    script.chmod(0o755)

    answer = coord(
        *("db", "psql", "--", "-c", "table coord_status"),
        PATH=f"{tmp_path}:{os.environ['PATH']}",
        COORD_DATABASE_URL="postgresql://ana:s3cret@db/app",
        COORD_DATABASE_SCHEMA="mine",
    )

    password, *arguments = answer.stdout.splitlines()
    assert password == "s3cret"
    assert "s3cret" not in " ".join(arguments)
    assert "search_path=mine,public" in arguments[0]
    assert arguments[1:] == ["-c", "table coord_status"]


def test_a_role_without_rights_is_exit_code_77(database: Database, guest: str) -> None:
    answer = coord("status", **_as(guest, database))

    assert answer.returncode == 77
    assert "GRANT" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_the_read_only_grants_suffice_to_look(database: Database, guest: str) -> None:
    database.query(coord("db", "grants", guest, "--read-only", **_as(guest, database)).stdout)

    assert coord("status", **_as(guest, database)).returncode == 0
    assert coord("history", **_as(guest, database)).returncode == 0
    assert coord("db", "check", **_as(guest, database)).returncode == 0


def test_the_grants_suffice_to_run_a_node(database: Database, guest: str) -> None:
    database.query(coord("db", "grants", guest, **_as(guest, database)).stdout)

    with subprocess.Popen(
        [*COORD, "run", "-g", "orders", "--task-id", "n1", "--", "/bin/sh", "-c", "echo; sleep 99"],
        env=clean() | _as(guest, database),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as node:
        assert node.stdout is not None
        first = node.stdout.readline()
        leader = coord("leader", "orders", **_as(guest, database)).stdout
        node.terminate()
        _, said = node.communicate(timeout=30)

    assert (first, leader, node.returncode) == ("\n", "n1\n", 0), said


def test_compose_files_are_accepted(tmp_path: Path) -> None:
    """W9."""
    docker = shutil.which("docker")
    plugin = [docker or "false", "compose", "version"]
    if subprocess.run(plugin, capture_output=True).returncode != 0:
        pytest.skip("docker compose is not installed")
    coord("init", str(tmp_path))

    for home in (REPOSITORY, tmp_path):
        answer = subprocess.run(
            ["docker", "compose", "config", "--quiet"], cwd=home, capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stderr


def test_the_walkthrough_logs_in_to_the_database_of_compose() -> None:
    """W9: step 3 of README with what step 1 has started, from another machine too."""
    readme = (REPOSITORY / "README.md").read_text()
    written = readme.partition("```toml")[2].partition("```")[0]
    table = tomllib.loads(textwrap.dedent(written))["databaseConfig"]
    compose = (REPOSITORY / "docker-compose.yml").read_text()

    assert f"POSTGRES_USER: {table['user']}\n" in compose
    assert f"POSTGRES_PASSWORD: ${{COORD_DATABASE_PASSWORD:-{table['password']}}}\n" in compose
    assert f"POSTGRES_DB: {table['database']}\n" in compose
    ports = "${COORD_DATABASE_LISTEN:-0.0.0.0}:${COORD_DATABASE_PORT:-5432}:5432"
    assert f'- "{ports}"' in compose
    assert table["port"] == 5432


def test_make_says_in_one_line_that_venv_is_missing(tmp_path: Path) -> None:
    """Debian's python3 without python3-venv: ensurepip is not there."""
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)

    answer = subprocess.run(
        ["make", "run", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True
    )

    assert answer.returncode == 2
    assert answer.stderr.splitlines()[0].endswith(
        "cannot make a virtual environment: apt install python3-venv"
    )
    assert not (tmp_path / ".venv").exists()


def _as(role: str, database: Database) -> dict[str, str]:
    return {
        "COORD_DATABASE_URL": make_conninfo(database.conninfo, user=role),
        "COORD_DATABASE_SCHEMA": database.schema,
    }


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
