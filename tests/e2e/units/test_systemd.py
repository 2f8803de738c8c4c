"""The printed unit under a real systemd, and a standby outside of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines.systemd import Systemd, own_systemd
from tests.support.nodes.processes import Bed, bed, eventually
from tests.support.nodes.record import Interval

pytestmark = pytest.mark.long

COMMAND = [sys.executable, "-m", "coordinator.cli"]
CONFIG = """
groupId = "orders"
taskId = "unit"
heartbeatFrequency = 0.5
livenessCheckInterval = {liveness}
priority = 2
stopTimeout = 2
[log]
format = "text"
[databaseConfig]
url = "{url}"
schema = "{schema}"
[program]
command = {program}
"""
#: Long enough that a takeover by the end of a lease cannot be taken for one at once.
LIVENESS_S = 90


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with own_systemd() as manager:
        yield manager


@pytest.fixture
def nodes(tmp_path, database) -> Iterator[Bed]:
    with bed(tmp_path, database.conninfo, database.schema) as made:
        made.liveness_s = LIVENESS_S
        yield made


def install(
    systemd: Systemd, nodes: Bed, tmp_path: Path, *, program: list[str], more: str = ""
) -> None:
    """Write a node's file and its printed unit, as an administrator does."""
    config = tmp_path / "Config.toml"
    keywords = dict(part.partition("=")[::2] for part in nodes.conninfo.split(" "))
    host, port = keywords["host"].strip("'"), keywords.get("port", "5432").strip("'")
    user, name = keywords["user"].strip("'"), keywords["dbname"].strip("'")
    url = f"postgresql://{user}@/{name}?host={host}&port={port}"
    text = CONFIG.format(liveness=LIVENESS_S, url=url, schema=nodes.schema, program=program)
    config.write_text(text.replace("'", '"'))
    config.chmod(0o600)
    printed = subprocess.run(
        [*COMMAND, "print", "systemd", "--config", str(config), "--user", ""],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    unit = printed.replace("/usr/bin/coord", " ".join(COMMAND)).replace("%", "%")
    log = systemd.home / "coord.unit.log"
    lines = f"StandardOutput=append:{log}\nStandardError=append:{log}\nRestart=no\n{more}"
    unit = re.sub(r"^Restart=.*$", lines, unit, flags=re.MULTILINE)
    unit = unit.replace("[Service]\n", f"[Service]\nWorkingDirectory={os.getcwd()}\n")
    (systemd.units / "coord.service").write_text(unit)
    systemd.ctl("daemon-reload")


def recorder(nodes: Bed) -> list[str]:
    return list(nodes.recorder())


def told(nodes: Bed, systemd: Systemd) -> str:
    return systemd.story() + nodes.story()


def is_active_there(systemd: Systemd) -> bool:
    return "ACTIVE" in systemd.show("coord", "StatusText")[0]


def taken_over(systemd: Systemd, nodes: Bed) -> Interval:
    """Wait for the run of the next term, which comes long before the lease of the first ends."""
    eventually(
        lambda: any(run.term > 1 for run in nodes.runs()),
        LIVENESS_S / 3,
        lambda: told(nodes, systemd),
    )
    return nodes.wait_for_run(after=1)


def killed_whole(systemd: Systemd, nodes: Bed, tmp_path: Path) -> int:
    """Start the unit and a standby outside; return the main process of the unit."""
    install(systemd, nodes, tmp_path, program=recorder(nodes))
    systemd.ctl("start", "coord")
    nodes.wait_for_run()
    nodes.start("outside")
    nodes.wait_for_standbys(1)
    return int(systemd.show("coord", "MainPID")[0])


def test_a_unit_that_is_killed_as_a_whole_hands_over_at_once(systemd, nodes, tmp_path):
    """Rule G12. Without the unit's last command a standby waits for 90 s."""
    killed_whole(systemd, nodes, tmp_path)

    systemd.ctl("kill", "--signal=KILL", "--kill-whom=all", "coord")

    after = taken_over(systemd, nodes)
    first = next(run for run in nodes.runs() if run.term == 1)
    assert first.last < after.first
    eventually(
        lambda: systemd.show("coord", "ActiveState") == ["failed"], 20, "the unit has failed"
    )
    assert "the session of unit is ended" in systemd.story()


def test_one_process_that_dies_takes_the_unit_with_it_and_a_standby_takes_over(
    systemd, nodes, tmp_path
):
    """KillMode=mixed: systemd kills what the guardian leaves, before agent or spare can act."""
    main = killed_whole(systemd, nodes, tmp_path)

    os.kill(main, signal.SIGKILL)

    taken_over(systemd, nodes)
    eventually(lambda: not systemd.processes("coord"), 20, lambda: told(nodes, systemd))


def test_ready_status_reload_and_stop(systemd, nodes, tmp_path):
    program = ["sh", "-c", f"env > {tmp_path}/env; exec sleep 600"]
    install(systemd, nodes, tmp_path, program=program)

    systemd.ctl("start", "coord")  # returns when the node is ready
    assert systemd.show("coord", "ActiveState", "SubState") == ["active", "running"]
    eventually(lambda: is_active_there(systemd), 20, lambda: told(nodes, systemd))
    eventually((tmp_path / "env").exists, 10, "the program has started")

    systemd.ctl("reload", "coord")
    eventually(
        lambda: (
            "reload: nothing has changed" in systemd.story()
            and systemd.show("coord", "SubState") == ["running"]
        ),
        20,
        lambda: told(nodes, systemd),
    )

    systemd.ctl("stop", "coord")
    assert systemd.show("coord", "ActiveState", "Result") == ["inactive", "success"]
    environment = (tmp_path / "env").read_text()
    assert "COORD_TERM=1" in environment
    assert [name for name in ("NOTIFY_SOCKET", "WATCHDOG_") if name in environment] == []
    assert "left to its lease" not in systemd.story()


def test_a_wrong_configuration_is_not_tried_again(systemd, nodes, tmp_path):
    install(systemd, nodes, tmp_path, program=["true"])
    unit = systemd.units / "coord.service"
    unit.write_text(unit.read_text().replace("Restart=no", "Restart=on-failure"))
    (tmp_path / "Config.toml").write_text("livenesCheckInterval = 3\n")
    systemd.ctl("daemon-reload")

    systemd.ctl("start", "coord", check=False)

    assert systemd.show("coord", "ActiveState", "ExecMainStatus", "NRestarts") == [
        *("failed", "78", "0")
    ]
