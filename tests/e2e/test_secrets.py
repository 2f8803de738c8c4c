"""A password is used from each of its sources, and is found in no place where others look.

The canary is searched for in everything that the nodes and the commands write, in the command
lines of all processes of the machine, in the programs' environments, and in core files.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from coordinator.store.schema import migrate
from tests.support import leaks
from tests.support.nodes.processes import Bed, bed, eventually
from tests.support.servers.postgres import Server

pytestmark = pytest.mark.real

CANARY = "canary-0815-secret"
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that wants a password, and knows one role."""
    server = Server.create(tcp=True)
    try:
        server.query(f"CREATE ROLE ana LOGIN SUPERUSER PASSWORD '{CANARY}'")
        migrate.upgrade(server.conninfo(), "app")
        hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (server.data / "pg_hba.conf").write_text(hba)
        server.query("SELECT pg_reload_conf()")
        yield server
    finally:
        server.remove()


@dataclass(frozen=True)
class Source:
    """One way to hand over a password; files lie in the directory `home`."""

    name: str

    def environ(self, home: Path, server: Server, password: str) -> dict[str, str]:
        """Write the files that it needs, and return the environment."""
        place = f"127.0.0.1:{server.tcp_port}"
        told = {
            "COORD_DATABASE_URL": f"postgresql://ana@{place}/coord",
            "COORD_DATABASE_SCHEMA": "app",
            "PGPASSFILE": "/nowhere",
        }
        match self.name:
            case "PGPASSFILE":
                told["PGPASSFILE"] = written(home / "pgpass", f"{place}:coord:ana:{password}\n")
            case "~/.pgpass":
                written(home / ".pgpass", f"{place}:*:ana:{password}\n")
                del told["PGPASSFILE"]
                told["HOME"] = str(home)
            case "COORD_DATABASE_PASSWORD" | "PGPASSWORD":
                told[self.name] = password
            case "COORD_DATABASE_PASSWORD_FILE":
                told[self.name] = written(home / "password", f"{password}\n")
            case "COORD_DATABASE_URL":
                told[self.name] = f"postgresql://ana:{password}@{place}/coord"
            case "Config.toml":
                text = f'[databaseConfig]\nhost = "127.0.0.1"\nport = {server.tcp_port}\n'
                text += f'user = "ana"\npassword = "{password}"\ndatabase = "coord"\n'
                told["COORD_CONFIG"] = written(home / "secret.toml", text)
                del told["COORD_DATABASE_URL"]
            case "service file":
                text = f"[prod]\nhost=127.0.0.1\nport={server.tcp_port}\nuser=ana\n"
                text += f"password={password}\ndbname=coord\n"
                told["PGSERVICEFILE"] = written(home / "service", text)
                told["COORD_DATABASE_SERVICE"] = "prod"
                del told["COORD_DATABASE_URL"]
        return told


SOURCES = [
    Source(name)
    for name in (
        *("PGPASSFILE", "~/.pgpass", "PGPASSWORD", "service file", "Config.toml"),
        *("COORD_DATABASE_PASSWORD", "COORD_DATABASE_PASSWORD_FILE", "COORD_DATABASE_URL"),
    )
]


