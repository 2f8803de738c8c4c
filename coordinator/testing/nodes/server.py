"""Embedded PostgreSQL of one test session: made anew, and gone with the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.app.config.settings import DEFAULT_SCHEMA
from coordinator.store.embedded import server as embedded
from coordinator.store.schema import migrate

#: A shell that ends the server when this process has ended, whatever ended it.
WATCH = 'read _; kill -INT "$0"'


@contextmanager
def session_server() -> Iterator[str]:
    """Start a server with coord's schema; yield its conninfo.

    Errors: ConfigError when there are no programs of PostgreSQL.
    """
    home = Path(tempfile.mkdtemp(prefix="coord-testing-"))
    if os.geteuid() == 0:
        home.chmod(0o711)  # the server runs as another user, who has to pass
    try:
        running = embedded.start(home / "server")
        assert running.pid > 1, "a server is a process of its own"
        watch = subprocess.Popen(["/bin/sh", "-c", WATCH, str(running.pid)], stdin=subprocess.PIPE)
        try:
            migrate.upgrade(running.conninfo, DEFAULT_SCHEMA)
            yield running.conninfo
        finally:
            # Before the server ends: its number may be another process's afterwards.
            watch.kill()
            watch.communicate()
            embedded.stop(home / "server")
    finally:
        shutil.rmtree(home, ignore_errors=True)
