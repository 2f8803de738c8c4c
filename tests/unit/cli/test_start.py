"""The command line as a process: what it loads, prints and refuses without a database."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
HEAVY = (
    "sqlalchemy",
    "psycopg",
    "alembic",
    "pydantic",
    "apscheduler",
    "rich",
    "starlette",
    "uvicorn",
)
#: CPU seconds of a start that loads nothing heavy, on a slow shared machine.
START_CPU_S = 0.25
COMMANDS = (
    *("run", "status", "leader", "history", "explain", "ui", "demo", "init", "version", "help"),
    *("config check", "config show", "config schema"),
    *("db upgrade", "db current", "db check", "db sql", "db grants", "db roles", "db url"),
    *("db psql", "db up", "db down", "db path", "db prune"),
    *("group show", "group set", "group delete"),
    *("token list", "token release", "once", "when-active", "tick", "sql"),
    *("operation list", "operation show", "operation tree", "operation wait", "operation cancel"),
    *("print systemd", "print supervisor", "print haproxy", "print compose"),
    *("print kubernetes", "print alerts", "print grafana"),
    *("switchover", "resign", "pause", "resume", "drain", "undrain", "node set", "node ended"),
    *("doctor", "nodes", "evict", "events", "jobs", "check", "wait"),
    *("observer status", "observer decisions", "observer suspend", "observer resume"),
    "observer policy",
    *("task add", "task list", "task show", "task enable", "task disable", "task delete"),
    *("task move", "task run", "task cursor", "token hold", "once", "when-active", "tick", "sql"),
    *("operation list", "operation show", "operation tree", "operation wait", "operation cancel"),
    "gate",
    *("state put", "state get", "state show", "state history"),
    *("checkpoint put", "checkpoint get", "checkpoint list", "checkpoint verify"),
    "checkpoint rescan",
)
#: Groups of commands.
ABOVE = (
    "checkpoint",
    "config",
    "db",
    "group",
    "node",
    "observer",
    "print",
    "operation",
    "state",
    "task",
    "token",
)
LOADED = f"""
import sys
from coordinator.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