def written(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def coord(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {key: it for key, it in os.environ.items() if not key.startswith(("COORD_", "PG"))}
    return subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *arguments],
        env=kept | environ,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_password_is_used_from_each_source(source: Source, guarded: Server, tmp_path: Path):
    right = coord("status", **source.environ(tmp_path, guarded, CANARY))
    wrong = coord("status", "-v", **source.environ(tmp_path, guarded, f"not-{CANARY}"))

    assert (right.returncode, right.stderr) == (0, "")
    assert wrong.returncode == 77
    assert "password authentication failed" in wrong.stderr
    assert CANARY not in right.stdout + wrong.stdout + wrong.stderr


@pytest.mark.parametrize(
    "source",
    [
        *("PGPASSFILE", "PGPASSWORD", "COORD_DATABASE_PASSWORD", "Config.toml"),
    ],
)
def test_the_canary_is_found_nowhere(
    source: str, guarded: Server, tmp_path: Path, request: pytest.FixtureRequest
):
    """Two nodes, a takeover, a database that fails and comes back, every command that looks."""
    environ = Source(source).environ(tmp_path, guarded, CANARY)
    work = tmp_path / "work"
    work.mkdir()
    group = source.replace("/", "")
    with bed(work, "", "app", group) as nodes:
        first = start(nodes, "a", environ)
        held = nodes.wait_for_run()
        second = start(nodes, "b", environ)
        eventually(
            lambda: "standby (a active" in second.said(), 15, lambda: f"a standby{nodes.story()}"
        )
        seen = outside(nodes)

        # State, settings and stacks, where no program would get the signals too.
        second.send(signal.SIGUSR2, "guardian")
        second.send(signal.SIGHUP, "guardian")
        second.send(signal.SIGQUIT, "agent")
        eventually(lambda: "reload: " in second.said(), 10, lambda: f"a reload{nodes.story()}")
        first.send(signal.SIGKILL, "all")
        held = nodes.wait_for_run(after=held.term)
        seen += outside(nodes)
        guarded.stop("immediate")
        stopped = "b", f"the program of term {held.term}"
        eventually(lambda: told(nodes, *stopped), 20, lambda: f"b stopped{nodes.story()}")
        seen += outside(nodes)
        with leaks.for_later_tests(request.node.nodeid):
            guarded.start()
        nodes.wait_for_run(after=held.term, within_s=30)
        seen += [said(*words, environ=environ) for words in LOOKS]
        with psycopg.connect(guarded.conninfo()) as connection:
            rows = "SELECT row_to_json(h) FROM app.health_check h UNION ALL"
            rows += " SELECT row_to_json(e) FROM app.event e"
            seen += [str(row) for row in connection.execute(rows)]
    seen += [path.read_text(errors="replace") for path in work.rglob("*") if path.is_file()]

    assert any("--settings-fd" in text for text in seen), "the processes were looked at"
    assert any(f"COORD_GROUP={group}" in text for text in seen), "so was a program's environment"
    assert [text for text in seen if CANARY in text] == []


LOOKS = (
    *(("status",), ("status", "-o", "json"), ("history",), ("db", "url"), ("db", "current")),
    *(("config", "show"), ("config", "check"), ("db", "roles"), ("db", "grants")),
)


def start(nodes: Bed, name: str, environ: dict[str, str]):
    """Start a node that talks as much as it can, and knows its database from the source alone."""
    unsaid = {"COORD_DATABASE_URL": ""} if "COORD_DATABASE_URL" not in environ else {}
    return nodes.start(name, "-v", env={**unsaid, **environ})


def told(nodes: Bed, name: str, words: str) -> bool:
    return words in nodes.nodes[name].said()


def said(*arguments: str, environ: dict[str, str]) -> str:
    answer = coord(*arguments, **environ)
    assert answer.returncode == 0, (arguments, answer.stderr)
    return answer.stdout + answer.stderr


def outside(nodes: Bed) -> list[str]:
    """Return every command line of the machine, and the environments of the running programs."""
    looked = [f"/proc/{pid}/cmdline" for pid in os.listdir("/proc") if pid.isdigit()]
    for node in nodes.nodes.values():
        if (program := node.family().get("program")) is not None:
            looked.append(f"/proc/{program}/environ")
    found = []
    for path in looked:
        try:
            found.append(Path(path).read_text(errors="replace"))
        except OSError:
            continue  # it has ended
    return found


@pytest.mark.skipif(
    CORE_PATTERN.read_text().startswith("|"), reason="cores go to a program of this machine's"
)
def test_an_agent_leaves_no_core(guarded: Server, tmp_path: Path):
    source = Source("COORD_DATABASE_PASSWORD_FILE")
    environ = source.environ(tmp_path, guarded, CANARY)
    work = tmp_path / "work"
    work.mkdir()
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        with bed(work, "", "app", "cores") as nodes:
            node = start(nodes, "a", environ)
            held = nodes.wait_for_run()

            for _ in range(2):  # the second one began as the spare
                node.send(signal.SIGSEGV, "agent")
                held = nodes.wait_for_run(after=held.term)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)

    cores = [path for path in work.rglob("core*") if path.is_file()]
    assert [path for path in cores if CANARY.encode() in path.read_bytes()] == []


DYING = """
import os, signal, sys
from coordinator.app.node.no_core_dump import leave_no_core
if sys.argv[1] == "secret":
    leave_no_core()
os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_process_that_asked_for_it_dumps_no_core(tmp_path: Path):
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("this machine allows no core at all")
    dumped = {}
    for kind in ("plain", "secret"):
        child = os.fork()
        if child == 0:
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
            os.chdir(tmp_path)
            os.execv(sys.executable, [sys.executable, "-c", DYING, kind])
        dumped[kind] = os.WCOREDUMP(os.waitpid(child, 0)[1])
    shutil.rmtree(tmp_path)

    if not dumped["plain"]:
        pytest.skip("this machine writes no core")
    assert dumped == {"plain": True, "secret": False}
