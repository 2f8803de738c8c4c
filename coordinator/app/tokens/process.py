"""Process of a node's token service: `python -m coordinator.app.tokens.process`.

The agent starts it, with a listening socket and the settings, and it dies with the agent. It has a
session of its own in the group, as every process that holds tokens has.

    --settings-fd N --listener-fd N --parent PID
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys

from coordinator.app.api.asynchronous.coordinator import AsyncCoordinator
from coordinator.app.config.settings import NodeSettings, from_json
from coordinator.app.node.no_core_dump import leave_no_core
from coordinator.app.node.start import recall
from coordinator.app.tokens.leases import Leases
from coordinator.app.tokens.service import TokenService
from coordinator.runtime.holders.holding import LOGGER
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.linux.syscalls import set_death_signal
from coordinator.runtime.log import logger as log


def main() -> None:
    """Serve until SIGTERM, or until the agent dies."""
    open_standard()
    parser = argparse.ArgumentParser(prog="coordinator.app.tokens.process")
    for name in ("--settings-fd", "--listener-fd", "--parent"):
        parser.add_argument(name, type=int, required=True)
    arguments = parser.parse_args()
    set_death_signal(signal.SIGKILL)
    if os.getppid() != arguments.parent:
        sys.exit(0)  # the agent has died already
    leave_no_core()
    settings = from_json(recall(arguments.settings_fd))
    os.close(arguments.settings_fd)
    logger = log.set_up(
        settings.log_level, settings.log_format, group=settings.group_id, node=settings.task_id
    )
    # The library's messages go to the node's log, in its form.
    logging.getLogger().handlers[:] = logger.handlers
    logging.getLogger(LOGGER).setLevel(logger.level)
    asyncio.run(serve(settings, socket.socket(fileno=arguments.listener_fd)))
    log.end()


async def serve(settings: NodeSettings, listener: socket.socket) -> None:
    """Serve until this process is told to end, and give everything back then."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told.set)
    async with AsyncCoordinator(
        group_id=settings.group_id,
        task_id=settings.task_id,
        database_url=settings.database.conninfo,
        schema=settings.database.schema,
        heartbeat_frequency=settings.heartbeat_s,
        liveness_check_interval=settings.liveness_s,
    ) as coordinator:
        service = TokenService(Leases(coordinator))
        await service.serve(listener)
        await told.wait()
        await service.close()


if __name__ == "__main__":
    main()
