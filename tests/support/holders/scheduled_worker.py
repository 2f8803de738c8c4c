"""Process of an application with a schedule: prints each run, and runs until it is told to stop.

python -m tests.support.holders.scheduled_worker CONNINFO SCHEMA NAME
"""

from __future__ import annotations

import json
import logging
import sys
import threading

from coordinator import Coordinator, JobContext


def main(conninfo: str, schema: str, name: str) -> None:
    logging.basicConfig(level=logging.INFO)
    coordinator = Coordinator(
        group_id="orders",
        database_url=conninfo,
        schema=schema,
        task_id=name,
        heartbeat_frequency=0.2,
        liveness_check_interval=2.0,
    )

    @coordinator.every(0.05)
    def work(context: JobContext) -> None:
        print(json.dumps([context.term, context.count, context.node]), flush=True)

    with coordinator:
        coordinator.run()
    print(json.dumps(sorted(one.name for one in threading.enumerate())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
