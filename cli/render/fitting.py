"""Tables and lines that fit a narrow terminal: unimportant parts go first, and never a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coordinator.cli.render.units import safe

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.measure import Measurement
    from rich.table import Table

#: Spaces between two columns.
GAP = 2
#: A name is never cut to fewer letters than this.
LETTERS_MIN = 6
#: Letters to which names are cut before a column is dropped: most are still told apart.
NAME_LETTERS = 14
#: A table keeps so many rows of a screen, its header among them.
ROWS_MIN = 3
#: The longest bar of a plot, in columns.
BAR_COLUMNS = 40


class FittedTable:
    """Table without rules; a column named ">X" holds numbers.

    If it is too wide, the columns in `extra` are dropped, before any text is cut. Then the names in
    the columns `names` are cut, then those in `ends`, which keep what follows their last colon.
    Then the columns in `droppable` are dropped, in this order, and at last the longest texts are
    cut. Texts of the columns in `wraps` are wrapped instead.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        styles: Sequence[str] = (),
        *,
        names: Sequence[str] = (),
        ends: Sequence[str] = (),
        extra: Sequence[str] = (),
        droppable: Sequence[str] = (),
        wraps: Sequence[str] = (),
    ) -> None:
        self._columns = list(columns)
        self._rows = [[safe(cell) for cell in row] for row in rows]
        self._styles = list(styles) or [""] * len(rows)
        self._names, self._ends = names, ends
        self._extra, self._droppable, self._wraps = extra, droppable, wraps

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table for the available width."""
        yield self._table(options.max_width)

    def _table(self, width: int) -> Table:
        from rich.table import Table
        from rich.text import Text

        kept, widths = self._fit(width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for index in kept:
            name = self._columns[index]
            wraps = name in self._wraps
            table.add_column(
                name.removeprefix(">"),
                justify="right" if name.startswith(">") else "left",
                no_wrap=not wraps,
                overflow="fold" if wraps else "ellipsis",
                max_width=widths[index],
            )
        for row, style in zip(self._rows, self._styles, strict=True):
            cells = (self._cell(row[index], index, widths[index]) for index in kept)
            table.add_row(*(Text(cell, style=style) for cell in cells))
        return table

    def _fit(self, width: int) -> tuple[list[int], dict[int, int]]:
        """Return the columns that stay, and the greatest width of each."""
        kept = list(range(len(self._columns)))
        widths = {index: self._natural(index) for index in kept}

        def excess() -> int:
            return sum(widths[index] + GAP for index in kept) - GAP - width

        def give_way(columns: Sequence[str], letters: int) -> None:
            """Cut the widest of the columns until the table fits, or all are short."""
            while excess() > 0:
                able = [
                    index
                    for index in kept
                    if self._columns[index] in columns
                    and widths[index] > max(letters, self._least(index))
                ]
                if not able:
                    return
                widths[max(able, key=widths.__getitem__)] -= 1

        def drop(columns: Sequence[str]) -> None:
            """Drop one column after the other until the table fits."""
            nonlocal kept
            for name in columns:
                if excess() > 0:
                    kept = [index for index in kept if self._columns[index] != name]

        drop(self._extra)
        give_way(self._names, NAME_LETTERS)
        give_way(self._ends, NAME_LETTERS)
        drop(self._droppable)
        give_way((*self._names, *self._ends), LETTERS_MIN)
        texts = [index for index in kept if not self._columns[index].startswith(">")]
        wrapping = [index for index in texts if self._columns[index] in self._wraps]
        for _ in range(sum(widths.values())):
            if excess() <= 0:
                break
            widest = max(wrapping or texts, key=widths.__getitem__, default=None)
            if widest is None or widths[widest] <= LETTERS_MIN:
                break
            widths[widest] -= 1
        return kept, widths

    def _least(self, index: int) -> int:
        """Return the width below which a name is not cut; figures behind its colon stay."""
        if self._columns[index] not in self._ends:
            return LETTERS_MIN
        tails = [len(row[index].rpartition(":")[2]) for row in self._rows]
        return max([LETTERS_MIN, *(tail + 3 for tail in tails)])

    def _cell(self, text: str, index: int, width: int) -> str:
        """Return a cell; one that has to end with its figures is cut in its middle."""
        if self._columns[index] not in self._ends or len(text) <= width:
            return text
        name, colon, tail = text.rpartition(":")
        return f"{name[: max(1, width - len(tail) - 2)]}…{colon}{tail}"

    def _natural(self, index: int) -> int:
        from rich.cells import cell_len

        head = len(self._columns[index].removeprefix(">"))
        return max([head, *(cell_len(row[index]) for row in self._rows)])


class FittedLine:
    """Parts of one line; if it is too long, up to `droppable` parts are dropped from its end."""

    def __init__(self, parts: Sequence[str], *, droppable: int) -> None:
        self._parts, self._droppable = list(parts), droppable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Write the line for the available width."""
        from rich.text import Text

        for kept in range(len(self._parts), len(self._parts) - self._droppable - 1, -1):
            line = "  ".join(self._parts[:kept])
            if len(line) <= options.max_width:
                break
        yield Text(line, style="dim")


class FittedScreen:
    """Table and the parts below it; a low terminal loses rows of the table, and none below it.

    kept: rows of the terminal that others use.
    """

    def __init__(self, parts: Sequence[RenderableType], *, kept: int = 0) -> None:
        self._table, self._below, self._kept = parts[0], parts[1:], kept

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the size that the terminal has now."""
        from rich.console import Group
        from rich.segment import Segment
        from rich.text import Text

        free = options.update(height=None)
        height = (options.height or console.size.height) - self._kept
        table = console.render_lines(self._table, free, pad=False)
        below = console.render_lines(Group(*self._below), free, pad=False)
        room = max(ROWS_MIN, height - len(below))
        if len(table) > room:
            hidden = len(table) - room + 1
            note = Text(f"{hidden} more rows do not fit this terminal", style="dim")
            table = [*table[: room - 1], *console.render_lines(note, free, pad=False)]
        below = below[-max(1, height - len(table)) :]
        for line in [*table, *below]:
            yield from line
            yield Segment.line()


class FittedBar:
    """Bar that shows a fraction, as long as the available width allows."""

    def __init__(self, fraction: float, style: str) -> None:
        self._fraction, self._style = fraction, style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return the least and the greatest width of the bar."""
        from rich.measure import Measurement

        return Measurement(1, min(BAR_COLUMNS, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the bar for the available width."""
        from rich.text import Text

        columns = min(BAR_COLUMNS, options.max_width)
        yield Text(bar(self._fraction, columns), style=self._style)


def bar(fraction: float, columns: int = BAR_COLUMNS) -> str:
    """Draw a fraction of `columns` in eighths of a column; anything above 0 is visible."""
    eighths = max(1, round(fraction * columns * 8)) if fraction > 0 else 0
    full, rest = divmod(eighths, 8)
    return "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
