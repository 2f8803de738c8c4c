"""Server of a node's disks, and launcher of its program, around the node's own work."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

from coordinator.app.checkpoints.variables import FD_VARIABLE
from coordinator.app.config.settings import NodeSettings
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.linux import interpreter

#: Time that the server has to end; its connections are closed then.
END_S = 5.0


def loading(settings: NodeSettings, settings_fd: int, given: Orders) -> Orders:
    """Return the orders with the last checkpoint loaded first, where a directory is configured."""
    if settings.checkpoints.directory is None:
        return given
    launcher = interpreter.command("coordinator.app.checkpoints.launcher")
    keep = tuple(dict.fromkeys((*given.keep_fds, settings_fd)))
    env = {**given.env, FD_VARIABLE: str(settings_fd)}
    return replace(given, argv=(*launcher, "--", *given.argv), env=env, keep_fds=keep)


@contextlib.contextmanager
def served_disks(settings: NodeSettings, settings_fd: int) -> Iterator[None]:
    """Have the segments of this node served, while the body runs; nothing without [[disks]]."""
    if not settings.checkpoints.disks:
        yield
        return
    module = interpreter.command("coordinator.app.checkpoints.serving", str(settings_fd))
    # It ends with this process: the other end of its standard input is closed then.
    try:
        server = subprocess.Popen(
            module, stdin=subprocess.PIPE, pass_fds=(settings_fd,), env=interpreter.environment()
        )
    except OSError as error:
        # No want of a process ends an agent (G8): others take other devices.
        sys.stderr.write(f"coord: the disks of this node are not served: {error.strerror}\n")
        yield
        return
    try:
        yield
    finally:
        assert server.stdin is not None, "it has a pipe"
        server.stdin.close()
        try:
            server.wait(END_S)
        except subprocess.TimeoutExpired:
            server.kill()  # a disk may hang; nothing waits for it
