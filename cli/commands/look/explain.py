"""`coord explain`: why this node, why nobody, what happens next and when, in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli import complete
from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.shared import Shared, named_group, shared
from coordinator.errors import DatabaseUnreachableError, NotFoundError, SchemaError

if TYPE_CHECKING:
    from coordinator.app.admin.explain.facts import Explanation
    from coordinator.app.admin.explain.reader import Explainer


def explain(
    context: typer.Context,
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[GROUP|TASK]",
            help="A group, a task of the configured group, or GROUP/TASK; default: that group.",
            autocompletion=complete.groups_and_tasks,
        ),
    ] = None,
) -> None:
    """Explain in words why a node is active, or why nobody is, and what happens next."""
    from coordinator.cli.render import documents, tables
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.units import safe

    options = shared(context)
    with open_explainer(options) as (explainer, configured):
        group, task = chosen(subject, named_group(options, None) or configured, explainer.groups())
        found, asked = explainer.explain(group, task)
    head = documents.head("Explanation", asked)
    fields = explanation_fields(group, task, found)

    def table() -> None:
        first, *others = found.sentences
        tables.show(options, safe(first), *(safe(f"- {each}") for each in others))

    emit(
        options,
        table=table,
        rows=lambda: (
            [("subject", "state", "sentence")]
            + [(found.subject, found.state, each) for each in found.sentences]
        ),
        document=head | fields,
    )


def explanation_fields(group: str, task: str | None, found: Explanation) -> dict[str, Any]:
    """Return an explanation as the fields of a document."""
    return {
        "groupId": group,
        "task": task,
        "state": found.state,
        "sentences": list(found.sentences),
        "expectedInSeconds": None if found.expected_s is None else round(found.expected_s, 3),
    }


def chosen(subject: str | None, configured: str, groups: tuple[str, ...]) -> tuple[str, str | None]:
    """Return the group and the task that an argument names.

    A group goes before a task of the same name; GROUP/TASK names the task in any case.
    Errors: NotFoundError when a name has letters that no name has.
    """
    if subject is None:
        return configured, None
    if not subject.isascii():
        raise NotFoundError(f"there is no group or task {subject!a}: names have ASCII letters only")
    if subject in groups:
        return subject, None
    group, slash, task = subject.rpartition("/")
    if slash:
        return group, task
    return (configured, subject) if configured in groups else (subject, None)


@contextmanager
def open_explainer(options: Shared) -> Iterator[tuple[Explainer, str]]:
    """Open the explainer within the time-out; explain an outage where nothing can be asked."""
    from coordinator.app.admin.explain import outage
    from coordinator.app.admin.explain.reader import Explainer

    settings = database_settings_of(options)
    resolved = database_of(options, settings)
    try:
        with within(options.timeout_s, resolved.label):
            explainer = Explainer(
                resolved, schema=settings.database.schema, timeout_s=options.timeout_s
            )
            try:
                yield explainer, settings.group_id
            finally:
                explainer.close()
    except DatabaseUnreachableError as error:
        lines = outage.while_away(str(error), settings.liveness_s)
        raise DatabaseUnreachableError("\n".join(lines)) from error
    except SchemaError as error:
        raise SchemaError("\n".join(outage.wrong_schema(str(error)))) from error
