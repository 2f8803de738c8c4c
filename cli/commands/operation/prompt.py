"""The prompt of `coord sql`: history, completion, and commands that begin with a backslash."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from coordinator.app.admin.operations.completion import Known, candidates
from coordinator.app.admin.operations.script import Piece, split
from coordinator.cli.commands.operation.answers import run_piece
from coordinator.cli.errors import report
from coordinator.errors import CoordError

if TYPE_CHECKING:
    from coordinator.app.admin.operations.session import Session
    from coordinator.cli.shared import Shared

FIRST, MORE = "coord=> ", "coord-> "
HELP = """\
CREATE TASK [name] TYPE type [LOCATION SYSTEM | CLUSTER name | NODE name] [OPTIONS key = value];
CANCEL TASK 'name or id';
SELECT ... FROM sys.tasks;       a statement ends with a semicolon
\\d            the views of sys, and the types of operations with their options
\\d NAME       the columns of a view
\\w REF        wait for an operation
\\q            quit; so does Ctrl-D. Ctrl-C leaves a line, or a wait"""
_VIEWS = """
SELECT there.relname AS view, 'sys.' || there.relname AS name
FROM pg_catalog.pg_class AS there
JOIN pg_catalog.pg_namespace AS home ON home.oid = there.relnamespace
WHERE home.nspname = 'sys' AND there.relkind = 'v' ORDER BY 1
"""
_COLUMNS = """
SELECT attname AS column, format_type(atttypid, atttypmod) AS type
FROM pg_catalog.pg_attribute
WHERE attrelid = to_regclass('sys.' || quote_ident('{name}')) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""


class _Completions(Completer):
    """Completion of keywords, types, options, and the names of what exists."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def get_completions(self, document: Document, _event: object) -> Iterable[Completion]:
        """Return what may stand at the cursor, for the text before it."""
        for word, typed in candidates(document.text_before_cursor, self._known):
            yield Completion(word, start_position=-typed)


def prompt(options: Shared, session: Session, *, wait: bool) -> None:
    """Read statements and answer them until the end of the input; an error ends no prompt."""
    known = known_to(session)
    reader: PromptSession[str] = PromptSession(
        history=_history(), completer=_Completions(known), complete_while_typing=False
    )
    for text in _statements(reader):
        try:
            _answer(options, session, text, wait=wait)
        except KeyboardInterrupt:
            print("left: the operation goes on")
        except CoordError as error:
            report(error, verbose=options.verbose)


def known_to(session: Session) -> Known:
    """Read the names for the completion; none where they cannot be read."""
    try:
        types, names = session.store.types(), session.store.names()
        views = [str(row[1]) for row in session.store.select(_VIEWS)[1]]
    except CoordError:
        return Known()
    return Known(
        types={row["name"]: tuple(row["options"]) for row in types},
        names=tuple((row["kind"], row["name"]) for row in names),
        views=tuple(views),
    )


def _statements(reader: PromptSession[str]) -> Iterator[str]:
    """Yield what was typed: up to a semicolon, or a line that begins with a backslash."""
    typed = ""
    while True:
        try:
            typed += reader.prompt(MORE if typed else FIRST) + "\n"
        except KeyboardInterrupt:
            typed = ""
            continue
        except EOFError:
            return
        if typed.lstrip().startswith("\\q"):
            return
        if typed.lstrip().startswith("\\"):
            yield typed.strip()
            typed = ""
            continue
        pieces = split(typed)
        if pieces and pieces[-1].ended:
            yield typed
        if not pieces or pieces[-1].ended:
            typed = ""


def _answer(options: Shared, session: Session, text: str, *, wait: bool) -> None:
    if not text.startswith("\\"):
        for piece in split(text):
            run_piece(options, session, piece, wait=wait)
        return
    word, _, rest = text[1:].partition(" ")
    rest = rest.strip().removesuffix(";").strip("'")
    if word == "w" and rest:
        from coordinator.cli.commands.operation.common import waited

        waited(options, session, rest)
    elif word == "d":
        _describe(options, session, rest.removeprefix("sys."))
    else:
        print(HELP)


def _describe(options: Shared, session: Session, name: str) -> None:
    if re.fullmatch(r"[a-z_]{1,60}", name):
        run_piece(options, session, Piece(_COLUMNS.format(name=name), 0, True), wait=False)
        return
    run_piece(options, session, Piece(_VIEWS, 0, True), wait=False)
    for row in session.store.types():
        print(f"{row['name']}: {', '.join(row['locations'])}; {_options(row['options'])}")


def _options(declared: dict[str, Any]) -> str:
    return ", ".join(f"{key} ({each['kind']})" for key, each in declared.items()) or "no options"


def _history() -> History:
    from platformdirs import user_state_path

    try:
        home: Path = user_state_path("coord", ensure_exists=True)
        path = home / "sql_history"
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
