"""Entry point of `coord`: signals meant for a node do not kill it while it is still starting.

HUP, USR1, USR2 and QUIT are requests to a running node, but by default each ends the process. The
command line takes seconds to load on a busy machine; a signal that arrives meanwhile stays pending
until the guardian listens.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from typing import NoReturn

#: Signals that a running node handles and a starting one blocks. TERM and INT end both.
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
    """Block the signals for `coord run`, then load the command line and run it."""
    if starts_node(sys.argv[1:]):
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    from coordinator.cli.main import main as command_line

    command_line()


def starts_node(arguments: Iterable[str]) -> bool:
    """Return True if the first word that is neither option nor option's value is `run`."""
    words = iter(arguments)
    for word in words:
        if word in WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word == "run"
    return False
