"""`coord status -w` on a terminal: the whole screen, its size, its colours, and its end."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Database
from tests.e2e.test_cli_look import filled
from tests.support.terminal import Terminal

pytestmark = pytest.mark.real

__all__ = ["filled"]

TAKEN, GIVEN_BACK, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
HINT = b"Ctrl-C ends"


@pytest.fixture
def watching(filled: Database) -> Callable[..., Terminal]:
    """Start `coord status -w` on a terminal."""

    def start(*arguments: str, **environ: str) -> Terminal:
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("COORD_", "PG")) and key not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        here = {
            "COORD_DATABASE_URL": filled.conninfo,
            "COORD_DATABASE_SCHEMA": filled.schema,
            "TERM": "xterm-256color",
        }
        command = [sys.executable, "-m", "coordinator.cli", "status", "-w", "0.2", *arguments]
        return Terminal(command, clean | here | environ)

    return start


def test_the_screen_is_filled_in_colours_drawn_anew_and_given_back(
    watching: Callable[..., Terminal],
) -> None:
    with watching("orders") as terminal:
        first = terminal.until(lambda said: said.count(HINT) >= 2)
        terminal.resize(10, 60)
        narrow = terminal.until(lambda said: _widest(said) <= 60)
        terminal.type(b"\x03")
        code = terminal.end()

        assert terminal.unchanged()
    assert code == 130
    assert b"\x1b[32mnode-2" in first
    assert b"\x1b[36mnode-3" in first
    assert HINT in narrow
    assert terminal.written.count(TAKEN) == terminal.written.count(GIVEN_BACK) == 1
    assert terminal.written.index(TAKEN) < terminal.written.index(b"node-2")
    assert terminal.written.rindex(CURSOR) < terminal.written.index(GIVEN_BACK)
    assert b"node" not in terminal.written.partition(GIVEN_BACK)[2]


def _widest(said: bytes) -> int:
    """Return the columns of the last whole picture that was drawn; a large number before one."""
    pictures = said.split(b"\x1b[H")
    if len(pictures) < 3:
        return 1000
    return max(len(line) for line in _plain(pictures[-2]).splitlines())


def _plain(said: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode()).replace("\r", "")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_finds_the_screen_given_back(
    signum: signal.Signals, watching: Callable[..., Terminal]
) -> None:
    with watching() as terminal:
        terminal.until(lambda said: HINT in said)
        terminal.process.send_signal(signum)
        code = terminal.end()

    assert code == 128 + signum
    assert terminal.written.count(GIVEN_BACK) == 1


def test_a_stop_gives_the_screen_back_and_takes_it_again_when_it_goes_on(
    watching: Callable[..., Terminal],
) -> None:
    """The kernel stops no session leader, as the command is here: it goes on at once."""
    with watching() as terminal:
        terminal.until(lambda said: HINT in said)
        terminal.process.send_signal(signal.SIGTSTP)
        said = terminal.until(lambda said: HINT in said.partition(GIVEN_BACK)[2])

    assert TAKEN in said.partition(GIVEN_BACK)[2].partition(HINT)[0]


def test_a_terminal_that_cannot_be_drawn_gets_lines(watching: Callable[..., Terminal]) -> None:
    with watching(TERM="dumb") as terminal:
        said = terminal.until(lambda said: said.count(b"orders") >= 2)

    assert b"\x1b" not in said


def test_no_color_fills_the_screen_without_colours(watching: Callable[..., Terminal]) -> None:
    with watching("orders", NO_COLOR="1") as terminal:
        said = terminal.until(lambda said: HINT in said)

    assert TAKEN in said
    assert not any(f"\x1b[{colour}m".encode() in said for colour in range(31, 37))
