"""`coord gate`: wait, inside a program, until its node is active."""

from __future__ import annotations

import typer

from coordinator.cli.shared import Output, shared


def gate(context: typer.Context) -> None:
    """Wait until this node is active; only inside a program that coord runs.

    Prints the term and the session for the shell: `opened=$(coord gate) || exit; eval "$opened"`.
    Without standby = "started" it does not wait. Exit code 76: the gate was closed for good.
    """
    from coordinator.app.held.gate import gate as wait_at_gate

    options = shared(context)
    opened = wait_at_gate()
    if options.output is Output.TABLE:
        print(f"export COORD_TERM={opened.term} COORD_SESSION={opened.session}")
        return
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit

    fields = opened._asdict()
    emit(
        options,
        table=lambda: None,
        rows=lambda: documents.as_rows(fields),
        document={"apiVersion": documents.API_VERSION, "kind": "Gate", **fields},
    )
