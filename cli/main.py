"""Command line of `coord`: every command, and the report of every error.

Only typer and the standard library are imported here and in the modules of the commands; a heavy
module is imported inside the command that needs it.
"""

from __future__ import annotations

import io
import sys
from functools import cache
from typing import Annotated, Any, NoReturn

import typer

from coordinator import __version__
from coordinator.cli import errors, manual, options, shared
from coordinator.cli.commands import config as config_command
from coordinator.cli.commands import db, demo, doctor, init
from coordinator.cli.commands import run as run_command
from coordinator.cli.commands.checkpoint import commands as checkpoint_commands
from coordinator.cli.commands.group import commands as group_commands
from coordinator.cli.commands.look import check, events, explain, history, nodes
from coordinator.cli.commands.look import status as status_command
from coordinator.cli.commands.node import ended as node_ended
from coordinator.cli.commands.observer import commands as observer_commands
from coordinator.cli.commands.once import once, tick, when_active
from coordinator.cli.commands.operation import commands as operation_commands
from coordinator.cli.commands.operation import sql as sql_command
from coordinator.cli.commands.planned import handovers, pauses, run_task
from coordinator.cli.commands.planned import nodes as planned_nodes
from coordinator.cli.commands.print import commands as print_commands
from coordinator.cli.commands.program import gate, state
from coordinator.cli.commands.task import commands as task_commands
from coordinator.cli.commands.token import commands as token_commands
from coordinator.cli.commands.ui import commands as ui_command
from coordinator.runtime.linux.descriptors import open_standard

app = typer.Typer(
    name="coord",
    help="Exactly one active instance of a program among many nodes, over PostgreSQL.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def version(context: typer.Context) -> None:
    """Print the version."""
    import platform

    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit

    facts = {"version": __version__, "python": platform.python_version()}
    emit(
        shared.shared(context),
        table=lambda: print(__version__),
        rows=lambda: documents.as_rows(facts),
        document={"apiVersion": errors.API_VERSION, "kind": "Version", **facts},
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Exactly one active instance of a program among many nodes, over PostgreSQL."""


app.command(
    cls=run_command.Configurable,
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    epilog=run_command.SIGNALS,
)(run_command.run)
app.command(
    cls=once.OneRun,
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    epilog=once.EXIT_CODES,
)(once.once)
app.command(
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    epilog=when_active.EXIT_CODES,
)(when_active.when_active)
app.command()(tick.tick)
app.command(cls=status_command.Watchable)(status_command.status)
app.command()(status_command.leader)
app.command()(history.history)
app.command()(explain.explain)
app.command()(events.events)
app.command()(events.jobs)
app.command()(check.check)
app.command()(check.wait)
task_commands.app.command(epilog=run_task.EXIT_CODES)(run_task.run)
app.add_typer(task_commands.app, name="task")
app.add_typer(state.app, name="state")
app.add_typer(checkpoint_commands.app, name="checkpoint")
app.command()(gate.gate)
app.add_typer(token_commands.app, name="token")
app.command()(nodes.nodes)
app.add_typer(observer_commands.app, name="observer")
app.command()(nodes.evict)
app.command()(sql_command.sql)
app.add_typer(operation_commands.app, name="operation")
app.add_typer(group_commands.app, name="group")
app.command()(handovers.switchover)
app.command()(handovers.resign)
app.command()(pauses.pause)
app.command()(pauses.resume)
app.command()(planned_nodes.drain)
app.command()(planned_nodes.undrain)
planned_nodes.node_app.command()(node_ended.ended)
app.add_typer(planned_nodes.node_app, name="node")
app.command()(demo.demo)
app.command()(ui_command.ui)
app.command()(init.init)
app.add_typer(print_commands.app, name="print")
app.command()(doctor.doctor)
app.add_typer(config_command.app, name="config")
app.add_typer(db.app, name="db")
app.command("help")(manual.help_command)
app.command()(version)


@cache
def command() -> Any:
    """Return the tree of all commands, each with the shared options."""
    tree: Any = typer.main.get_command(app)
    options.attach(tree)
    return tree


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    open_standard()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A character that the terminal's encoding lacks is written as \u20ac, and ends no command.
        sys.stdout.reconfigure(errors="backslashreplace")
    given: dict[str, Any] = {}
    try:
        code = _run(command(), argv, given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = errors.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the top of the program reports every error
        code = errors.report(error, verbose=shared.verbose(given), as_json=shared.wants_json(given))
    sys.exit(code)


def _run(tree: Any, argv: list[str] | None, given: dict[str, Any]) -> int | str | None:
    """Run the command and return its exit code; typer has printed usage errors by then."""
    try:
        tree.main(args=argv, prog_name="coord", obj=given)
    except SystemExit as end:
        # typer ends with 1, like any failure, when the reader of stdout is gone.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        return end.code
    return 0
