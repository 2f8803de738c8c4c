"""SIGHUP: read Config.toml again, apply what can change in a running node, report the rest.

A child process reads it: otherwise the configuration's library would stay in the agent's memory.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

from coordinator.app.config.settings import NodeSettings, from_json, keys_of, to_json
from coordinator.errors import CoordError
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.linux.interpreter import answer_of
from coordinator.runtime.log import logger as log

#: Settings that the next start of the program, or the next log line, reads anew.
LIVE = ("program", "trigger", "policy", "pass_database", "log_level")
#: Fields that have no meaning of their own for a running node.
UNSEEN = ("origins", "warnings", "config_hash", "config_path", "task_id", "started_at_s", "unit")
#: Origins of settings of the command line, which a reload keeps.
FLAGS = ("flag ", "command line")
#: Time limit for reading the configuration.
READ_MAX_S = 30.0

#: Names for people: keys of Config.toml, and of its tables.
NAMES = keys_of(NodeSettings) | {
    "policy": "taskPolicy",
    "tasks_policy": "tasksPolicy (`coord observer policy` changes the group's times at once)",
    "database": "databaseConfig",
}


class LiveSettings:
    """Settings of a running node; `now` is replaced as a whole, from any thread.

    Only one thread with one child reads at a time. A later request is served by a reading that
    begins after it, so that an earlier state of the file never overwrites a later one.
    """

    def __init__(
        self, settings: NodeSettings, start: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        self.now = settings
        self.on_read: Callable[[], None] = lambda: None  #: called after each reading, by any thread
        self._start = start or _in_thread
        self._lock = threading.Lock()
        self._reading = False  #: a thread reads, or is about to
        self._again = False  #: another reload was requested since the reading began

    def reload(self, logger: logging.Logger) -> None:
        """Read the configuration again, in a thread: the node's loop must not wait for it."""
        with self._lock:
            if self._reading:
                self._again = True
                return
            self._reading = True
        try:
            self._start(partial(self._read_all, logger))
        except RuntimeError as error:  # no thread can be made
            self._reading = False
            log.fail(logger, "reload", f"reload: nothing changed: {error}")
            self.on_read()

    def _read_all(self, logger: logging.Logger) -> None:
        """Read until no reload was requested since the last reading began."""
        try:
            while self._reading:
                self._reload(logger)
                with self._lock:
                    self._reading, self._again = self._again, False
        except BaseException:
            # The next request begins anew.
            with self._lock:
                self._reading = self._again = False
            raise
        finally:
            self.on_read()

    def _reload(self, logger: logging.Logger) -> None:
        try:
            text = to_json(self.now)
            answer = answer_of("coordinator.app.node.reload", said=text, timeout_s=READ_MAX_S)
        except subprocess.TimeoutExpired:
            text = f"reload: nothing changed: reading the configuration took over {READ_MAX_S:g} s"
            log.fail(logger, "reload", text)
            return
        except OSError as error:
            text = f"reload: nothing changed: no process to read the configuration: {error}"
            log.fail(logger, "reload", text)
            return
        if answer.returncode != 0:
            log.fail(logger, "reload", f"reload: nothing changed: {answer.stderr.strip()}")
            return
        changed, kept, settings = merged(self.now, from_json(answer.stdout))
        self.now = settings
        logger.setLevel(settings.log_level.upper())
        log.say(logger, "reload", f"reload: {summary(changed, kept)}", {})


def _in_thread(body: Callable[[], None]) -> None:
    threading.Thread(target=body, name="coord-reload", daemon=True).start()


def merged(
    old: NodeSettings, new: NodeSettings
) -> tuple[tuple[str, ...], tuple[str, ...], NodeSettings]:
    """Return the fields that change now, those kept until a restart, and the resulting settings."""
    new, fixed = _without_fixed(old, new)
    differing = [
        field.name
        for field in fields(NodeSettings)
        if field.name not in UNSEEN and getattr(old, field.name) != getattr(new, field.name)
    ]
    changed = tuple(name for name in differing if name in LIVE)
    kept = (*(name for name in differing if name not in LIVE), *fixed)
    return changed, kept, replace(old, **{name: getattr(new, name) for name in changed})


def _without_fixed(old: NodeSettings, new: NodeSettings) -> tuple[NodeSettings, tuple[str, ...]]:
    """Return new settings with that part of the program which a running node cannot change."""
    if old.program is None or new.program is None:
        return new, ()
    if old.program.progress_s == new.program.progress_s:
        return new, ()
    program = replace(new.program, progress_s=old.program.progress_s)
    return replace(new, program=program), ("program.progressTimeout",)


def summary(changed: tuple[str, ...], kept: tuple[str, ...]) -> str:
    """Return a sentence about a reload, with the names of Config.toml."""
    if not changed and not kept:
        return "nothing has changed"
    parts = []
    if changed:
        names = ", ".join(NAMES.get(name, name) for name in changed)
        parts.append(f"{names} changed (a program from its next start on)")
    if kept:
        parts.append(f"kept until a restart: {', '.join(NAMES.get(name, name) for name in kept)}")
    return "; ".join(parts)


def main() -> int:
    """Read the configuration as it is now; settings come on stdin and go to stdout."""
    open_standard()
    from coordinator.app.config.loader import load

    old = from_json(sys.stdin.read())
    try:
        new = load(old.config_path, flags={}, environ=os.environ)
    except CoordError as error:
        print("; ".join(str(error).splitlines()), file=sys.stderr)
        return error.exit_code
    print(to_json(replace(new, **given(old, new))))
    return 0


def given(old: NodeSettings, new: NodeSettings) -> dict[str, Any]:
    """Return the fields that stay: settings of the command line, and the database in use."""
    keys = keys_of(NodeSettings).items()
    kept = {name: getattr(old, name) for name, key in keys if _from_flag(old, key)}
    kept |= {"nonblock": old.nonblock, "wait_s": old.wait_s}
    if new.program is None or _from_flag(old, "program"):
        kept |= {"program": old.program, "trigger": old.trigger, "on_exit": old.on_exit}
    if not new.database.named or new.database.conninfo == old.database.conninfo:
        # The embedded server was resolved at the start; the file does not name it.
        kept["database"] = old.database
    return kept


def _from_flag(settings: NodeSettings, key: str) -> bool:
    return any(
        origin.startswith(FLAGS)
        for known, origin in settings.origins.items()
        if known == key or known.startswith(f"{key}.")
    )


if __name__ == "__main__":
    sys.exit(main())
