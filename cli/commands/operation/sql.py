"""`coord sql`: CREATE TASK, CANCEL TASK and SELECT, from the command line, a file or a prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.commands.operation.answers import run_text
from coordinator.cli.commands.operation.common import open_session
from coordinator.cli.shared import shared


def sql(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Option("--command", "-c", metavar="TEXT", help="Run these statements; repeatable."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help='Run the statements of a file; "-": stdin.'
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for each operation, and show how it gets on.")
    ] = False,
) -> None:
    """Run CREATE TASK, CANCEL TASK and SELECT; without -c and -f, from a prompt.

    The first statement that fails ends the run. With --wait the exit code is 0 when every
    operation is COMPLETE, else 3. At the prompt \\? shows what can be typed.
    """
    options = shared(context)
    texts = [*(command or ()), *(_read(path) for path in file or ())]
    with open_session(options) as session:
        if texts or not sys.stdin.isatty():
            if not texts:
                texts = [_read(Path("-"))]
            code = 0
            for text in texts:
                code = max(code, run_text(options, session, text, wait=wait))
            raise typer.Exit(code)
        from coordinator.cli.commands.operation.prompt import prompt

        prompt(options, session, wait=wait)


def _read(path: Path) -> str:
    from coordinator.errors import UsageError

    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--file {path}: {error}") from error
