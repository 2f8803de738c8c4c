"""Celery with its prefork pool: the tasks of all worker processes exclude each other.

celery -A examples.services.celery_app worker --concurrency 4

The coordinator is made before the fork, and opens nothing there: each child has a session of its
own from its first token on.
"""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_process_shutdown

from coordinator import Coordinator

coordinator = Coordinator.from_config()
app = Celery("orders", broker=os.environ.get("BROKER_URL", "memory://"))


@app.task
def settle(path: str) -> None:
    """Write two lines that no other process may come between."""
    with coordinator.token("settle", timeout="60s") as token, open(path, "a") as file:
        file.write(f"begin {os.getpid()} {token.term}\n")
        token.check()
        file.write(f"end {os.getpid()} {token.term}\n")


@worker_process_shutdown.connect
def close(**_: object) -> None:
    """End the session of a child."""
    coordinator.close()
