"""Printed files, read by what their makers publish: schemas, types, and supervisord itself.

`make recipes` installs the readers; a schema of the structure alone would be one of our own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.printed.test_files import config, printed
from tests.recipes.conftest import ENVIRONMENT
from tests.support.nodes.processes import Bed, bed, eventually

BIN = ENVIRONMENT / "bin"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (BIN / "supervisord").exists(), reason="no .venv-recipes: run `make recipes`"
    ),
]
__all__ = ["config"]


def said_by(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("written", "answer"), [("stop_grace_period", 0), ("stop_graceperiod", 1)], ids=["fits", "typo"]
)
def test_the_schema_of_compose_takes_its_file(config, tmp_path, written: str, answer: int):
    path = tmp_path / "compose.yml"
    path.write_text(printed(config, "compose").replace("stop_grace_period", written))

    code, told = said_by(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)

    assert code == answer, told


@pytest.mark.parametrize(
    ("written", "answer"), [("maxUnavailable", 0), ("maxUnavailabel", 1)], ids=["fits", "typo"]
)
def test_the_schemas_of_kubernetes_take_the_manifest(config, tmp_path, written: str, answer: int):
    path = tmp_path / "coord.yml"
    path.write_text(printed(config, "kubernetes").replace("maxUnavailable", written))

    code, told = said_by(BIN / "kubernetes-validate", "--strict", path)

    assert code == answer, told
    assert told.count(" passed for resource ") == 3 - answer


#: Prints the dashboard as the types of Grafana have it: what they do not know is missing.
AS_GRAFANA = """
import json, sys
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
plugins.register_default_plugins()
read = Dashboard.from_json(json.load(sys.stdin))
kinds = {type(target).__module__ for panel in read.panels for target in panel.targets}
assert kinds == {"grafana_foundation_sdk.models.prometheus"}, kinds
print(json.dumps(read, cls=JSONEncoder))
"""


@pytest.mark.parametrize("written", ["gridPos", "gridpos"])
def test_the_types_of_grafana_know_the_whole_dashboard(config, written: str):
    text = printed(config, "grafana").replace("gridPos", written)
    command = [BIN / "python", "-c", AS_GRAFANA]
    read = subprocess.run(
        command, input=text, capture_output=True, text=True, check=True, timeout=60
    )

    unknown = [*lost(json.loads(text), json.loads(read.stdout), "")]

    assert bool(unknown) == (written == "gridpos"), unknown


def lost(written: object, read: object, path: str) -> Iterator[str]:
    """Yield the paths of what was written and is not read."""
    if isinstance(written, dict):
        there = read if isinstance(read, dict) else {}
        for key, value in written.items():
            yield from lost(value, there.get(key), f"{path}/{key}")
    elif isinstance(written, list):
        there_too = read if isinstance(read, list) else []
        for place, value in enumerate(written):
            known = there_too[place] if place < len(there_too) else None
            yield from lost(value, known, f"{path}[{place}]")
    elif written != read:
        yield path


# --- supervisord ----------------------------------------------------------------------------------

DAEMON = """
[supervisord]
nodaemon = true
user = root
logfile = {path}/supervisord.log
pidfile = {path}/supervisord.pid
childlogdir = {path}
[unix_http_server]
file = {path}/s
[supervisorctl]
serverurl = unix://{path}/s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
NAME = "coord-orders"


class Supervised:
    """A node under the printed section, in a real supervisord."""

    def __init__(self, nodes: Bed, program: str) -> None:
        self.path = nodes.path
        coord = self.path / "coord"
        run = shlex.join([sys.executable, "-m", "coordinator.cli"])
        coord.write_text(f'#!/bin/sh\nexec {run} "$@"\n')
        coord.chmod(0o755)
        toml = self.path / "Config.toml"
        toml.write_text(
            f'taskId = "node-1"\ngroupId = "orders"\nheartbeatFrequency = 0.3\n'
            f"livenessCheckInterval = 1.5\nstopTimeout = 5\n[program]\ncommand = {program}\n"
            f'[databaseConfig]\nurl = "{nodes.conninfo}"\nschema = "{nodes.schema}"\n'
        )
        toml.chmod(0o600)
        section = printed(toml, "supervisor", "--command", str(coord))
        self.file = self.path / "supervisord.conf"
        self.file.write_text(DAEMON.format(path=self.path) + section)

    def control(self, *words: str) -> str:
        return said_by(BIN / "supervisorctl", "-c", self.file, *words)[1]

    def state(self) -> str:
        return self.control("status", NAME)

    def log(self) -> str:
        return "".join(path.read_text() for path in self.path.glob("*.log"))

    def wait_for(self, state: str) -> str:
        eventually(lambda: f" {state} " in self.state(), 60, lambda: f"{state}: {self.log()}")
        return self.state()


@pytest.fixture
def nodes(tmp_path, database: Database) -> Iterator[Bed]:
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


@contextlib.contextmanager
def supervised(nodes: Bed, program: str) -> Iterator[Supervised]:
    made = Supervised(nodes, program)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COORD_")}
    with (nodes.path / "out").open("wb") as out:
        process = subprocess.Popen(
            [BIN / "supervisord", "-n", "-c", made.file], stdout=out, stderr=out, env=environ
        )
    try:
        yield made
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="the section of the daemon here is root's")
def test_supervisord_runs_restarts_and_stops_a_node(nodes, database):
    program = json.dumps(list(nodes.recorder()))
    with supervised(nodes, program) as daemon:
        daemon.wait_for("RUNNING")
        first = nodes.wait_for_run()
        pid = int(daemon.control("pid", NAME))
        os.kill(pid, signal.SIGKILL)

        again = nodes.wait_for_run(after=first.term)
        daemon.wait_for("RUNNING")
        assert int(daemon.control("pid", NAME)) != pid
        told = daemon.control("stop", NAME)

    assert "stopped" in told
    assert "with SIGKILL" not in (nodes.path / "supervisord.log").read_text()
    (ended,) = database.query("SELECT ended_at IS NOT NULL, end_reason FROM health_check")
    assert ended[0], ended
    assert again.term > first.term


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="the section of the daemon here is root's")
def test_supervisord_does_not_start_again_what_is_configured_wrongly(nodes):
    with supervised(nodes, json.dumps(list(nodes.recorder()))) as daemon:
        daemon.wait_for("RUNNING")
        toml = nodes.path / "Config.toml"
        toml.write_text(toml.read_text().replace("groupId", "gruopId"))
        daemon.control("stop", NAME)
        daemon.control("start", NAME)

        daemon.wait_for("EXITED")
        told = (nodes.path / "supervisord.log").read_text()
    assert f"exited: {NAME} (exit status 78; expected)" in told
    assert told.count(f"spawned: '{NAME}'") == 2
