"""gunicorn, whose workers are forks: one of them runs the schedule, the others stand by.

gunicorn --preload --workers 4 --config python:examples.services.gunicorn_app \
    examples.services.gunicorn_app:app
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from coordinator import Coordinator, JobContext

coordinator = Coordinator.from_config()


@coordinator.every("200ms", name="tidy", error_policy="LOG_AND_CONTINUE")
def tidy(context: JobContext) -> None:
    """Run in one worker at a time."""
    print(f"tidy {os.getpid()} term {context.term}", flush=True)


def post_fork(_server: object, _worker: object) -> None:
    """Start in the child, for no thread survives a fork."""
    coordinator.start()


def worker_exit(_server: object, _worker: object) -> None:
    """Stop the schedule of a worker that ends."""
    coordinator.close()


def app(_environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    """Answer a request while this worker holds a token."""
    with coordinator.token("counter", timeout="10s") as token:
        start("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} {token.term}\n".encode()]
