"""Processes start clean, whatever is closed, in whatever directory; nobody reads the secrets."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import Database
from tests.support.nodes.guarded_node import GuardedNode, await_fact

pytestmark = pytest.mark.real

SECRET = "a-secret-that-nobody-is-told"
COORD = [sys.executable, "-P", "-m", "coordinator.cli"]
FEW = ["--liveness-check-interval", "6", "--heartbeat-frequency", "1"]
#: A migration on a machine that is busy with others' tests; nothing is expected to take so long.
LONG_S = 120.0
#: Writes what its first descriptors are, and whether any of all holds the secret.
PROGRAM = """
import json, os, sys
def seen(fd):
    try:
        name = os.readlink(f"/proc/self/fd/{fd}")
        kept = os.pread(fd, 9999, 0) if name.startswith("/memfd") else b""
        return [fd, name, sys.argv[2].encode() in kept]
    except OSError:
        return [fd, "", False]
with open(sys.argv[1], "w") as file:
    json.dump([seen(fd) for fd in range(64)], file)
print("the program is done", flush=True)
"""
SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations((0, 1, 2), n)]


@pytest.fixture
def conninfo(database: Database) -> str:
    return make_conninfo(database.conninfo, password=SECRET)


def started_without(closed: tuple[int, ...], group: str, folder: Path, conninfo: str) -> int:
    """Run a node without some of 0 to 2; return its exit code."""
    found = folder / group
    env = os.environ | {"COORD_DATABASE_URL": conninfo, "COORD_DATABASE_SCHEMA": "app"}
    program = [sys.executable, "-S", "-E", "-c", PROGRAM, str(found), SECRET]
    node = subprocess.Popen(
        [*COORD, "run", "-g", group, "--task-id", "n", *FEW, "--", *program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=env,
        preexec_fn=lambda: [os.close(fd) for fd in closed],
    )
    node.communicate(timeout=LONG_S)
    return int(node.returncode)


def test_a_node_that_lacks_standard_descriptors_works_and_tells_no_secret(
    conninfo: str, tmp_path: Path
):
    groups = {"without" + "".join(map(str, closed)): closed for closed in SUBSETS}
    with ThreadPoolExecutor(len(SUBSETS)) as pool:
        codes = pool.map(lambda g: started_without(g[1], g[0], tmp_path, conninfo), groups.items())

    assert dict(zip(groups, codes, strict=True)) == dict.fromkeys(groups, 0)
    for group, closed in groups.items():
        seen = json.loads((tmp_path / group).read_text())
        assert not any(secret for _, _, secret in seen), group
        for fd, name, _ in seen[:3]:
            assert name, f"{group}: {fd} is closed"
            assert fd not in closed or name == "/dev/null", f"{group}: {fd} is {name}"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_of_the_line_says_no_traceback_without_descriptors(closed: str, tmp_path: Path):
    line = f"exec {' '.join(COORD)} version {closed}"
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A project whose modules have the names of others, and what they do when they are loaded."""
    sprung = tmp_path / "sprung"
    project = tmp_path / "project"
    (project / "coordinator").mkdir(parents=True)
    text = f"open({str(sprung)!r}, 'a').write(__name__ + '\\n')\nraise ImportError('not ours')\n"
    (project / "coordinator" / "__init__.py").write_text(text)
    for name in ("types", "json", "typing", "alembic", "psycopg"):
        (project / f"{name}.py").write_text(text)
    return project, sprung


def test_modules_in_the_working_directory_are_never_loaded(
    unmigrated: Database, trap: tuple[Path, Path]
):
    """At the first start on a fresh database, which migrates it, and at a reload."""
    project, sprung = trap
    config = 'taskId = "n"\ngroupId = "g"\nlivenessCheckInterval = 6\n'
    config += '[program]\ncommand = ["sleep", "600"]\n'
    (project / "Config.toml").write_text(config)
    env = os.environ | {
        "COORD_DATABASE_URL": unmigrated.conninfo,
        "COORD_DATABASE_SCHEMA": "app",
        "COORD_LOG_FORMAT": "text",
    }
    with (project / "log").open("wb") as log:
        node = subprocess.Popen([*COORD, "run"], cwd=project, env=env, stdout=log, stderr=log)
    try:
        await_fact(lambda: "ACTIVE term 1" in said(project), "the node is active", LONG_S)
        node.send_signal(signal.SIGHUP)
        await_fact(lambda: "reload: nothing has" in said(project), "it has reloaded", LONG_S)
    finally:
        node.terminate()
        node.wait(30)

    assert not sprung.exists(), sprung.read_text()


def said(project: Path) -> str:
    return (project / "log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may drop the rights of root")
def test_nobody_reads_the_settings_in_the_guardian(tmp_path: Path):
    """The reader is the same user, without the right to look into every process."""
    ordinary = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
    node = GuardedNode(tmp_path, "plain", through=ordinary)
    try:
        agent = node.meet_agent()
        option = Path(f"/proc/{node.guardian.pid}/cmdline").read_bytes().split(b"\0")
        fd = option[option.index(b"--settings-fd") + 1].decode()
        look = [*ordinary, "cat", f"/proc/{node.guardian.pid}/fd/{fd}"]

        seen = subprocess.run(look, capture_output=True, text=True)

        assert seen.returncode != 0
        assert "denied" in seen.stderr
        assert seen.stdout == ""
        node.leave(agent)
    finally:
        node.close()
