"""Output of an answer in the requested format; no other module lists the formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from coordinator.cli.render.documents import one, pretty, tsv
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
