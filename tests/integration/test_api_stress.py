"""Many threads and processes on a few names, with kills; many coroutines in one loop."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import threading
import time

import pytest

from coordinator import AsyncCoordinator, TokenHeldError
from tests.support.bounds import within

WITHIN_S = 120.0
#: Documented errors that a machine under such a load may bring about.
DOCUMENTED = ("TokenLostError", "DatabaseUnreachableError")


class Worker:
    """One process of the stress, with a thread that reads what it says."""

    def __init__(self, database, threads: int, names: int, seconds: float) -> None:
        argv = [sys.executable, "-m", "tests.support.holders.stress_worker"]
        argv += [database.conninfo, database.schema, str(threads), str(names), str(seconds)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.lines: list[list] = []
        self.began = threading.Event()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # a killed process may leave half of one
                self.lines.append(json.loads(line))
                self.began.set()
        self.process.stdout.close()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join(WITHIN_S)


def stress(database, *, processes: int, threads: int, names: int, seconds: float, kills: int):
    """Run the workers, kill some and start others in their place; return all of them."""
    running = [Worker(database, threads, names, seconds) for _ in range(processes)]
    everyone = list(running)
    try:
        for number in range(kills):
            victim = running[number % processes]
            assert victim.began.wait(WITHIN_S)
            victim.process.kill()
            victim.process.wait()
            running[number % processes] = Worker(database, threads, names, seconds)
            everyone.append(running[number % processes])
        for worker in running:
            assert worker.process.wait(WITHIN_S + seconds) == 0
            worker.reader.join(WITHIN_S)
    finally:
        for worker in everyone:
            worker.end()
    return everyone


def judge(everyone: list[Worker]) -> None:
    """No two bodies of a name together, no term twice, no error, no thread left."""
    bodies: dict[str, list[tuple[int, float, float]]] = {}
    for worker in everyone:
        ended = {(n, t): at for kind, n, t, at in _of(worker, "ended")}
        for _, name, term, began in _of(worker, "began"):
            # A body that was killed has ended at the latest when its successor began: no claim.
            bodies.setdefault(name, []).append((term, began, ended.get((name, term), began)))
        assert [
            line for line in worker.lines if line[0] == "error" and line[2] not in DOCUMENTED
        ] == []
        assert all(line[1] == [] for line in worker.lines if line[0] == "threads")
    assert sum(map(len, bodies.values())) > 0
    for name, of in bodies.items():
        of.sort()
        terms = [term for term, _, _ in of]
        assert len(set(terms)) == len(terms), name
        for (_, _, ended), (term, began, _) in itertools.pairwise(of):
            assert ended <= began, (name, term)


def _of(worker: Worker, kind: str) -> list[list]:
    return [line for line in worker.lines if line[0] == kind]


def test_u1_u3_threads_and_processes_with_a_kill(database):
    """The short form of the stress below."""
    judge(stress(database, processes=2, threads=8, names=4, seconds=2.0, kills=1))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_u1_u3_sixty_four_threads_in_eight_processes_for_a_minute(database):
    judge(stress(database, processes=8, threads=64, names=16, seconds=60.0, kills=8))


async def crowd(database, *, tasks: int, names: int) -> tuple[int, list[float]]:
    """Let tasks take names, and cancel every tenth; return the number of bodies, and the lags."""
    lags: list[float] = []
    done = 0
    over = asyncio.Event()

    async def beat() -> None:
        while not over.is_set():
            began = time.monotonic()
            await asyncio.sleep(0.005)
            lags.append(time.monotonic() - began - 0.005)

    async def work(number: int) -> None:
        nonlocal done
        async with coordinator.token(f"n{number % names}"):
            await asyncio.sleep(0)
            done += 1

    async with AsyncCoordinator(
        group_id="crowd", database_url=database.conninfo, schema=database.schema
    ) as coordinator:
        beating = asyncio.create_task(beat())
        waiting = [asyncio.create_task(work(number)) for number in range(tasks)]
        await asyncio.sleep(0)
        for task in waiting[::10]:
            task.cancel()
        async with coordinator.token("other"):
            impatient = coordinator.token("other").__aenter__()
            with pytest.raises((TimeoutError, TokenHeldError)):
                await asyncio.wait_for(impatient, 0.05)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        over.set()
        await beating
    wrong = [
        one for one in ended if one is not None and not isinstance(one, asyncio.CancelledError)
    ]
    assert wrong == []
    return done, lags


def test_u2_many_tasks_of_one_loop_all_get_their_turn(database):
    done, _ = asyncio.run(asyncio.wait_for(crowd(database, tasks=150, names=10), WITHIN_S))

    assert done == 135
    assert database.query("SELECT count(*) FROM token_holder WHERE session IS NOT NULL") == [(0,)]


@pytest.mark.long
def test_a_thousand_tasks_for_ten_names_do_not_hold_the_loop_up(database):
    done, lags = asyncio.run(asyncio.wait_for(crowd(database, tasks=1000, names=10), 600))

    assert done == 900
    within(statistics.quantiles(lags, n=100)[98], 0.020, "loop lag, p99")
