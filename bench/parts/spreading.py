"""Task spreading: nodes die, come back and leave; coord and jobsync on the same server.

Everybody gets the same server, the same program (the beacon), and the same count of what it wrote.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from bench.measure import BenchError, Figures, boottime, pause, summary
from bench.page import spread_history
from bench.page.spread_history import Change, Record
from bench.parts.spread_groups import LOOK_S, NODES, TASKS, Entry, entries, wait
from bench.peers.entries import lacking
from tests.support.nodes.task_nodes import TaskRun
from tests.support.servers.postgres import Server

#: jobsync with its defaults takes two minutes to start, and half a minute for most other things.
CHANGE_MAX_S = 300.0
#: Nothing has begun for so long: longer than anybody here waits between two looks at its tasks.
QUIET_S = 10.0
END_S = 15.0
CHANGES = ("killed", "returned", "left")


def spreading(
    server: Server, *, runs: int, quick: bool, only: tuple[str, ...] | None = None
) -> Figures:
    """Return {entry: {change: figures}}; a reason in the place of what cannot be."""
    found: Figures = {"nodes": len(NODES), "tasks": len(TASKS), "entries": {}}
    for entry in entries(quick=quick):
        if only is not None and entry.key not in only:
            continue
        about: Figures = {"title": entry.title, "settings": entry.words()}
        missing = lacking(entry.needs)
        found["entries"][entry.key] = about | (
            {"skipped": missing} if missing else _tried(server, entry, runs)
        )
    return found


def merged(before: Figures, now: Figures) -> Figures:
    """Keep the entries that were not measured this time, in the order of the table."""
    known = {**before.get("entries", {}), **now["entries"]}
    order = [entry.key for entry in entries(quick=False) if entry.key in known]
    return now | {"entries": {key: known[key] for key in order}}


def _tried(server: Server, entry: Entry, runs: int) -> Figures:
    """Measure one entry; what goes wrong in it is its figure, and the others go on."""
    try:
        return _figures([_run(server, entry, number) for number in range(runs)])
    except (BenchError, AssertionError, OSError) as error:
        return {"skipped": f"failed: {str(error).splitlines()[0]}"}


@dataclass(frozen=True, slots=True)
class Told:
    """One run: what each change did, and how even the tasks were before all of them."""

    changes: Mapping[str, Change]
    evenness: float


def _run(server: Server, entry: Entry, number: int) -> Told:
    """Kill a node, start it again, and let another leave; each time wait until nothing moves.

    Every node has its turn: some of them lead or observe.
    """
    print(f"bench: spreading: {entry.key}, run {number + 1}", file=sys.stderr, flush=True)
    victim, leaver = NODES[number % len(NODES)], NODES[(number + 2) % len(NODES)]
    with entry.group(server) as group:
        watch = Watch(Record(group.record))
        group.begin()
        watch.settle()
        even = spread_history.evenness(watch.record.read(), len(NODES), boottime())

        at = boottime()
        group.node(victim).send(signal.SIGKILL, "all")
        killed = spread_history.left(watch.moved(victim, at), victim, at, boottime())

        group.node(victim).process.wait(END_S)
        at = boottime()
        group.start(victim)
        back = spread_history.returned(watch.came(victim, at), victim, at, boottime())

        at = boottime()
        group.node(leaver).process.terminate()
        gone = spread_history.left(watch.moved(leaver, at), leaver, at, boottime())
    return Told(dict(zip(CHANGES, (killed, back, gone), strict=True)), even)


@dataclass(frozen=True)
class Watch:
    """Waits for what happens to the tasks; gives up after CHANGE_MAX_S, which the figures show."""

    record: Record

    def settle(self) -> None:
        """Wait until each task runs exactly once and nothing has moved for a while."""
        what = "each task runs exactly once, and nothing moves"
        wait(self._settled, CHANGE_MAX_S, what)

    def moved(self, node: str, at: float) -> list[TaskRun]:
        """Wait until what ran on the node runs elsewhere and nothing moves; return all runs."""
        return self._calm(lambda: spread_history.moved(self.record.read(), node, at))

    def came(self, node: str, at: float) -> list[TaskRun]:
        """Wait until the node runs something and nothing moves; return all runs."""
        return self._calm(
            lambda: any(run.node == node and run.first > at for run in self.record.read())
        )

    def _calm(self, happened: Callable[[], bool]) -> list[TaskRun]:
        give_up_at = boottime() + CHANGE_MAX_S
        while boottime() < give_up_at and not (happened() and self._settled()):
            pause(LOOK_S)
        return self.record.read()

    def _settled(self) -> bool:
        return spread_history.settled(self.record.read(), len(TASKS), boottime(), QUIET_S)


def _figures(told: list[Told]) -> Figures:
    """Return the summary of an entry."""
    found: Figures = {"runs": len(told), "evenness": summary([each.evenness for each in told])}
    for name in CHANGES:
        changes = [each.changes[name] for each in told]
        found[name] = {
            "never": sum(change.done_s is None for change in changes),
            "done": summary([change.done_s for change in changes if change.done_s is not None]),
            "gap": summary([change.gap_s for change in changes]),
            "twice": sum(change.twice for change in changes),
            "twice_s_max": max((change.twice_s for change in changes), default=0.0),
            "needless": sum(change.needless for change in changes),
            "changes": [asdict(change) for change in changes],
        }
    return found
