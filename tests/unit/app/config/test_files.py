"""B3: Config.toml as the origin has it, as this repository has it, and with everything in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coordinator.app.config.loader import load, show
from coordinator.app.config.model.json_schema import known_keys
from coordinator.app.config.model.values import moment
from coordinator.app.config.settings import (
    NodeSettings,
    ProgramSettings,
)
from coordinator.errors import ConfigError
from coordinator.protocol.messages.schedule import Policy, Retry, Trigger
from tests.house import derived
from tests.unit.app.config.bad_files import BAD_FILES

ROOT = Path(__file__).resolve().parents[4]
SEED = Path(__file__).parent / "seed_config.toml"
A_SETTING_THAT_IS_OFF = re.compile(r"^# (?=\[\w+\]$|\w+ = )", re.M)


def loaded(directory: Path, text: str, **flags: object) -> NodeSettings:
    path = directory / "some.toml"
    path.write_text(text)
    return load(str(path), flags=flags, environ={})


def test_the_seeds_file_means_what_it_meant_to_the_origin():
    settings = load(str(SEED), flags={}, environ={})

    assert (settings.task_id, settings.group_id) == ("add-unique-task", "task-group-01")
    assert (settings.heartbeat_s, settings.liveness_s) == (1.0, 6.0)
    assert settings.stop_timeout_s == pytest.approx(1.3645, abs=0.001)
    assert settings.database.named
    assert settings.database.conninfo == (
        "host=localhost port=5432 user=root dbname=database password=password"
    )
    assert settings.database.label == "root@localhost:5432/database"
    assert settings.origins["livenessCheckInterval"] == f"{SEED}:4"


def test_no_file_gives_the_documented_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    settings = load(None, flags={}, environ={})

    assert re.fullmatch(r"[A-Za-z0-9_.-]+-\d+", settings.task_id)
    assert (settings.group_id, settings.origins["groupId"]) == ("default", "default")
    assert (settings.heartbeat_s, settings.liveness_s, settings.stop_timeout_s) == (1, 30, 10)
    assert settings.database.use_embedded
    assert settings.config_path is None


def test_the_repositorys_file_runs_on_the_embedded_default():
    settings = load(str(ROOT / "Config.toml"), flags={}, environ={})

    assert settings.task_id == "add-unique-task"
    assert settings.program is None
    assert settings.database.use_embedded


def test_the_repositorys_file_loads_with_every_setting_switched_on(tmp_path):
    text = (ROOT / "Config.toml").read_text()

    settings = loaded(tmp_path, A_SETTING_THAT_IS_OFF.sub("", text))

    silent = {key for key, origin in settings.origins.items() if origin == "default"}
    assert settings.database.named
    assert settings.program is not None
    assert silent == {
        "databaseConfig.passwordFile",
        "databaseConfig.url",
        "databaseConfig.service",
        "databaseConfig.embedded",
        "program.command",
        "program.shell",
        "program.standby",
        "program.progressTimeout",
        "health.http",
        "hostsTasks",
        "trigger.cron",
        "trigger.at",
        *("nonblock", "wait", "conflictExitCode", "passDatabase", "requireDatabase", "observe"),
    }


def test_the_repositorys_file_has_every_key_of_the_models():
    text = (ROOT / "Config.toml").read_text()

    for keys in known_keys().values():
        for key in keys:
            assert re.search(rf"^(#+ +)?(\[{{1,2}}{key}\]|{key} = )", text, re.M), key


def test_the_commented_defaults_are_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = {
        "stopTimeout",
        "program.callable",
        "program.shell",
        "program.cwd",
        "program.standby",
        "program.progressTimeout",
        "health",
        "hooks",
        "retryConfig",
        "trigger",
        "http",
        "node",
        "tokens",
        "tasksPolicy.toMember",
        "tasksPolicy.lateWithin",
        *("checkpoints.data", "checkpoints.parity", "checkpoints.keepFor", "checkpoints.listen"),
        *("checkpoints.advertise", "checkpoints.directory"),
    }
    text = A_SETTING_THAT_IS_OFF.sub("", (ROOT / "Config.toml").read_text())
    on = {key: value for key, value, _ in show(loaded(tmp_path, text))}

    default = {key: value for key, value, _ in show(load(None, flags={}, environ={}))}

    for key, value in default.items():
        named = key.startswith("databaseConfig.") or key in ("taskId", "groupId")
        if key == "livenessCheckInterval" or named or {key, key.split(".")[0]} & examples:
            continue
        assert on[key] == value, key


@pytest.mark.parametrize("name", derived.files())
def test_a_committed_file_is_the_derived_one(name):
    """`make config` writes it."""
    assert (ROOT / name).read_text() == derived.files()[name]


def test_the_schema_is_named_in_the_file():
    assert (ROOT / "Config.toml").read_text().startswith("#:schema ./coord.schema.json\n")


@pytest.mark.parametrize(("text", "lines"), BAD_FILES, ids=[text[:40] for text, _ in BAD_FILES])
def test_a_bad_file_is_refused_with_place_key_and_rule(text, lines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("Config.toml").write_text(text)

    with pytest.raises(ConfigError) as refused:
        load("Config.toml", flags={}, environ={})

    assert str(refused.value) == lines
    assert refused.value.exit_code == 78
    assert refused.value.__cause__ is None  # a traceback must not repeat the values


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("Config.toml").write_text(
        'taskId = "a/b"\n\nfoo = 1\n[databaseConfig]\nport = "abc"\n\n[log]\nlevel = "loud"\n'
    )

    with pytest.raises(ConfigError) as refused:
        load("Config.toml", flags={"stopTimeout": "soon"}, environ={"COORD_PRIORITY": "high"})

    places = [line.split(": ")[:2] for line in str(refused.value).splitlines()]
    assert places == [
        [
            "--stop-timeout",
            'must be seconds as a number, or text such as "500ms", "6s", "2m", "1h" (got \'soon\')',
        ],
        ["env COORD_PRIORITY", "priority"],
        ["Config.toml:1", "taskId"],
        ["Config.toml:3", "foo"],
        ["Config.toml:5", "databaseConfig.port"],
        ["Config.toml:8", "log.level"],
    ]


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "9" * 5000, "\ud800", "a\rb"])
def test_a_file_that_is_no_toml_is_refused_without_a_traceback(text, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(text.encode(errors="surrogatepass"))

    with pytest.raises(ConfigError, match=re.escape(str(path))):
        load(str(path), flags={}, environ={})


def test_a_named_file_that_is_missing_is_an_error_and_says_who_named_it(tmp_path):
    missing = str(tmp_path / "none.toml")

    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory$"):
        load(missing, flags={}, environ={})
    with pytest.raises(ConfigError, match=r"No such file .* \(named by env COORD_CONFIG\)$"):
        load(None, flags={}, environ={"COORD_CONFIG": missing})
    with pytest.raises(ConfigError, match="Is a directory"):
        load(str(tmp_path), flags={}, environ={})


def test_a_file_in_the_working_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("Config.toml").write_text('groupId = "orders"\r\npriority = 3\r\n')

    settings = load(None, flags={}, environ={})

    assert (settings.group_id, settings.priority) == ("orders", 3)
    assert settings.origins["priority"] == "Config.toml:2"
    assert settings.config_path == str(tmp_path / "Config.toml")


def test_a_schedule_with_policies_is_read(tmp_path):
    settings = loaded(
        tmp_path,
        """
        [program]
        callable = "shop.jobs:poll"
        onExit = "release"
        [trigger]
        interval = "1500ms"
        maxCount = 5
        startTime = 2020-01-01T00:00:00+01:00
        endTime = "2099-01-01"
        catchUp = "all"
        misfireGraceTime = "2m"
        [taskPolicy]
        errorPolicy = "log_and_continue"
        waitingPolicy = "IGNORE"
        onTerminate = "release"
        [retryConfig]
        maxAttempts = 2
        retryInterval = 0.5
        backoffStrategy = "EXPONENTIAL"
        maxInterval = 4
        """,
    )

    assert settings.on_exit == "release"
    assert settings.program == ProgramSettings(callable="shop.jobs:poll")
    assert settings.trigger == Trigger(
        interval_s=1.5,
        max_count=5,
        opens_at=moment("2020-01-01T00:00:00+01:00"),
        closes_at=moment("2099-01-01T00:00:00+00:00"),
        catch_up="all",
        misfire_grace_s=120.0,
    )
    assert settings.policy == Policy(
        error="LOG_AND_CONTINUE",
        waiting="IGNORE",
        on_terminate="release",
        retry=Retry(
            max_attempts=2, retry_interval_s=0.5, backoff="EXPONENTIAL", max_interval_s=4.0
        ),
    )


@pytest.mark.parametrize(
    ("lines", "program"),
    [
        ('command = ["a", "b c"]', ProgramSettings(argv=("a", "b c"))),
        ("command = \"a 'b c'\"", ProgramSettings(argv=("a", "b c"))),
        ('command = "a | b"\nshell = true', ProgramSettings(argv=("a | b",), shell=True)),
        ('command = "a"\ncwd = "/srv"', ProgramSettings(argv=("a",), cwd="/srv")),
    ],
)
def test_a_command_is_a_list_or_a_line(lines, program, tmp_path):
    settings = loaded(tmp_path, f"[program]\n{lines}\n")

    assert settings.program == program
    assert settings.on_exit == "restart"


def test_the_config_hash_tells_what_the_nodes_of_a_group_should_share(tmp_path):
    one = loaded(tmp_path, 'taskId = "a"\npriority = 2\n')
    namesake = loaded(tmp_path, 'taskId = "b"\n[log]\nlevel = "debug"\n')
    slower = loaded(tmp_path, "livenessCheckInterval = 40\nstopTimeout = 10\n")
    busier = loaded(tmp_path, '[program]\ncommand = "x"\n')

    hashes = [each.config_hash for each in (one, namesake, slower, busier)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    assert all(re.fullmatch("[0-9a-f]{4}", each) for each in hashes)
