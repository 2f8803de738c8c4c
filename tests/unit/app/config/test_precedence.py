"""B3: flag above COORD_* above Config.toml above what libpq reads by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from coordinator.app.config.loader import load, show
from coordinator.app.config.model.names import ENVIRONMENT, OTHER_VARIABLES, SETTINGS
from coordinator.app.config.settings import DatabaseSettings, NodeSettings, ProgramSettings
from coordinator.errors import ConfigError

HOSTED = '[databaseConfig]\nhost = "db1"\nuser = "root"\npassword = "x"\ndatabase = "orders"\n'


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(
    text: str = "",
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
    argv: tuple[str, ...] = (),
    alone: bool = False,
) -> NodeSettings:
    Path("Config.toml").write_text(text)
    return load(None, flags=flags or {}, environ=environ or {}, argv=argv, alone=alone)


def given(database: DatabaseSettings) -> dict[str, object]:
    return dict(conninfo_to_dict(database.conninfo))


def test_a_flag_stands_above_the_environment_and_that_above_the_file(directory):
    text = 'taskId = "file"\ngroupId = "file"\npriority = 5\n'
    environ = {"COORD_TASK_ID": "environ", "COORD_GROUP_ID": "environ", "COORD_LOG_LEVEL": ""}

    settings = loaded(text, environ, {"taskId": "flag", "log.level": None})

    assert (settings.task_id, settings.group_id, settings.priority) == ("flag", "environ", 5)
    assert settings.origins["taskId"] == "flag --task-id"
    assert settings.origins["groupId"] == "env COORD_GROUP_ID"
    assert settings.origins["priority"] == "Config.toml:3"
    assert settings.origins["log.level"] == "default"


def test_every_variable_reaches_its_key(directory):
    exclusive = {"COORD_DATABASE_URL", "COORD_DATABASE_SERVICE", "COORD_DATABASE_PASSWORD_FILE"}
    special = {
        "COORD_HEARTBEAT_FREQUENCY": "500ms",
        "COORD_LIVENESS_CHECK_INTERVAL": "9s",
        "COORD_STOP_TIMEOUT": "1",
        "COORD_PRIORITY": "4",
        "COORD_ISOLATION": "plain",
        "COORD_LOG_LEVEL": "DEBUG",
        "COORD_LOG_FORMAT": "json",
        "COORD_AUTO_MIGRATE": "false",
        "COORD_DATABASE_PORT": "5433",
        "COORD_DATABASE_SSLMODE": "require",
        "COORD_DATABASE_EMBEDDED": "false",
        "COORD_DATABASE_CONNECT_TIMEOUT": "2",
        "COORD_REQUIRE_DATABASE": "1",
        "COORD_PASS_DATABASE": "1",
        "COORD_OBSERVE": "true",
        "COORD_LISTEN": "127.0.0.1:8008",
        "COORD_AGENT_CHECK": "127.0.0.1:8009",
        "COORD_TOKENS": "unix:/run/coord.sock",
        "COORD_HOSTS_TASKS": "true",
    }
    samples = {float: "2", bool: "true", int: "1"}
    environ = {
        name: special.get(name) or samples.get(SETTINGS[keys].type, "some")
        for name, keys in ENVIRONMENT.items()
        if name not in exclusive
    }

    settings = loaded("", environ)

    for name in environ:
        assert settings.origins[".".join(ENVIRONMENT[name])] in (f"env {name}", "env COORD_OBSERVE")
    assert (settings.heartbeat_s, settings.liveness_s, settings.stop_timeout_s) == (0.5, 9.0, 1.0)
    assert (settings.priority, settings.log_level, settings.pass_database) == (0, "debug", True)
    assert not settings.database.auto_migrate
    assert settings.database.require_database
    assert settings.database.connect_timeout_s == 2.0
    assert settings.database.label == "some@some:5433/some"


def test_run_options_come_from_flags_and_switches_that_are_off_say_nothing(directory):
    flags = {"wait": "2s", "conflictExitCode": 9, "passDatabase": False, "nonblock": False}

    settings = loaded("", {"COORD_PASS_DATABASE": "1"}, flags)

    assert (settings.wait_s, settings.conflict_exit_code, settings.nonblock) == (2.0, 9, False)
    assert settings.pass_database
    with pytest.raises(ConfigError, match=r"^--wait: cannot be combined with --nonblock$"):
        loaded("", {}, {"nonblock": True, "wait": 1})


def test_to_observe_is_a_priority_of_zero(directory):
    settings = loaded("priority = 7\n", {}, {"observe": True})

    assert settings.priority == 0
    assert settings.origins["priority"] == "flag --observe"


def test_a_nested_run_is_not_named_after_the_program_around_it(directory):
    outside = loaded("", {"COORD_GROUP": "mine"})
    inside = loaded("", {"COORD_GROUP": "outer", "COORD_NODE": "n", "COORD_TERM": "7"})
    told = loaded("", {"COORD_GROUP": "a", "COORD_GROUP_ID": "b"})

    assert (outside.group_id, inside.group_id, told.group_id) == ("mine", "default", "b")


def test_a_command_on_the_command_line_puts_the_files_program_aside(directory):
    text = '[program]\ncallable = "a:b"\nonExit = "release"\n[trigger]\ninterval = 5\n'

    settings = loaded(text, argv=("backup", "--all now"))
    in_shell = loaded(text, argv=("a", "|", "b"), flags={"program.shell": True})

    assert settings.program == ProgramSettings(argv=("backup", "--all now"))
    assert settings.trigger is None
    assert settings.on_exit == "stop"
    assert settings.origins["program.command"] == "command line"
    assert in_shell.program == ProgramSettings(argv=("a | b",), shell=True)
    assert loaded("", argv=("a",), flags={"program.onExit": "restart"}).on_exit == "restart"


def test_a_table_without_a_program_says_how_the_command_is_run(directory):
    keys = 'onExit = "restart"\nforwardSignals = ["HUP"]\nprogressTimeout = 5\ncwd = "/"\n'
    text = f"[program]\nshell = true\n{keys}"

    settings = loaded(text, argv=("backup", "--all"))
    by_flag = loaded(text, argv=("a",), flags={"program.onExit": "stop"})
    alone = loaded(text, argv=("a",), alone=True)

    assert settings.program == ProgramSettings(
        argv=("backup", "--all"), cwd="/", forward_signals=("HUP",), progress_s=5
    )
    assert (settings.on_exit, by_flag.on_exit, alone.on_exit) == ("restart", "stop", "stop")
    assert settings.origins["program.onExit"] == "Config.toml:3"
    assert alone.program == ProgramSettings(argv=("a",))


def test_a_url_replaces_the_database_of_the_file_as_a_whole(directory):
    settings = loaded(HOSTED + 'schema = "mine"\n', {"COORD_DATABASE_URL": "postgres://ana@db2/x"})

    assert given(settings.database) == {"host": "db2", "user": "ana", "dbname": "x"}
    assert settings.database.schema == "mine"
    assert settings.database.label == "ana@db2:5432/x"
    assert settings.origins["databaseConfig.host"] == "default"


def test_a_flags_url_goes_with_the_environments_password_but_not_with_the_files(directory):
    url = {"databaseConfig.url": "postgresql+psycopg://ana@db2/x"}

    alone = loaded(HOSTED, {}, url)
    together = loaded(HOSTED, {"COORD_DATABASE_PASSWORD": "y"}, url)

    assert "password" not in given(alone.database)
    assert given(together.database)["password"] == "y"


def test_a_variable_replaces_one_key_of_the_file(directory):
    settings = loaded(HOSTED, {"COORD_DATABASE_HOST": "db9"})

    assert given(settings.database) == {
        "host": "db9",
        "user": "root",
        "dbname": "orders",
        "password": "x",
    }


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana@db2:5433/x",
        "postgres://ana@db2:5433/x",
        "postgresql+psycopg://ana@db2:5433/x",
        "host=db2 port=5433 user=ana dbname='x'",
    ],
)
def test_every_form_of_a_url_is_understood(url, directory):
    settings = loaded("", {"COORD_DATABASE_URL": url})

    assert given(settings.database) == {
        "host": "db2",
        "port": "5433",
        "user": "ana",
        "dbname": "x",
    }


def test_several_hosts_mean_the_writable_one(directory):
    listed = loaded('[databaseConfig]\nhost = ["db1", "::1"]\nport = [5432, 5433]\n')
    by_url = loaded("", {"COORD_DATABASE_URL": "postgresql://db1,db2:5433/x"})
    chosen = loaded("", {"COORD_DATABASE_URL": "host=a,b target_session_attrs=any"})

    assert given(listed.database) == {
        "host": "db1,::1",
        "port": "5432,5433",
        "target_session_attrs": "primary",
    }
    assert listed.database.label == "db1:5432,[::1]:5433"
    assert given(by_url.database)["target_session_attrs"] == "primary"
    assert by_url.database.label == "db1:5432,db2:5433/x"
    assert given(chosen.database)["target_session_attrs"] == "any"


@pytest.mark.parametrize(
    ("environ", "conninfo", "label"),
    [
        ({"PGHOST": "db1", "PGDATABASE": "x", "PGUSER": "u"}, "", "u@db1:5432/x"),
        ({"PGSERVICE": "orders"}, "", "service orders"),
        ({"PGDATABASE": "x"}, "", "local socket:5432/x"),
        ({"PGHOST": "a,b"}, "target_session_attrs=primary", "a:5432,b:5432"),
        ({"COORD_DATABASE_SERVICE": "s"}, "service=s", "service s"),
        ({"COORD_DATABASE_USER": "u", "PGHOST": "db1"}, "user=u", "u@db1:5432"),
        ({"COORD_DATABASE_USER": "u"}, "host=localhost port=5432 user=u", "u@localhost:5432"),
    ],
)
def test_what_libpq_reads_by_itself_names_a_database_too(environ, conninfo, label, directory):
    database = loaded("", environ).database

    assert database.named
    assert not database.use_embedded
    assert (database.conninfo, database.label) == (conninfo, label)


def test_the_file_stands_above_what_libpq_reads(directory):
    settings = loaded(HOSTED, {"PGHOST": "other", "PGPORT": "6000"})

    assert given(settings.database)["host"] == "db1"
    assert "port" not in given(settings.database)
    origins = {key: (value, origin) for key, value, origin in show(settings)}
    assert origins["databaseConfig.port"] == ("(read by libpq)", "env PGPORT")


@pytest.mark.parametrize(
    ("text", "environ", "embedded"),
    [
        ("", {}, True),
        ("", {"PGUSER": "postgres", "PGPASSWORD": "x"}, True),
        ("[databaseConfig]\n", {}, False),
        ("[databaseConfig]\nembedded = true\n", {"PGHOST": "db1"}, True),
        # A node sets it for its program, whose commands must find the node's database.
        ("", {"COORD_DATABASE_SCHEMA": "a"}, True),
        ('[databaseConfig]\nembedded = "/var/lib/x"\nschema = "a"\n', {}, True),
        ("[databaseConfig]\nembedded = true\n", {"COORD_DATABASE_URL": "host=a"}, False),
        (HOSTED, {"COORD_DATABASE_EMBEDDED": "yes"}, True),
        (HOSTED, {"COORD_DATABASE_EMBEDDED": "no"}, False),
        ("", {"COORD_AUTO_MIGRATE": "no"}, True),
    ],
)
def test_the_embedded_server_is_used_when_nothing_names_a_database(
    text, environ, embedded, directory
):
    assert loaded(text, environ).database.use_embedded is embedded


def test_a_required_database_that_nothing_names_is_refused(directory):
    for flags, environ in (({"requireDatabase": True}, {}), ({}, {"COORD_REQUIRE_DATABASE": "1"})):
        with pytest.raises(ConfigError, match="no database is named"):
            loaded("", environ, flags)

    assert loaded("", {"PGHOST": "db1"}, {"requireDatabase": True}).database.named


def test_a_variable_that_is_nearly_one_of_ours_is_warned_about(directory):
    settings = loaded("", {"COORD_DATABSE_URL": "x", "COORD_GROUP": "g", "COORD_NODE": "n"})

    assert settings.warnings == (
        "env COORD_DATABSE_URL: no variable of coord; did you mean COORD_DATABASE_URL?",
    )
    assert not loaded("", dict.fromkeys(OTHER_VARIABLES[1:], "x")).warnings


def test_the_connect_timeout_is_never_longer_than_the_liveness_check(directory):
    settings = loaded('livenessCheckInterval = 2\nheartbeatFrequency = "100ms"\n')

    assert settings.database.connect_timeout_s == 2.0


def test_one_command_may_wait_longer_than_a_node(directory):
    patient = loaded("livenessCheckInterval = 6\n", {}, {"databaseConfig.connectTimeout": 60})

    assert patient.database.connect_timeout_s == 6.0
