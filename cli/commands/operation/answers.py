"""Statements of a text, one after the other, and how their answers are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordinator.cli.commands.operation.common import waited
from coordinator.cli.shared import Shared

if TYPE_CHECKING:
    from coordinator.app.admin.operations.script import Piece
    from coordinator.app.admin.operations.session import Accepted, Answer, Session


def run_text(options: Shared, session: Session, text: str, *, wait: bool) -> int:
    """Run the statements of a text; return the exit code.

    Errors: UsageError or NotFoundError with the lines of the first statement that is refused.
    """
    from coordinator.app.admin.operations.script import Piece, split

    pieces = split(text)
    if not pieces:
        pieces = [Piece(text, 0, True)]  # its own error says what a statement is
    return max(run_piece(options, session, piece, wait=wait) for piece in pieces)


def run_piece(options: Shared, session: Session, piece: Piece, *, wait: bool) -> int:
    """Run one statement and print its answer; return the exit code."""
    from coordinator.app.admin.operations.session import Accepted, lines_of
    from coordinator.errors import NotFoundError, StatementError, UsageError

    try:
        answer = session.run(piece)
    except StatementError as error:
        kind = NotFoundError if error.sqlstate == "42704" else UsageError
        raise kind("\n".join(lines_of(error, piece))) from error
    if not isinstance(answer, Accepted):
        print_answer(options, answer)
        return 0
    print_accepted(options, answer)
    return waited(options, session, answer.id) if wait else 0


def print_accepted(options: Shared, accepted: Accepted) -> None:
    """Print the verb and the id of an operation."""
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.operations.tables import accepted_document

    columns = ("verb", "id")
    emit(
        options,
        table=lambda: print(accepted.id if options.quiet else f"{accepted.verb} {accepted.id}"),
        rows=lambda: [columns, (accepted.verb, accepted.id)],
        document=accepted_document(accepted.verb, accepted.id),
    )


def print_answer(options: Shared, answer: Answer) -> None:
    """Print the rows of a query."""
    from coordinator.cli.render import tables
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.operations.tables import plain, rows_document, rows_parts

    rows: list[list[Any]] = [[plain(value) for value in row] for row in answer.rows]
    emit(
        options,
        table=lambda: tables.show(options, *rows_parts(answer.columns, rows)),
        rows=lambda: [answer.columns, *rows],
        document=rows_document(answer.columns, rows),
        lines=[dict(zip(answer.columns, row, strict=True)) for row in rows],
    )
