"""Options of `coord run`, before there is a node."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.app.config.model.names import flag_name, run_options
from coordinator.app.config.model.table import Key
from coordinator.app.config.settings import NodeSettings
from coordinator.app.node import start as app_run

Settle = Callable[..., NodeSettings]


@pytest.fixture
def settle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settle:
    """Run `coord run` up to the settings that a node would get."""
    from coordinator.cli.main import main

    got: list[NodeSettings] = []
    for name in os.environ:
        if name.startswith(("COORD_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app_run, "run_node", got.append)

    def settings(*arguments: str) -> NodeSettings:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        assert end.value.code == 0
        return got[-1]

    return settings


def test_the_options_are_the_settings_of_the_node(settle: Settle) -> None:
    settings = settle(
        *("run", "--task-id", "n1", "-g", "orders", "--stop-timeout", "500ms", "-w", "3"),
        *("-E", "9", "--restart", "always", "--isolation", "plain", "--pass-database"),
        *("--heartbeat-frequency", "0.5", "--liveness-check-interval", "4s"),
        *("--log-format", "json", "--require-database", "--database-url", "host=/nowhere"),
        *("--", "worker", "--fast"),
    )

    assert (settings.task_id, settings.group_id) == ("n1", "orders")
    assert (settings.heartbeat_s, settings.liveness_s, settings.stop_timeout_s) == (0.5, 4.0, 0.5)
    assert (settings.wait_s, settings.conflict_exit_code) == (3.0, 9)
    assert (settings.on_exit, settings.isolation, settings.log_format) == (
        *("restart", "plain", "json"),
    )
    assert settings.pass_database
    assert settings.database.require_database
    assert settings.program is not None
    assert settings.program.argv == ("worker", "--fast")


#: A value for each flag that takes one, by the key of its setting.
SAMPLES = {
    "taskId": "n1",
    "isolation": "plain",
    "program.onExit": "always",
    "program.standby": "started",
    "log.format": "json",
    "http.listen": "127.0.0.1:8008",
    "http.agentCheck": "127.0.0.1:8009",
    "tokens.listen": "unix:/run/coord.sock",
    "conflictExitCode": "9",
    "livenessCheckInterval": "9",
}


@pytest.mark.parametrize("option", run_options(), ids=lambda option: option.setting.by)
def test_each_flag_of_a_setting_sets_it(option: Key, settle: Settle) -> None:
    key = ".".join(option.keys)
    value = () if option.type is bool else (SAMPLES.get(key, "2"),)
    command = () if key in ("hostsTasks", "observe") else ("--", "true")
    for flag in option.setting.flags:
        settings = settle("--database-url", "host=/nowhere", "run", flag, *value, *command)

        assert settings.origins[key].startswith(f"flag {flag_name(option.keys)}")


def test_the_help_of_a_flag_is_what_the_file_says_about_its_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from coordinator.cli.main import main

    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = " ".join(capsys.readouterr().out.split())

    for option in run_options():
        assert f"{', '.join(option.setting.flags)} " in said
        assert (option.setting.help or option.text.split(". ")[0]) in said
        assert option.setting.env is None or f"[env: {option.setting.env}]" in said


@pytest.mark.parametrize(
    "written",
    [
        ("run", "--", "worker", "-g", "theirs", "--help", "-v", "--", "-n"),
        ("run", "worker", "-g", "theirs", "--help", "-v", "--", "-n"),
    ],
)
def test_what_follows_the_command_is_the_commands_own(
    written: tuple[str, ...], settle: Settle
) -> None:
    settings = settle(*written)

    assert settings.program is not None
    assert settings.program.argv == ("worker", "-g", "theirs", "--help", "-v", "--", "-n")
    assert (settings.group_id, settings.nonblock) == ("default", False)


def test_shell_makes_one_line_of_the_command(settle: Settle) -> None:
    settings = settle("run", "--shell", "--", "a | b")

    assert settings.program is not None
    assert (settings.program.argv, settings.program.shell) == (("a | b",), True)


@pytest.mark.parametrize(
    ("option", "level"), [((), "info"), (("-q",), "error"), (("-v",), "debug")]
)
def test_quiet_and_verbose_are_levels_of_the_log(
    option: tuple[str, ...], level: str, settle: Settle
) -> None:
    assert settle(*option, "run", "worker").log_level == level


def test_an_observer_never_takes_the_token(settle: Settle) -> None:
    assert settle("run", "--observe").priority == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run",), 2, "no program to run: write `coord run -- COMMAND`"),
        (("run", "--", "no-such-command"), 127, "no-such-command: command not found"),
        (("run", "--", "./plain.txt"), 126, "./plain.txt: not executable"),
        (
            ("run", "--stop-timeout", "soon", "--", "true"),
            2,
            "coord: --stop-timeout: must be seconds",
        ),
        (("run", "-w", "-1", "--", "true"), 2, "coord: --wait: must not be negative (got '-1')"),
        (("run", "--listen", "8008", "--", "true"), 2, 'coord: --listen: must be "host:port"'),
        (
            ("run", "-n", "-w", "1", "--", "true"),
            2,
            "coord: --wait: cannot be combined with --nonblock",
        ),
        (("run", "--observe", "--", "true"), 2, "coord: --observe: cannot be combined with a COMM"),
        (("run", "--observe", "-n"), 2, "coord: --nonblock: cannot be combined with --observe"),
        (("run", "--observe", "-w1"), 2, "coord: --wait: cannot be combined with --observe"),
        (("run", "--require-database", "--", "true"), 78, "no database is named"),
        (("run", "-E", "256", "--", "true"), 2, "256"),
        (("run", "--task-id", "", "--", "true"), 2, "coord: --task-id: must be 1 to 128"),
    ],
)
def test_a_node_that_cannot_run_is_refused_before_anything_starts(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from coordinator.cli.main import main

    monkeypatch.setenv("COORD_EMBEDDED_ROOT", "/proc/nowhere")
    monkeypatch.setenv("COORD_LOG_FORMAT", "text")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.txt").write_text("no program")

    with pytest.raises(SystemExit) as end:
        main(list(arguments))

    assert end.value.code == code
    assert said in capsys.readouterr().err


def test_a_configuration_without_a_program_is_told_which_lines_to_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """W9: the origin's Config.toml alone; what it is told to add is enough."""
    from coordinator.app.config.loader import load
    from coordinator.app.node.start import check_program
    from coordinator.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COORD_LOG_FORMAT", "text")
    file = tmp_path / "Config.toml"
    file.write_text(
        'taskId = "node-1"\ngroupId = "task-group-01"\nheartbeatFrequency = 1\n'
        'livenessCheckInterval = 6\n\n[databaseConfig]\nuser = "root"\npassword = "password"\n'
        'database = "database"\nport = 5432\n'
    )
    with pytest.raises(SystemExit) as end:
        main(["run"])
    first, *lines = capsys.readouterr().err.splitlines()

    assert end.value.code == 78
    assert f"{file}: no program to run" in first
    added = "".join(f"{line.removeprefix('coord: ')}\n" for line in lines)
    file.write_text(file.read_text() + added.replace("python", sys.executable))
    check_program(load(None, flags={}, environ={}))


@pytest.mark.parametrize("key", ["hooks.afterStop", "health.command"])
def test_a_command_beside_the_program_that_does_not_exist_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """M9, M3: not found out under the token, which it would give up again and again."""
    from coordinator.app.config.loader import load
    from coordinator.app.node.start import check_program
    from coordinator.errors import CommandNotFoundError

    monkeypatch.chdir(tmp_path)
    table, _, name = key.partition(".")
    file = tmp_path / "Config.toml"
    file.write_text(
        'taskId = "node-1"\ngroupId = "orders"\n[program]\ncommand = ["true"]\n'
        f'[{table}]\n{name} = ["/no/such/command"]\n'
    )

    with pytest.raises(CommandNotFoundError, match=f"{key}: /no/such/command: command not found"):
        check_program(load(None, flags={}, environ={}))


def test_a_refused_node_says_so_in_the_form_of_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from coordinator.cli.main import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["run", "--log-format", "json", "--stop-timeout", "soon", "--", "true"])

    assert end.value.code == 2
    said = json.loads(capsys.readouterr().err)
    assert (said["level"], said["event"]) == ("ERROR", "not-started")
    assert said["message"].startswith("--stop-timeout: must be seconds")
