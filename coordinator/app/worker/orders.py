"""Orders to start a node's worker."""

from __future__ import annotations

from coordinator.app.config.settings import NodeSettings
from coordinator.errors import CoordError
from coordinator.protocol.operations.hung import SIGNS_S
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.agent.progress_sockets import ProgressLines
from coordinator.runtime.linux import interpreter

#: Seconds from SIGTERM to SIGKILL: for the end of the present unit of work.
STOP_TIMEOUT_S = 5.0


def worker_orders(
    settings: NodeSettings, settings_fd: int, session: str, lines: ProgressLines, run: int
) -> Orders:
    """Return the orders to start the worker of a session.

    Errors: CoordError if there is no socket for its signs of life.
    """
    try:
        notify = lines.open(run)
    except OSError as error:
        raise CoordError(f"no socket for the worker's signs of life: {error}") from error
    env = {
        "COORD_GROUP": settings.group_id,
        "COORD_NODE": settings.task_id,
        "COORD_SESSION": session,
        "COORD_SETTINGS_FD": str(settings_fd),
        "NOTIFY_SOCKET": notify,
        "WATCHDOG_USEC": str(round(SIGNS_S * 1e6)),
    }
    argv = tuple(interpreter.command("coordinator.app.worker.process"))
    stop_s = min(STOP_TIMEOUT_S, settings.stop_timeout_s)
    return Orders(argv, env, (), None, keep_fds=(settings_fd,), stop_timeout_s=stop_s)
