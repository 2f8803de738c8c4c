"""Process of a node's worker; started by the guardian, under the deadline of its node's session."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from coordinator.app.config import settings as node_settings
from coordinator.app.held.progress import ProgressReports
from coordinator.app.worker.types import offered
from coordinator.errors import ConfigError, CoordError
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.log import logger as log
from coordinator.runtime.worker.loop import Worker
from coordinator.store.operations.engine import Engine, Place

logger = logging.getLogger(log.LOGGER)


def main() -> int:
    """Work for the session that the environment names; return the exit code."""
    open_standard()
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        settings_fd = int(os.environ["COORD_SETTINGS_FD"])
        text = os.pread(settings_fd, os.fstat(settings_fd).st_size, 0).decode()
        settings = node_settings.from_json(text)
        session = os.environ["COORD_SESSION"]
    except (KeyError, ValueError, OSError) as error:
        print(f"coord: a worker is started by `coord run`, not by hand ({error})", file=sys.stderr)
        return ConfigError.exit_code
    log.set_up(
        settings.log_level, settings.log_format, group=settings.group_id, node=settings.task_id
    )
    database = settings.database
    engine = Engine(
        Place(
            conninfo=database.conninfo,
            schema=database.schema,
            where=database.label,
            group=settings.group_id,
            node=settings.task_id,
            session=session,
        )
    )
    worker = Worker(
        group=settings.group_id,
        node=settings.task_id,
        session=session,
        schema=database.schema,
        settings=settings,
        types=offered(settings, logger),
        port=engine,
        clock=BoottimeClock(),
        leaving=leaving,
        logger=logger,
        sign=ProgressReports(os.environ).send,
    )
    try:
        worker.run()
    except CoordError as error:
        logger.error("%s: the worker ends: %s", settings.group_id, error)
        return error.exit_code
    finally:
        engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
