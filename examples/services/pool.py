"""multiprocessing with spawn: a Coordinator is pickled to the processes of a pool.

python -m examples.services.pool
"""

from __future__ import annotations

import multiprocessing
import os

from coordinator import Coordinator


def work(coordinator: Coordinator, number: int) -> tuple[int, int, int]:
    """Hold a token in a process of the pool."""
    with coordinator, coordinator.token("pool", timeout="60s") as token:
        return number, os.getpid(), token.term


def main() -> None:
    """Send a coordinator, which has opened nothing yet, to the processes of a pool."""
    coordinator = Coordinator.from_config()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for number, pid, term in pool.starmap(work, [(coordinator, number) for number in range(4)]):
            print(f"{number}: process {pid} held it under term {term}", flush=True)


if __name__ == "__main__":
    main()
