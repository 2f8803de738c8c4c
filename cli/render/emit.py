"""Output of an answer in the requested format; no other module lists the formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from coordinator.cli.errors import API_VERSION
from coordinator.cli.render.documents import as_rows, one, pretty, tsv
from coordinator.cli.render.units import safe
from coordinator.cli.shared import Output, Shared


def emit(
    options: Shared,
    *,
    table: Callable[[], None],
    rows: Callable[[], Iterable[Sequence[Any]]],
    document: Mapping[str, Any],
    lines: Iterable[Mapping[str, Any]] | None = None,
) -> None:
    """Print one answer.

    table: prints the answer for people.
    rows: returns the rows of `-o tsv`, the names of the columns first.
    document: the document of `-o json`.
    lines: the documents of `-o jsonl`, one a line; by default the one document.
    """
    match options.output:
        case Output.TABLE:
            table()
        case Output.TSV:
            print(tsv(rows()))
        case Output.JSON:
            print(pretty(document))
        case Output.JSONL:
            for each in (document,) if lines is None else lines:
                print(one(each))


def print_done(options: Shared, sentence: str, *, kind: str = "Done", **facts: Any) -> None:
    """Print a sentence about what was done; as a document with the facts beside it otherwise.

    -q leaves the sentence out, and never a document.
    """
    if options.output is Output.TABLE and options.quiet:
        return
    fields = {"message": sentence, **facts}
    emit(
        options,
        table=lambda: print(safe(sentence)),
        rows=lambda: as_rows(fields),
        document={"apiVersion": API_VERSION, "kind": kind, **fields},
    )
