"""First moments of a program that has checkpoints: load the last one, then become the program.

It runs as the program itself, below the guardian and under its deadline. So the agent's heartbeats
do not wait for it, and a loading that hangs is killed like any program.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from coordinator.app.checkpoints.restoring import Reader
from coordinator.app.checkpoints.variables import DIRECTORY_VARIABLE, FD_VARIABLE
from coordinator.app.config.settings import NodeSettings, from_json
from coordinator.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    ConditionFalseError,
    CoordError,
    StateFileError,
)
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.segments.faults import CheckpointLostError
from coordinator.store.checkpoints.catalogue import Catalogue

#: Content of a checkpoint that was bytes or a file.
CONTENT_NAME = "content"
#: So long a start waits for the segments of nodes that are away, and so often it looks. A machine
#: that restarts takes about as long; another node has no others.
PATIENCE_S, AGAIN_S = 60.0, 1.0
#: Time for one request to the database.
REQUEST_S = 30.0


def main() -> None:
    """Load the last checkpoint, then execute the command line behind the dashes."""
    command = sys.argv[sys.argv.index("--") + 1 :]
    descriptor = int(os.environ.pop(FD_VARIABLE))
    settings = from_json(os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode())
    if os.environ.get("COORD_SETTINGS_FD") != str(descriptor):
        os.close(descriptor)
    try:
        os.environ[DIRECTORY_VARIABLE] = str(load(settings))
    except CoordError as error:
        sys.stderr.write(f"coord: the last checkpoint was not loaded: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        where = error.filename or settings.checkpoints.directory
        sys.stderr.write(f"coord: the last checkpoint was not loaded: {where}: {error.strerror}\n")
        sys.exit(StateFileError.exit_code)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the program, as it would have been started
    except FileNotFoundError as error:
        sys.stderr.write(f"coord: {command[0]}: {error.strerror}\n")
        sys.exit(CommandNotFoundError.exit_code)
    except OSError as error:
        sys.stderr.write(f"coord: {command[0]}: {error.strerror}\n")
        sys.exit(CommandNotExecutableError.exit_code)


def load(settings: NodeSettings) -> Path:
    """Make the directory of this holding, with what the last checkpoint has; return its path.

    Errors: CoordError; OSError.
    """
    own = settings.checkpoints
    assert own.directory is not None, "a launcher has a directory to fill"
    group, task = os.environ["COORD_GROUP"], os.environ.get("COORD_TASK", "")
    token, term = (f"{group}/{task}" if task else group), os.environ["COORD_TERM"]
    home = Path(own.directory) / token.replace("/", "+")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in home.iterdir():  # programs of earlier terms are dead
        with suppress(OSError):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    # A program that is started again under its term begins with the checkpoint, too.
    target = home / term
    with Catalogue(
        settings.database.conninfo,
        schema=settings.database.schema,
        group=group,
        where=settings.database.label,
        timeout_s=REQUEST_S,
    ) as catalogue:
        reader = Reader(catalogue, settings.task_id, int(term))
        _patiently(lambda: _restore(reader, token, target))
    return target


def _restore(reader: Reader, token: str, target: Path) -> None:
    try:
        row = reader.chosen(token)
    except ConditionFalseError:
        target.mkdir(mode=0o700, exist_ok=True)
        return
    if row["form"] == "directory":
        reader.save_to(row, target)
    else:
        target.mkdir(mode=0o700, exist_ok=True)
        reader.save_to(row, target / CONTENT_NAME)


def _patiently(act: Callable[[], None]) -> None:
    """Try again while segments are lacking: their node may be about to come back.

    The node holds the token meanwhile, and its heartbeats go on; without trust this is killed.
    Errors: CheckpointLostError when PATIENCE_S are over.
    """
    clock, pause, told = BoottimeClock(), threading.Event(), False
    until_s = clock.now() + PATIENCE_S
    while True:
        try:
            act()
        except CheckpointLostError as error:
            if clock.now() >= until_s:
                raise
            if not told:
                sys.stderr.write(f"coord: waiting for the last checkpoint: {error}\n")
                told = True
            pause.wait(AGAIN_S)
        else:
            return


if __name__ == "__main__":
    main()
