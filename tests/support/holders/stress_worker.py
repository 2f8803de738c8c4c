"""Worker of the stress: threads that take names at random and write down when their bodies ran.

`python -m tests.support.holders.stress_worker CONNINFO SCHEMA THREADS NAMES SECONDS` prints a JSON
line when a body begins and when it ends, with the moment by CLOCK_BOOTTIME, and for each error.
"""

from __future__ import annotations

import json
import random
import sys
import threading

from coordinator import Coordinator, TokenHeldError
from coordinator.runtime.linux.clock import BoottimeClock

_lock = threading.Lock()


def say(*what: object) -> None:
    with _lock:
        print(json.dumps(what), flush=True)


def work(coordinator: Coordinator, names: int, until: float) -> None:
    clock = BoottimeClock()
    draw = random.Random()
    while clock.now() < until:
        name = f"n{draw.randrange(names)}"
        try:
            with coordinator.token(name, timeout=draw.choice((0.0, 0.5, 5.0))) as token:
                began = clock.now()
                say("began", name, token.term, began)
                threading.Event().wait(draw.uniform(0, 0.01))
                token.check()
                say("ended", name, token.term, clock.now())
        except TokenHeldError:
            continue
        except Exception as error:  # noqa: BLE001 - the test judges it
            say("error", name, type(error).__name__, str(error))


def main() -> None:
    conninfo, schema, threads, names, seconds = sys.argv[1:6]
    until = BoottimeClock().now() + float(seconds)
    with Coordinator(
        group_id="stress",
        task_id="node",
        database_url=conninfo,
        schema=schema,
        heartbeat_frequency=0.5,
        liveness_check_interval=10.0,
    ) as coordinator:
        workers = [
            threading.Thread(target=work, args=(coordinator, int(names), until))
            for _ in range(int(threads))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    say("threads", [one.name for one in threading.enumerate() if one.name.startswith("coord-")])


if __name__ == "__main__":
    main()
