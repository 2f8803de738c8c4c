"""Measure SERIALIZABLE where many nodes take tokens of tasks at once: aborts, and time.

    python -m bench.adr.task_taking [--rounds 20]

Twenty nodes, each on a connection and a thread of its own, take fifty tokens each of a thousand in
one transaction each, all at the same moment: once each its own fifty, as the tasks of a dead node
are shared out, once fifty at random, as nodes do that see different records. The statements are
those of the store; only the isolation level differs, and an aborted transaction is tried again.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.messages.task_requests import (
    GivenTask,
    ReadGroup,
    ReleaseTasks,
    TakeTasks,
)
from coordinator.protocol.messages.task_requests import WantedTask as Wanted
from coordinator.store.admin.admin_store import AdminStore
from coordinator.store.node.tasks import take as task_take
from coordinator.store.schema import migrate
from coordinator.store.sql import transaction
from tests.conformance.worlds import GROUP, Node
from tests.conftest import Database
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.postgres import Server

NODES, EACH, TASKS = 20, 50, 1000
SCHEMA = "app"
#: A try that is aborted so often is a bench that is stuck.
TRIES_MAX = 200


@dataclass
class Tries:
    """Number of transactions by their end, over all threads."""

    lock: threading.Lock
    aborted: int = 0
    committed: int = 0

    def count(self, *, aborted: bool) -> None:
        with self.lock:
            self.aborted += aborted
            self.committed += not aborted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with twenty_nodes() as nodes:
        for choice, choose in CHOICES.items():
            for level, begin in LEVELS.items():
                report(choice, level, *measure(nodes, rounds, choose, begin))


def figures(rounds: int) -> dict[str, dict[str, float]]:
    """Return what it takes at the level that the store uses, for each choice of tasks."""
    found = {}
    with twenty_nodes() as nodes:
        for choice, choose in CHOICES.items():
            took, tries, taken = measure(nodes, rounds, choose, LEVELS["READ COMMITTED"])
            found[choice] = {
                "rounds": rounds,
                "all_s_p50": statistics.median(took),
                "all_s_max": max(took),
                "taken": taken / rounds,
                "aborted": tries.aborted / rounds,
            }
    return found


@contextmanager
def twenty_nodes() -> Iterator[list[Node]]:
    """Give Members of a group with a thousand tasks, on a server of their own."""
    server = Server.create()
    try:
        migrate.upgrade(server.conninfo(), SCHEMA)
        database = Database(server.conninfo(), SCHEMA)
        with AdminStore(database.conninfo, SCHEMA, "bench", 30.0) as operator:
            for number in range(TASKS):
                operator.add(GROUP, TaskDef(name=f"task-{number:04}"), who="bench")
        names = [f"node-{number:02}" for number in range(NODES)]
        with joined_nodes(database, *names, hosts_tasks=True) as nodes:
            database.query("UPDATE health_check SET standing = 'member'")
            database.query("ANALYZE")
            yield nodes
    finally:
        server.remove()


#: The same statements behind each of them.
LEVELS = {
    "READ COMMITTED": transaction._BEGIN_READ_COMMITTED,
    "SERIALIZABLE": transaction._BEGIN_SERIALIZABLE,
}


def own(number: int) -> list[str]:
    return [f"task-{task:04}" for task in range(number * EACH, (number + 1) * EACH)]


def at_random(_: int) -> list[str]:
    return [f"task-{task:04}" for task in sorted(random.sample(range(TASKS), EACH))]


CHOICES: dict[str, Callable[[int], list[str]]] = {
    "its own fifty": own,
    "fifty at random": at_random,
}


def measure(
    nodes: list[Node], rounds: int, choose: Callable[[int], list[str]], begin: bytes
) -> tuple[list[float], Tries, int]:
    """Return the seconds of each round, how its transactions ended, and how many were taken."""
    tries, taken, took = Tries(threading.Lock()), 0, []
    theirs, task_take.read_committed = task_take.read_committed, insisting(begin, tries)
    try:
        with ThreadPoolExecutor(NODES) as pool:
            for _ in range(rounds):
                seconds, won = one_round(pool, nodes, choose)
                took.append(seconds)
                taken += won
    finally:
        task_take.read_committed = theirs
    return took, tries, taken


def insisting(begin: bytes, tries: Tries) -> Callable[..., Any]:
    """Return what runs a transaction at this level until it is not aborted."""

    def run(cursor: transaction.Cursor, body: transaction.Body[Any]) -> Any:
        for _ in range(TRIES_MAX):
            try:
                outcome = transaction._once(cursor, begin, body)
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                tries.count(aborted=True)
                continue
            tries.count(aborted=False)
            return outcome
        raise AssertionError("aborted again and again")

    return run


def one_round(
    pool: ThreadPoolExecutor, nodes: list[Node], choose: Callable[[int], list[str]]
) -> tuple[float, int]:
    """Let all take at once; return the seconds until the last had its answer, and how many won."""
    answer = nodes[0].ask(ReadGroup())
    record = answer.group
    assert record is not None
    together = threading.Barrier(NODES + 1)

    def take(number: int) -> list[tuple[str, int]]:
        node = nodes[number]
        wanted = tuple(
            Wanted(
                task=task, seen_term=record.token(task).term, next_term=record.token(task).term + 1
            )
            for task in choose(number)
        )
        request = TakeTasks(
            session=node.session,
            version=record.version,
            branch=answer.view.identity.branch,
            wanted=wanted,
        )
        together.wait()
        asked = node.ask(request)
        assert asked.done
        return list(asked.taken)

    futures = [pool.submit(take, number) for number in range(NODES)]
    together.wait()
    began_at = time.monotonic()
    won = [future.result() for future in futures]
    seconds = time.monotonic() - began_at
    everything = [task for taken in won for task, _ in taken]
    assert len(everything) == len(set(everything)), "a token has two holders"
    for node, taken in zip(nodes, won, strict=True):
        given = tuple(GivenTask(task=task, term=term, reason="bench") for task, term in taken)
        assert node.ask(ReleaseTasks(session=node.session, given=given)).done
    return seconds, len(everything)


def report(choice: str, level: str, took: list[float], tries: Tries, taken: int) -> None:
    """Print a line of the table."""
    rounds = len(took)
    print(
        f"{choice:16} {level:15} "
        f"{statistics.median(took) * 1000:7.0f} ms (worst {max(took) * 1000:5.0f})"
        f"  taken {taken / rounds:6.1f}"
        f"  aborts {tries.aborted / rounds:6.1f} of {NODES} transactions"
    )


if __name__ == "__main__":
    main()
