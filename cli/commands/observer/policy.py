"""`coord observer policy`: the times by which the observer of a group judges its nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.commands.task.common import Reason
from coordinator.cli.connect import open_tasks
from coordinator.cli.shared import Output, shared

LATE_MAX = "lateMax"
#: Upper limit of lateMax; Config.toml has the same.
LATE_MOST = 1_000_000
#: This value removes the group's own: each node then uses its own file's, or its default.
DEFAULT = "default"


def policy(
    context: typer.Context,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE ...]",
            help="toMember, lateMax, lateWithin, observerGrace; KEY=default removes a value.",
        ),
    ] = None,
    reason: Reason = None,
) -> None:
    """Show the times by which nodes are judged, or change them for all nodes at once."""
    from coordinator.cli.render import documents, tables, task_documents, task_tables
    from coordinator.cli.render.emit import emit

    wanted = dict(map(_change, changes or ()))
    options = shared(context)
    with open_tasks(options) as (tasks, group, _):
        if wanted:
            changed = tasks.set_policy(group, wanted, reason)
        found = tasks.policy(group)
        head = documents.head("Policy", tasks.asked())
    if wanted and options.output is Output.TABLE:
        if not options.quiet:
            print(f"{group}: the policy {'is changed' if changed else 'is unchanged'}")
        return
    fields = task_documents.policy_fields(found)
    emit(
        options,
        table=lambda: tables.show(options, *task_tables.policy_parts(fields)),
        rows=lambda: [("key", "value"), *fields.items()],
        document=head | {"groupId": group, "policy": fields},
    )


def _change(word: str) -> tuple[str, float | None]:
    """Return the field that KEY=VALUE changes, and its new value; None removes the value."""
    from coordinator.cli.render.units import seconds_of
    from coordinator.protocol.messages.group_record import POLICY_KEYS

    key, equals, text = word.partition("=")
    field = next((field for field, known in POLICY_KEYS.items() if known == key), None)
    if not equals or field is None:
        known = ", ".join(POLICY_KEYS.values())
        raise typer.BadParameter(f"{word!r} is not KEY=VALUE; the keys are {known}")
    if text == DEFAULT:
        return field, None
    if key == LATE_MAX:
        if not text.isdecimal() or int(text) > LATE_MOST:
            raise typer.BadParameter(f"{key}: {text!r} is not a number from 0 to {LATE_MOST}")
        return field, int(text)
    if text.rstrip("s ") == "0" and key != "lateWithin":
        return field, 0.0
    try:
        return field, seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"{key}: {error}") from None
