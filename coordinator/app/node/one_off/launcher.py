"""Process that becomes the command of a one-off: `python -m coordinator.app.node.one_off.launcher`.

The guardian starts it as a side run. It gets command line, directory, environment and standard
files from the asker, keeps the variables of its own holding, and executes the command.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

from coordinator.app.node.one_off import words
from coordinator.protocol.node.side_runs.one_offs import ADDRESS_VARIABLE
from coordinator.runtime.linux import programs
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.linux.spawn import NOT_EXECUTABLE, NOT_FOUND

#: Variables that tell of the run and its holding; the asker's own are no part of it.
HANDED = (
    *("COORD_GROUP", "COORD_NODE", "COORD_TASK_ID", "COORD_TERM", "COORD_SESSION"),
    *("COORD_DATABASE_SCHEMA", "COORD_DATABASE_URL", "COORD_RUN_ID", "COORD_TRUST_FD"),
)
#: Variable that lists those of the asker's variables that the command must not have.
UNSET_VARIABLE = "COORD_ONE_OFF_UNSET"
#: Signals that an interpreter ignores, and a command does not expect to be.
IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


def main() -> NoReturn:
    """Execute what the asker sends, or tell it why not."""
    open_standard()
    try:
        asker = Channel(words.connected(os.environ.pop(ADDRESS_VARIABLE)))
        order, fds = asker.receive()
    except OSError:
        order, fds = None, []
    if order is None or len(fds) != 4:
        sys.exit(NOT_EXECUTABLE)  # the asker has gone
    why, code = _execute(order, fds)
    asker.send({"code": code, "why": why})
    sys.exit(code)


def environment(asked: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """Return the asker's environment with the variables of this holding."""
    dropped = (*HANDED, *own.get(UNSET_VARIABLE, "").split())
    kept = {name: text for name, text in asked.items() if name not in dropped}
    return kept | {name: own[name] for name in HANDED if name in own}


def _execute(order: dict[str, Any], fds: list[int]) -> tuple[str, int]:
    """Become the command; return why that cannot be, and the exit code."""
    argv, env = order["argv"], environment(order["env"], dict(os.environ))
    try:
        os.chdir(fds.pop())
    except OSError as error:
        return f"cannot go to the directory: {error.strerror}", NOT_EXECUTABLE
    path = programs.found(argv[0], env)
    if path is not None and os.geteuid() != 0 and programs.of_another_user(path):
        return programs.no_kill(argv[0]), NOT_EXECUTABLE
    for standard, fd in enumerate(fds):
        os.dup2(fd, standard)
    os.umask(order["umask"])
    for signum in IGNORED:
        signal.signal(signum, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, env)  # noqa: S606
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            code = NOT_FOUND if path is None else NOT_EXECUTABLE
            return programs.not_found(argv[0], path), code
        return f"{argv[0]}: {error.strerror}", NOT_EXECUTABLE
    except ValueError as error:  # a null byte
        return str(error), NOT_EXECUTABLE


if __name__ == "__main__":
    main()
