"""Every command in three situations: fine, refused, and with the database away; by exit code.

Commands that look are run in process, so that the table costs little. Their whole output is in the
golden files of the other tests of this folder.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.conftest import Database
from tests.e2e.test_cli_look import filled
from tests.unit.cli.test_start import COMMANDS

pytestmark = pytest.mark.real

__all__ = ["filled"]

ROOT = Path(__file__).parents[2]
Answer = tuple[int, str, str]

#: By command: arguments when it is fine, with the code and a pattern of its output; arguments that
#: are refused, with the code. With the database away, the first arguments end with 69.
TABLE: dict[str, tuple[tuple[str, int, str], tuple[str, int]]] = {
    "status": (("", 0, r"GROUP +STATE"), ("nope", 4)),
    "leader": (("orders", 0, r"node-2$"), ("reports", 3)),
    "history": (("orders", 0, r"TERM +AT"), ("nope", 4)),
    "explain": (("orders", 0, r"orders: node-2 is active, term 8"), ("nope", 4)),
    "events": (("orders", 0, r"no events in this time"), ("nope", 4)),
    "jobs": (("", 0, r"no schedule has begun yet"), ("nope", 4)),
    "check": (("orders", 0, r"orders: node-2 is active, term 8; 2 standbys"), ("reports", 3)),
    "wait": (("orders --for active", 0, r"orders: active, node-2"), ("orders --for never", 2)),
    "nodes": (("orders", 0, r"NODE +STANDING"), ("nope", 4)),
    "evict": (("node-4 -g orders --yes", 0, r"orders: node-4 is removed"), ("node-1 -g orders", 2)),
    "token list": (("", 0, r"TOKEN +STATE"), ("nope", 4)),
    "token release": (("orders --force --yes --fence true", 0, r"orders: released"), ("orders", 2)),
    "group delete": (("old --yes", 0, r"old: deleted"), ("orders --yes", 3)),
    "db current": (("", 0, r"\d{4}$"), ("nope", 2)),
    "db check": (("", 0, r".*: ok$"), ("nope", 2)),
    "db prune": (("", 0, r"night: 0 rows deleted"), ("nope", 4)),
    "observer status": (("-g orders", 0, r"orders: nobody observes"), ("-g nope", 4)),
    "observer decisions": (("-g orders", 0, r"no decisions"), ("-g nope", 4)),
    "observer policy": (("-g orders", 0, r"KEY +VALUE"), ("-g orders nonsense", 2)),
    "observer suspend": (("-g orders", 0, r"orders: the observer is suspended"), ("-g nope", 4)),
    "observer resume": (("-g orders", 0, r"orders: the observer was already"), ("-g nope", 4)),
    "task list": (("-g night", 0, r"TASK +STATE"), ("-g nope", 4)),
    "task add": (("u -g night -- true", 0, r"night/u: added"), ("u -g orders -- true", 2)),
    "task show": (("t -g night", 0, r"task +night/t"), ("u -g night", 4)),
    "task enable": (("t -g night", 0, r"night/t: was already enabled"), ("u -g night", 4)),
    "task disable": (("t -g night", 0, r"night/t: disabled"), ("u -g night", 4)),
    "task delete": (("t -g night --yes", 0, r"night/t: deleted"), ("u -g night --yes", 4)),
    "task move": (("t -g night --to node-1", 0, r"night/t: prefers node-1"), ("t -g night", 2)),
    "task cursor": (("t -g night", 0, r"null$"), ("u -g night", 4)),
    "doctor": (("-g orders", 0, r" +ISOLATION"), ("-g 'a b'", 2)),
}
#: Commands whose situations are shown elsewhere, with the test that shows them.
ELSEWHERE = {
    "run": "e2e/test_signals.py",
    "once": "e2e",
    "tick": "e2e",
    "when-active": "e2e/test_when_active.py",
    "gate": "e2e/program",
    "demo": "e2e/test_walkthrough.py",
    "ui": "e2e/page",
    "init": "unit/cli/test_start.py",
    "version": "unit/cli/test_start.py",
    "help": "unit/cli/test_start.py",
    "token hold": "e2e",
    "sql": "e2e/test_cli_operations.py",
    **dict.fromkeys(
        ("switchover", "resign", "pause", "resume", "drain", "undrain", "node set"),
        "e2e/planned/test_command_table.py",
    ),
}
#: Groups of commands that need no database, or have a table of their own.
ELSEWHERE_GROUPS = ("config", "db", "state", "checkpoint", "operation")


@pytest.fixture
def call(
    filled: Database, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path
) -> Callable[..., Answer]:
    """Run a command in this process, on the rows or, `away`, without a database."""
    from coordinator.cli.main import main

    filled.query(
        "INSERT INTO group_record (group_id, hosts_tasks) VALUES ('old', false), ('night', true)"
    )
    filled.query("INSERT INTO task (group_id, name) VALUES ('night', 't')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COORD_DATABASE_SCHEMA", filled.schema)
    monkeypatch.setenv("COORD_TASK_ID", "node-9")

    def answer(command: str, *, away: bool = False) -> Answer:
        place = f"host={tmp_path} user=u dbname=d password=s3cret" if away else filled.conninfo
        monkeypatch.setenv("COORD_DATABASE_URL", place)
        with pytest.raises(SystemExit) as end:
            main(shlex.split(command))
        return int(end.value.code or 0), *capfd.readouterr()

    return answer


@pytest.mark.parametrize("command", TABLE)
def test_a_command_has_one_exit_code_for_each_situation(
    command: str, call: Callable[..., Answer]
) -> None:
    (fine, code, pattern), (refused, refusal) = TABLE[command]

    done = call(f"{command} {fine}")
    no = call(f"{command} {refused}")
    away = call(f"{command} {fine} --timeout 2", away=True)

    assert done[0] == code, done
    assert not pattern or re.match(pattern, done[1]), done
    assert (no[0], no[2] != "") == (refusal, True), no
    assert (away[0], "s3cret" in away[1] + away[2]) == (69, False), away


def test_every_command_is_in_the_table() -> None:
    missing = [
        command
        for command in COMMANDS
        if command not in TABLE
        and command not in ELSEWHERE
        and command.partition(" ")[0] not in ELSEWHERE_GROUPS
    ]

    assert missing == []


def shown_commands() -> list[str]:
    """Return the lines of README and docs that call coord, as a shell would read them."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"^ *```.*?^ *```$", page.read_text(), flags=re.DOTALL | re.M):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.match(r"^ *(?:\$ )?(coord [a-z].*)$", line)
                if match and "…" not in match[1]:
                    found.append(match[1])
    return sorted(set(found))


def words_of(line: str) -> list[str]:
    """Return the words of the one command, without its comment and what is behind it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if word in ("|", "||", "&&", ";", ">", "<", "&", "2>", ">>"):
            break
        words.append(word)
    return words[1:]


@pytest.mark.parametrize("line", shown_commands())
def test_a_command_that_a_page_shows_is_read_as_it_stands(
    line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every option and argument exists; what the command does is shown by other tests."""
    from coordinator.cli import options
    from coordinator.cli.main import app

    command: Any = typer.main.get_command(app)
    options.attach(command)
    _without_callbacks(command)

    with pytest.raises(SystemExit) as end:
        command.main(args=words_of(line), prog_name="coord", obj={})

    assert end.value.code in (0, None), capfd.readouterr().err


def _without_callbacks(command: Any) -> None:
    command.callback = None
    for inner in getattr(command, "commands", {}).values():
        _without_callbacks(inner)


def test_pages_show_commands() -> None:
    assert len(shown_commands()) >= 20
