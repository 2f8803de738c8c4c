"""The first lines of `coord`: a node that is about to start is not ended by a signal meant for it.

HUP, USR1, USR2 and QUIT speak to a node, and their default action is to end the process that they
find. The command line takes seconds to load on a busy machine; until the guardian listens, what
comes waits.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from typing import NoReturn

#: Signals that a running node understands; a starting one holds them back. TERM and INT end both.
HELD_BACK = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
#: The shared options that take a value; the names are declared in `options`, which needs typer.
WITH_VALUE = frozenset(
    [
        "-c",
        "--config",
        "--database-url",
        "-g",
        "--group",
        "-o",
        "--output",
        "--time",
        "--color",
        "--timeout",
    ]
)


def main() -> NoReturn:
    """Hold the signals back for `coord run`, then load the command line and run it."""
    if starts_node(sys.argv[1:]):
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    from coordinator.cli.main import main as command_line

    command_line()


def starts_node(arguments: Iterable[str]) -> bool:
    """Tell whether the command is `run`: the first word that is no option and no option's value."""
    words = iter(arguments)
    for word in words:
        if word in WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word == "run"
    return False
