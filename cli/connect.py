"""Settings and database of a command, from its options, and a bound on the wait for an answer."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any

from coordinator.cli.errors import say
from coordinator.cli.shared import Shared, named_group
from coordinator.errors import ConfigError, DatabaseUnreachableError

if TYPE_CHECKING:
    from coordinator.app.admin.cleaning.cleaner import Cleaner
    from coordinator.app.admin.status import StatusReader
    from coordinator.app.admin.tasks import Tasks
    from coordinator.app.config.database_choice import Resolved
    from coordinator.app.config.settings import NodeSettings


def settings_of(
    options: Shared, *, flags: Mapping[str, Any] | None = None, argv: Sequence[str] = ()
) -> NodeSettings:
    """Load the configuration; values of the command line take precedence."""
    import os

    from coordinator.app.config.loader import load

    given = {**options.flags(), **(flags or {})}
    return load(_path(options), flags=given, environ=os.environ, argv=argv)


def settings_alone(
    options: Shared, *, flags: Mapping[str, Any], argv: Sequence[str], group: str
) -> NodeSettings:
    """Load what one run of a command needs, beside whatever else the configuration describes.

    group: the group if neither the command line nor the environment names one; a file's is that of
           its service, whose token another program holds.
    """
    import os
    from dataclasses import replace
    from socket import gethostname

    from coordinator.app.config.loader import load
    from coordinator.app.config.model import values

    given = {**options.flags(), **flags}
    settings = load(_path(options), flags=given, environ=os.environ, argv=argv, alone=True)
    named = options.group or os.environ.get("COORD_GROUP_ID") or group
    try:
        values.name(named)
    except ValueError as error:
        raise ConfigError(f"--group: {error} (got {named!r})") from None
    node = settings.task_id
    if settings.origins.get("taskId", "default") == "default":
        node = gethostname()  # a new name for each run would leave a row behind for each
    return replace(settings, group_id=named, task_id=node)


def database_settings_of(options: Shared) -> NodeSettings:
    """Load the configuration for a command that needs only the database of it.

    A problem elsewhere (in a trigger, in a task) is only a warning then.
    Errors: ConfigError with every problem if the part about the database is wrong, too.
    """
    import os

    from coordinator.app.config.loader import load

    try:
        settings = settings_of(options)
    except ConfigError as error:
        try:
            settings = load(_path(options), flags=options.flags(), environ=os.environ, looking=True)
        except ConfigError:
            raise error from None
        _warn(options, tuple(str(error).splitlines()))
    else:
        from coordinator.app.config.model.names import misspelled

        _warn(options, misspelled(os.environ))
    return settings


def _path(options: Shared) -> str | None:
    return None if options.config is None else str(options.config)


@cache
def _warn(options: Shared, lines: tuple[str, ...]) -> None:
    """Print warnings, once, however often a command opens its database."""
    if not options.quiet:
        for line in lines:
            say(f"warning: {line}")


def database_of(options: Shared, settings: NodeSettings, *, footed: bool = False) -> Resolved:
    """Find the database of a command, and note it if it is the embedded one. Starts nothing.

    footed: the answer's own footer names the server, so no note is needed.
    """
    from coordinator.app.config.database_choice import look_up

    resolved = look_up(settings)
    if not footed:
        print_note(options, resolved)
    return resolved


def print_note(options: Shared, resolved: Resolved) -> None:
    """Print the note about the database: the place of the embedded server, if it is that."""
    if resolved.note and not options.quiet:
        say(resolved.note)


@contextmanager
def within(timeout_s: float, label: str) -> Iterator[None]:
    """Bound the time of the work inside, whatever it waits for: DNS, a stopped server, a lock.

    The driver's own time-outs start anew for each address and do not cover a server that was
    stopped after it accepted. Works in the main thread only, and not nested.
    Errors: DatabaseUnreachableError when the time is over.
    """

    def expire(_signum: int, _frame: FrameType | None) -> None:
        raise DatabaseUnreachableError(f"{label}: no answer in {timeout_s:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def open_reader(options: Shared) -> Iterator[tuple[StatusReader, str]]:
    """Open the reader of a database within the time-out; also return the configured group."""
    from coordinator.app.admin.status import StatusReader

    settings = database_settings_of(options)
    resolved = database_of(options, settings, footed=True)
    with within(options.timeout_s, resolved.label):
        reader = StatusReader(
            resolved, schema=settings.database.schema, timeout_s=options.timeout_s
        )
        try:
            yield reader, settings.group_id
        finally:
            reader.close()


@contextmanager
def open_tasks(
    options: Shared, named: str | None = None
) -> Iterator[tuple[Tasks, str, NodeSettings]]:
    """Open the tasks of a group within the time-out; also return the group and the settings."""
    from coordinator.app.admin.tasks import Tasks

    settings = database_settings_of(options)
    group = named_group(options, named) or settings.group_id
    resolved = database_of(options, settings)
    with within(options.timeout_s, resolved.label):
        tasks = Tasks(resolved, schema=settings.database.schema, timeout_s=options.timeout_s)
        try:
            yield tasks, group, settings
        finally:
            tasks.close()


@contextmanager
def open_cleaner(options: Shared, *, bounded: bool = True) -> Iterator[Cleaner]:
    """Open the cleaner of a database.

    bounded: within the time-out, all together; otherwise each request alone is bounded.
    """
    from coordinator.app.admin.cleaning.cleaner import Cleaner

    settings = database_settings_of(options)
    resolved = database_of(options, settings)
    schema, timeout_s = settings.database.schema, options.timeout_s
    with within(timeout_s, resolved.label):
        cleaner = Cleaner(resolved, schema=schema, timeout_s=timeout_s)
    try:
        if bounded:
            with within(timeout_s, resolved.label):
                yield cleaner
        else:
            yield cleaner
    finally:
        cleaner.close()
