"""Picture of `coord demo` on a terminal of 24 rows: the killed node, the hint, the latest event."""

from __future__ import annotations

import io
import re

from rich.console import Console

from coordinator.app.admin.status import GroupLine, Status
from coordinator.cli.render.demo_display import Display
from tests.unit.cli.test_fitting import node
from tests.unit.cli.test_status_tables import SERVER, group

ADDRESS = "http://127.0.0.1:8009/"
HINT = "Ctrl-C stops the nodes and this demonstration"
GREEN = "\x1b[1;32m", "\x1b[32m"


def members(count: int) -> GroupLine:
    nodes = [node(f"node-{number}", "vm") for number in range(2, count + 1)]
    first = node("node-1", "vm", role="active")
    return group("demo", first, *nodes, state="active", holder="node-1", term=1)


class Shown:
    """Display on a terminal of 80 columns and 24 rows, and what it wrote."""

    def __init__(self) -> None:
        self._written = io.StringIO()
        screen = Console(
            file=self._written,
            force_terminal=True,
            color_system="standard",
            width=80,
            height=24,
            highlight=False,
            _environ={"TERM": "xterm"},
        )
        self.display = Display(screen)

    def drawn(self, line: GroupLine) -> str:
        """Return what one more picture writes."""
        before = len(self._written.getvalue())
        self.display.draw(Status(server=SERVER, groups=(line,)), line, "node-1 works: step 5")
        return self._written.getvalue()[before:]


def rows(written: str) -> list[str]:
    plain = re.sub(r"\r|\x1b\[[0-9;?]*[A-Za-z]", "", written)
    return [row.rstrip() for row in plain.splitlines()]


def test_a_killed_node_is_neither_green_nor_working_while_the_database_calls_it_active() -> None:
    shown = Shown()
    with shown.display:
        alive = shown.drawn(members(3))
        shown.display.killed = "node-1"
        killed = shown.drawn(members(3))

    assert any(colour in alive for colour in GREEN)
    assert "program: node-1 works: step 5" in rows(alive)
    assert not any(colour in killed for colour in GREEN)
    assert rows(killed)[0] == "demo: node-1 is killed; its lease runs out"
    assert "program: -" in rows(killed)
    assert [row.split()[:3] for row in rows(killed) if row.startswith("node-1")] == [
        ["node-1", "active", "killed"]
    ]


def test_the_hint_the_page_and_the_latest_event_are_visible_at_24_rows() -> None:
    for count in (2, 3, 10, 20):
        shown = Shown()
        with shown.display:
            shown.display.name_page(ADDRESS)
            for number in range(12):
                shown.display.say(f"event {number}: " + "long " * 18)
            seen = rows(shown.drawn(members(count)))

        assert len(seen) < 24
        assert HINT in seen
        assert f"the page: {ADDRESS}" in seen
        assert any("event 11" in row for row in seen), (count, seen)
        assert any(row.startswith("node-1 ") for row in seen)


def test_what_was_said_before_the_picture_is_not_said_again() -> None:
    shown = Shown()
    shown.display.say("starting the server")
    with shown.display:
        shown.display.say("starting the nodes")
        seen = rows(shown.drawn(members(2)))

    assert not any("starting the server" in row for row in seen)
    assert sum("starting the nodes" in row for row in seen) == 1