@dataclass(frozen=True)
class Answer:
    code: object
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> Answer: ...


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in an empty directory, without any COORD_* or PG* of the tester."""
    from coordinator.cli.main import main

    for name in os.environ:
        if name.startswith(("COORD_", "PG")):
            monkeypatch.delenv(name)
    # No test may fall back on the embedded server of the tester.
    monkeypatch.setenv("COORD_EMBEDDED_ROOT", "/proc/nowhere")
    monkeypatch.chdir(tmp_path)

    def answer(*arguments: str, **environment: str) -> Answer:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main(list(arguments))
        return Answer(end.value.code, *capfd.readouterr())

    return answer


@pytest.mark.parametrize("arguments", ["--help", "version", "status --help", "db"])
def test_nothing_heavy_is_loaded_before_a_command_needs_it(arguments: str) -> None:
    command = [sys.executable, "-c", LOADED, *arguments.split()]

    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert answer.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["", *ABOVE, *COMMANDS])
def test_every_command_explains_itself_and_the_shared_options(command: str, run: Run) -> None:
    answer = run(*command.split(), "--help")

    assert answer.code == 0
    assert answer.out.startswith(f"Usage: coord {command}".rstrip())
    said = " ".join(answer.out.split())
    for name in ("CONFIG", "DATABASE_URL", "GROUP_ID", "OUTPUT", "TIME", "COLOR", "TIMEOUT"):
        if (command, name) == ("token hold", "TIMEOUT"):
            continue  # its own --timeout is that of the wait, as flock has it
        assert f"[env: COORD_{name}" in said


def test_every_command_is_tested_for_its_help(run: Run) -> None:
    found = set()
    for above in ("", *ABOVE):
        said = run(*above.split(), "--help").out
        names = re.findall(r"^  ([\w-]+)", said.partition("\nCommands:\n")[2], flags=re.MULTILINE)
        found |= {f"{above} {name}".strip() for name in names}

    assert found - set(ABOVE) == set(COMMANDS)


def test_version_is_one_word_or_a_document(run: Run) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", run("version").out)
    document = json.loads(run("version", "-o", "json").out)
    assert document["apiVersion"] == "coord/v1"


def test_the_version_is_an_option_too(run: Run) -> None:
    assert run("--version") == run("version")


@pytest.mark.parametrize("command", ["", *ABOVE, *COMMANDS])
def test_every_command_has_a_manual_page_of_the_same_data(command: str, run: Run) -> None:
    answer = run("help", "--man", *command.split())

    assert (answer.code, answer.err) == (0, "")
    title = f"coord {command}".strip().replace(" ", "-").replace("-", "\\-")
    assert answer.out.startswith(f'.TH "{title.upper()}" 1\n.SH NAME\n{title} ')
    page = answer.out.replace("\\-", "-")
    options = re.findall(
        r"^ +(?:-\w, )?(--[a-z][a-z-]+)", run(*command.split(), "--help").out, re.M
    )
    assert options
    assert [option for option in options if option not in page] == []
    assert not re.search(r"^['.](?!TH |SH |PP|TP|B )", answer.out, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-g", "orders", "config", "show"),
        ("config", "-g", "orders", "show"),
        ("config", "show", "-g", "orders"),
        ("-g", "other", "config", "show", "-g", "orders"),
    ],
)
def test_a_shared_option_may_stand_anywhere(arguments: tuple[str, ...], run: Run) -> None:
    answer = run(*arguments, "-o", "tsv", "--origin", COORD_GROUP_ID="env")

    assert "groupId\torders\tflag --group" in answer.out.splitlines()


def test_a_flag_before_the_command_stands_above_the_environment(run: Run) -> None:
    answer = run("-o", "jsonl", "config", "show", COORD_OUTPUT="tsv")

    assert json.loads(answer.out.splitlines()[0])["key"] == "taskId"


@pytest.mark.parametrize("before", [True, False])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(before: bool, run: Run) -> None:
    url = ("--database-url", "postgresql://ana:s3cret@localhost/app")
    answer = run(*url, "status") if before else run("status", *url)

    assert answer.code == 2
    assert "COORD_DATABASE_URL" in answer.err
    assert "s3cret" not in answer.err + answer.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("status", "--nonsense"),
        ("status", "a", "-g", "b"),
        ("status", "-w", "-o", "json"),
        ("status", "-w", "--check"),
        ("history", "--since", "yesterday"),
        ("history", "--plot"),
        ("status", "-o", "xml"),
        ("demo", "--nodes", "1"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], run: Run) -> None:
    answer = run(*arguments)

    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert answer.out == ""


def test_the_exit_code_is_the_same_where_stderr_cannot_be_written(tmp_path: Path) -> None:
    """A disk that is full must not change what a script reads."""
    words = [sys.executable, "-m", "coordinator.cli", "status"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COORD_")}
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            words, env=environ | {"COORD_TIME": "nonsense"}, stderr=full, cwd=tmp_path, timeout=60
        )

    assert answer.returncode == 78


@pytest.mark.parametrize(
    "variable",
    [
        *("COORD_OUTPUT", "COORD_COLOR", "COORD_TIME", "COORD_TIMEOUT"),
        *("COORD_QUIET", "COORD_VERBOSE"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, run: Run) -> None:
    answer = run("status", **{variable: "nonsense"})

    assert answer.code == 78
    assert answer.err.startswith(f"coord: env {variable}: ")


def test_every_problem_of_a_configuration_is_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Config.toml").write_text('heartbeatFrequency = "x"\nlivenesCheckInterval = 6\n')

    answer = run("config", "check")

    assert answer.code == 78
    lines = answer.err.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        "Config.toml:1",
        "Config.toml:2",
    ]


def test_a_named_file_that_is_missing_is_exit_code_78(run: Run) -> None:
    answer = run("-c", "none.toml", "config", "check")

    assert answer.code == 78
    assert answer.err.startswith("coord: none.toml: ")


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "tsv"])
def test_config_show_hides_the_password(form: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "Config.toml").write_text('[databaseConfig]\nhost = "db"\npassword = "s3cret"\n')

    answer = run("config", "show", "--origin", "-o", form)

    assert answer.code == 0
    assert "databaseConfig.password" in answer.out
    assert "s3cret" not in answer.out + answer.err


def test_the_schema_is_the_one_of_the_repository(run: Run) -> None:
    answer = run("config", "schema")

    assert answer.out == (REPOSITORY / "coord.schema.json").read_text()


def test_init_writes_files_that_work(run: Run, tmp_path: Path) -> None:
    answer = run("init")

    assert answer.code == 0
    written = (tmp_path / "Config.toml").read_text()
    assert written == (REPOSITORY / "Config.toml").read_text()
    assert tomllib.loads(written)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert run("config", "check", COORD_TASK_ID="node-1").code == 0


def test_init_never_overwrites_unless_forced(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("mine")

    refused = run("init")

    assert refused.code == 78
    assert ".env" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    assert run("init", "--force").code == 0
    assert (tmp_path / ".env").read_text() != "mine"


def test_each_init_makes_a_password_of_its_own(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run("init", name).code == 0

    assert (tmp_path / "a/.env").read_text() != (tmp_path / "b/.env").read_text()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m coordinator.cli db sql | true"

    answer = subprocess.run(
        ["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert answer.stderr == ""


def test_ddl_and_grants_need_no_database(run: Run) -> None:
    nowhere = {"COORD_DATABASE_URL": "host=/nowhere", "COORD_DATABASE_SCHEMA": "app"}

    assert 'CREATE TABLE "app".token_holder' in run("db", "sql", **nowhere).out
    granted = run("db", "grants", 'a"b', **nowhere).out
    assert 'GRANT USAGE ON SCHEMA "app" TO "a""b";' in granted


def test_db_url_hides_the_password_unless_it_is_asked_for(run: Run) -> None:
    environment = {"COORD_DATABASE_URL": "postgresql://ana:s3cret@db/app"}

    assert "s3cret" not in run("db", "url", **environment).out
    assert "s3cret" in run("db", "url", "--show-password", **environment).out


@pytest.mark.parametrize("arguments", ["--help", "version"])
def test_what_needs_no_database_starts_in_a_quarter_of_a_second(arguments: str) -> None:
    """CPU seconds, best of five: the wall clock of a busy machine says nothing."""
    command = [sys.executable, "-m", "coordinator.cli", *arguments.split()]

    assert min(_cpu_s(command) for _ in range(5)) < START_CPU_S


def _cpu_s(command: list[str]) -> float:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "command",
    [
        *("status", "status g", "status -w", "leader", "history", "nodes", "doctor"),
        *("observer status", "observer decisions", "observer suspend", "evict n --yes"),
        "observer policy",
        *("task list", "task show t", "task add t -- true", "task delete t --yes"),
        *("db current", "db check", "db url", "db psql"),
    ],
)
def test_looking_starts_no_server(run: Run, tmp_path: Path, command: str) -> None:
    """Only nodes, `db up`, `db upgrade` and the demonstration start the embedded server."""
    root = tmp_path / "embedded"

    answer = run(*command.split(), COORD_EMBEDDED_ROOT=str(root))

    assert answer.code == 78
    assert "no database is named, and there is no Config.toml here" in answer.err
    assert "COORD_DATABASE_URL" in answer.err
    assert not root.exists()


def test_a_configuration_without_a_database_is_told_apart(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Config.toml").write_text('groupId = "g"\n')

    answer = run("leader", COORD_EMBEDDED_ROOT=str(tmp_path / "embedded"))

    assert answer.code == 78
    assert f"{tmp_path}/Config.toml: names no database" in answer.err
    assert "coord run" in answer.err


def test_an_embedded_server_that_is_asked_for_and_does_not_run_is_told(
    run: Run, tmp_path: Path
) -> None:
    text = f'[databaseConfig]\nembedded = "{tmp_path}/pg"\n'
    (tmp_path / "Config.toml").write_text(text)

    answer = run("leader")

    assert answer.code == 69
    assert f"the embedded PostgreSQL in {tmp_path}/pg does not run; `coord db up`" in answer.err


def test_what_is_wrong_elsewhere_is_a_warning_for_who_only_looks(run: Run, tmp_path: Path) -> None:
    text = '[trigger]\ncron = "often"\n[databaseConfig]\nport = 1\n'
    (tmp_path / "Config.toml").write_text(text)

    answer = run("status", COORD_GROPU_ID="x")

    assert answer.code == 69
    assert "coord: warning: Config.toml:2: trigger.cron" in answer.err


def test_a_misspelt_variable_is_named_by_every_command_that_looks(run: Run, tmp_path: Path) -> None:
    answer = run("leader", COORD_DATABSE_URL="postgresql://db")

    assert "coord: warning: env COORD_DATABSE_URL: no variable of coord" in answer.err
    assert "did you mean COORD_DATABASE_URL?" in answer.err


def test_config_check_refuses_what_will_not_run(run: Run, tmp_path: Path) -> None:
    """A node with the template's name starts, and the second one of it does not."""
    (tmp_path / "Config.toml").write_text(
        'taskId = "add-unique-task"\n[program]\ncallable = "nowhere:run"\n'
    )

    answer = run("config", "check")

    assert (answer.code, answer.out) == (78, "")
    first, second = answer.err.splitlines()
    assert first.startswith("coord: Config.toml:1: taskId: 'add-unique-task' is the template's")
    assert "Config.toml:3: program.callable: 'nowhere:run' cannot be imported" in second


