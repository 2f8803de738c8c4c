"""`coord once`: from every machine's crontab, one start for each slot in the whole group."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from coordinator.cli.commands.run import SETTINGS, Configurable, setting_options
from coordinator.cli.shared import shared
from coordinator.errors import UsageError

#: Settings of a node that a single run of a command has, too.
KEPT = frozenset(
    {
        *("taskId", "heartbeatFrequency", "livenessCheckInterval", "stopTimeout", "isolation"),
        *("program.shell", "passDatabase", "requireDatabase", "log.format"),
    }
)
EXIT_CODES = (
    "Exit codes: the command's own where it ran; where it did not, 0, or that of"
    " --conflict-exit-code; 75 when nobody runs the slot (too old, or the last run still goes on);"
    " 76 when the token was lost, and the command stopped. A machine that starts nothing prints"
    " nothing, so that cron sends no mail; -v says why."
)


class OneRun(Configurable):
    """Command with the options of `coord run` that make sense for one run of a command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of those settings, then the command's own parameters."""
        kept = {"_".join(key.split(".")) for key in KEPT}
        dropped = [option for option in setting_options() if option.name not in kept]
        return [param for param in super().get_params(ctx) if param not in dropped]


def once(
    context: typer.Context,
    slot: Annotated[
        str,
        typer.Option(
            "--slot",
            metavar="CRON",
            help='The line\'s own five cron fields ("*/5 * * * *"), or a duration ("30s").',
        ),
    ],
    command: Annotated[
        list[str],
        typer.Argument(metavar="[--] COMMAND...", help="The program, with its own options."),
    ],
    retry_after: Annotated[
        str | None,
        typer.Option(
            "--retry-after",
            metavar="SECS",
            help="Run the slot again so long after its starter died. Default: never.",
        ),
    ] = None,
    early: Annotated[
        str | None,
        typer.Option(
            "--early", metavar="SECS", help="Wait for a slot that is so near; default 2 minutes."
        ),
    ] = None,
    late: Annotated[
        str | None,
        typer.Option(
            "--late",
            metavar="SECS",
            help="Run a slot up to this age; default half of the way to the next, at most 10 min.",
        ),
    ] = None,
    spread: Annotated[
        str | None,
        typer.Option(
            "--spread",
            metavar="SECS",
            help="Spread the machines over so many seconds, so that most find the slot started;"
            " default 5, at most a fifth of the way to the next slot.",
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="ZONE", help="Zone of CRON; default the machine's."),
    ] = None,
    conflict_exit_code: Annotated[
        int,
        typer.Option(
            "-E",
            "--conflict-exit-code",
            metavar="CODE",
            min=0,
            max=255,
            help="Exit code of a machine that starts nothing.",
        ),
    ] = 0,
) -> None:
    """Run COMMAND once for each slot in the whole group, from every machine's crontab.

    The database's clock names the slot. --group names the job, the same on all machines; without
    it, slot and command do.
    """
    chosen = shared(context)
    flags: dict[str, Any] = dict(context.obj.get(SETTINGS, {}))
    flags["conflictExitCode"] = conflict_exit_code
    flags["log.level"] = "debug" if chosen.verbose else "error" if chosen.quiet else "warning"
    from coordinator.app.node.once.slot import EARLY_S, local_zone, slots_of
    from coordinator.app.node.once.start import Tell, Wanted, group_of, run_once
    from coordinator.cli.connect import settings_alone
    from coordinator.cli.errors import say
    from coordinator.protocol.rules.once_per_slot import SPREAD_S

    argv = tuple(command)
    wanted = Wanted(
        slots=slots_of(slot, timezone or local_zone()),
        early_s=_seconds("--early", early, EARLY_S),
        late_s=None if late is None else _seconds("--late", late, 0.0),
        spread_s=_seconds("--spread", spread, SPREAD_S),
        retry_after_s=None if retry_after is None else _seconds("--retry-after", retry_after, 0.0),
    )
    settings = settings_alone(chosen, flags=flags, argv=argv, group=group_of(slot, argv))

    def note(text: str) -> None:
        if chosen.verbose:
            say(f"{settings.group_id}: {text}")

    def alert(text: str) -> None:
        if not chosen.quiet:
            say(f"{settings.group_id}: warning: {text}")

    raise typer.Exit(run_once(settings, wanted, Tell(note, alert)))


def _seconds(option: str, text: str | None, default: float) -> float:
    """Return the seconds of an option."""
    from coordinator.app.config.model import values

    try:
        seconds = default if text is None else float(values.duration_s(text))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{option}: {error} (got {text!r})") from None
    if seconds < 0:
        raise UsageError(f"{option}: must not be negative (got {text!r})")
    return seconds
