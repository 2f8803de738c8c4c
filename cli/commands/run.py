"""`coord run`: make settings from the options, and start a node with them."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from coordinator.cli.shared import shared
from coordinator.errors import CoordError

if TYPE_CHECKING:
    from coordinator.app.config.model.table import Key

#: Entry of the context's `obj` that collects the options of settings, by key.
SETTINGS = "settings"


#: The last lines of `coord run --help`.
SIGNALS = (
    "Signals: TERM and INT end the program within --stop-timeout, then the node; HUP reads the"
    " configuration again; USR1 gives up the token; USR2 logs the state; QUIT logs the stacks."
    " HUP, USR1, USR2 and QUIT reach the program only if [program] forwardSignals names them."
)


class Configurable(TyperCommand):
    """Command with an option for each setting that has a flag.

    The options are made on demand: the models of Config.toml are not imported before.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of the settings, then the command's own parameters."""
        return [*setting_options(), *super().get_params(ctx)]


@cache
def setting_options() -> tuple[Any, ...]:
    """Return the options of all settings; each value given is stored in the context by its key."""
    from coordinator.app.config.model.names import run_options

    def prototype(**_: object) -> None:
        """Carry the signature from which typer makes the options."""

    parameters = [_parameter(each) for each in run_options()]
    prototype.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command()(prototype)
    names = {parameter.name for parameter in parameters}
    params: list[Any] = typer.main.get_command(app).params
    return tuple(param for param in params if param.name in names)


def _parameter(each: Key) -> Parameter:
    from coordinator.app.config.model.table import choices

    stated, kind = each.setting, each.type
    words = tuple(stated.words) or choices(kind)
    enumerated: Any = StrEnum
    one_of = enumerated("Word", {word: word for word in words}) if words else str

    def keep(context: typer.Context, value: Any) -> None:
        if value is not None and value is not False:
            word = str(value)
            given = context.obj.setdefault(SETTINGS, {})
            given[".".join(each.keys)] = value is True or stated.words.get(word, word)

    option = typer.Option(
        *stated.flags,
        help=_help(each),
        metavar="SECS" if kind is float else stated.metavar,
        callback=keep,
        expose_value=False,
        show_default=False,
    )
    name = "_".join(each.keys)
    default = False if kind is bool else None
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        annotation=Annotated[bool if kind is bool else one_of, option],
        default=default,
    )


def _help(each: Key) -> str:
    """Return the first sentence about a setting, and the environment variable that sets it."""
    first = each.setting.help or re.split(r"(?<=\.) (?=[A-Z])", each.text)[0]
    return f"{first} [env: {each.setting.env}]" if each.setting.env else first


def run(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--] [COMMAND]...", help="The program, with its own options."),
    ] = None,
) -> None:
    """Run a node of a group.

    COMMAND, or the program of Config.toml, runs here while this node holds the group's token.
    With --tasks the group has many tasks instead, and this node runs its share of them.
    """
    chosen = shared(context)
    flags: dict[str, Any] = dict(context.obj.get(SETTINGS, {}))
    if chosen.quiet or chosen.verbose:
        flags["log.level"] = "error" if chosen.quiet else "debug"
    from coordinator.app.node.start import run_node
    from coordinator.cli.connect import settings_of

    form = {"style": flags.get("log.format"), "node": flags.get("taskId"), "group": chosen.group}
    try:
        settings = settings_of(chosen, flags=flags, argv=tuple(command or ()))
        form = {"style": settings.log_format, "group": settings.group_id, "node": settings.task_id}
        run_node(settings)
    except CoordError as error:
        _refuse(error, **form)


def _refuse(
    error: CoordError, *, style: str | None, group: str | None, node: str | None
) -> NoReturn:
    """Exit with an error, printed as JSON if the node's log lines would be JSON."""
    import os
    import sys

    from coordinator.runtime.log.line_form import voice_for

    style = style or os.environ.get("COORD_LOG_FORMAT") or "auto"
    voice = voice_for(2, style, "info", group=group or "", node=node or "")
    if voice.style != "json":
        raise error
    sys.stderr.write(voice.line(str(error), "ERROR", "not-started"))
    raise typer.Exit(error.exit_code)