def test_config_check_in_json_has_its_problems_and_warnings(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "Config.toml"
    file.write_text("livenessCheckInterval = 1\n")

    refused = run("config", "check", "-o", "json")
    file.write_text('taskId = "n"\n')
    good = run("config", "check", "-o", "jsonl", COORD_GROPU_ID="x")

    assert refused.code == 78
    assert json.loads(refused.out)["ok"] is False
    assert "Config.toml:1: livenessCheckInterval" in json.loads(refused.out)["problems"][0]
    said = json.loads(good.out)
    assert (good.code, said["ok"], said["kind"]) == (0, True, "ConfigCheck")
    assert "COORD_GROUP_ID" in said["warnings"][0]


def test_an_error_is_json_where_the_answer_would_have_been(run: Run) -> None:
    answer = run("status", "-o", "json")

    assert json.loads(answer.err)["exitCode"] == answer.code == 78


def test_help_shows_what_is_a_commands_own_before_what_all_have(run: Run) -> None:
    said = run("help", "status").out

    own, _, shared = said.partition("Options of every command:")
    assert "--watch" in own
    assert "--database-url" not in own
    assert "--database-url" in shared
    assert said == run("status", "--help").out
    assert run("help", "db", "roles").out == run("db", "roles", "--help").out
    assert run("help").out == run("--help").out
    assert run("help", "db", "nope").code == 2
