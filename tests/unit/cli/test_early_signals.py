"""Signals to a node that is only loading do not end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from coordinator.cli import entry, options
from coordinator.runtime.linux import spawn

#: Prints the signals that are blocked when the command line begins to load, and whether it has.
LOADING = """
import signal, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "coordinator.cli.main":
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            print(sorted(int(one) for one in blocked), "typer" in sys.modules)
            raise SystemExit(0)
sys.meta_path.insert(0, Watch())
from coordinator.cli.entry import main
main()
"""
HELD_BACK = str(sorted(int(one) for one in entry.HELD_BACK))


@pytest.mark.parametrize(
    ("line", "starts"),
    [
        ("run", True),
        ("run -- status", True),
        ("-c run.toml -o json -v run --observe", True),
        ("--group=g run", True),
        ("", False),
        ("--help", False),
        ("-g", False),
        ("-g run status", False),
        ("task add run -- run", False),
        ("status run", False),
        ("help run", False),
    ],
)
def test_a_command_line_that_starts_a_node(line: str, starts: bool) -> None:
    assert entry.starts_node(line.split()) is starts


def test_the_entry_knows_every_shared_option_that_takes_a_value() -> None:
    prototype = typer.Typer()
    prototype.command()(options._prototype)
    known = {
        name
        for option in typer.main.get_command(prototype).params
        if option.name in options._prototype.__annotations__ and not option.is_flag
        for name in option.opts
    }
    assert known == entry.WITH_VALUE


@pytest.mark.parametrize(("command", "blocked"), [("run", HELD_BACK), ("status", "[]")])
def test_run_alone_holds_signals_back_and_before_it_loads_anything(
    command: str, blocked: str
) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", LOADING, command], capture_output=True, text=True
    )
    assert (answer.stdout, answer.stderr) == (f"{blocked} False\n", "")


def test_an_agent_is_executed_with_the_nodes_signals_ignored(tmp_path: Path) -> None:
    found = tmp_path / "found"
    pid = spawn.fork_agent(["sh", "-c", f"grep ^SigIgn /proc/self/status > {found}"], ())
    os.waitpid(pid, 0)

    ignored = int(found.read_text().split()[1], 16)
    wanted = (*entry.HELD_BACK, signal.SIGTERM, signal.SIGINT)
    assert [one.name for one in wanted if not ignored & 1 << one - 1] == []
