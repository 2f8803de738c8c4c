"""Groups behind a real Patroni, on each way that docs/patroni.md shows, judged from outside.

One cluster for each mode, one event after the other. What programs wrote, and what an observer of
the servers saw, decides: never two programs, no term twice, nobody missing for longer than
promised once the database is writable again, and the right holder in `coord status`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from coordinator.protocol.rules.timing import KILL_BOUND_S, lease_of
from tests.support.bounds import within
from tests.support.nodes.processes import ROLE_LINE, Bed, RunningNode, bed, eventually
from tests.support.nodes.record import Interval, Record, overlaps, terms_rise
from tests.support.servers.patroni import OUTSIDE, PASSWORD, STEP_S, Cluster, cluster, shown
from tests.support.servers.patroni_observer import Observer, boottime

#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0
HEARTBEAT_S = 0.5
APPS = ("app-1", "app-2")
#: A run that wrote so lately runs now.
FRESH_S = 1.0
SETTLED_S = 1.0
#: A line that a node logs once, at its start.
STARTED = ": isolation "
TOLD = """
SELECT * FROM (
    SELECT term, lag(term) OVER (ORDER BY term) AS before, gap_s
    FROM coord.coord_history WHERE group_id = %s
) AS told WHERE gap_s IS NOT NULL
"""
BEATS_NOW = """
SELECT node.task_id, token.term
FROM coord.token_holder AS token JOIN coord.health_check AS node USING (group_id, session)
WHERE token.group_id = %s AND node.last_heartbeat > to_timestamp(%s)
"""

pytestmark = [pytest.mark.timeout(900)]


@dataclass(frozen=True, slots=True)
class Group:
    """A group of nodes, one on each machine, and the way on which they reach the database."""

    bed: Bed
    record: Record
    path: str  #: "hosts", "haproxy" or "pgbouncer"

    def bound_s(self) -> float:
        return self.bed.liveness_s + self.bed.heartbeat_s + 0.1 + MACHINE_S

    def running(self) -> Interval | None:
        """Return the run that writes now."""
        newest = max(self.record.runs(), key=lambda run: run.last, default=None)
        return newest if newest and newest.last > boottime() - FRESH_S else None


class Site:
    """A cluster, four groups on it, and who watches from outside."""

    def __init__(self, made: Cluster, groups: list[Group], observer: Observer) -> None:
        self.cluster, self.groups, self.observer = made, groups, observer
        self.judged_from = 0.0
        self.starts: Counter[Path] = Counter()

    def start(self, group: Group, app: str) -> None:
        """Start one node on its machine."""
        with self.cluster.net.inside(app):
            self.starts[group.bed.start(app).log] += 1

    def start_nodes(self) -> None:
        """Start all nodes and wait until they have joined: a start is not judged."""
        for group in self.groups:
            for app in APPS:
                self.start(group, app)
        for group in self.groups:
            for node in group.bed.nodes.values():
                there = partial(has_joined, node, self.starts[node.log])
                eventually(there, STEP_S, group.bed.story, every_s=0.1)
        self.judged_from = boottime()

    def settle(self) -> None:
        """Wait until the cluster is whole and every group's program has run on for a while."""
        self.cluster.wait_whole()
        for group in self.groups:
            eventually(partial(self.kept_up, group), STEP_S, group.bed.story, every_s=0.1)

    def kept_up(self, group: Group) -> bool:
        """Start what has left, as a service manager does; say whether the program runs on."""
        for app, node in list(group.bed.nodes.items()):
            if node.process.poll() is not None:
                self.start(group, app)
        return runs_on(group)

    def story(self) -> str:
        return "".join(group.bed.story() for group in self.groups) + self.cluster.story()


def has_joined(node: RunningNode, starts: int) -> bool:
    said = node.said()
    return said.count(STARTED) == starts and bool(ROLE_LINE.search(said.rpartition(STARTED)[2]))


def runs_on(group: Group) -> bool:
    now = group.running()
    return now is not None and now.last - now.first >= SETTLED_S


def shown_hosts() -> str:
    return str(tomllib.loads(shown("toml"))["databaseConfig"]["host"])


@contextmanager
def site(tmp_path, *, synchronous: bool) -> Iterator[Site]:
    with ExitStack() as stack:
        made = stack.enter_context(cluster(synchronous=synchronous))
        for app in APPS:
            made.net.add(app)
        ways = {
            "hosts": make_conninfo("", host=made.placed(shown_hosts()), port="5432"),
            "haproxy": make_conninfo("", host=made.net.address("proxy"), port="5000"),
            "pgbouncer": make_conninfo("", host=made.net.address("proxy"), port="6432"),
        }
        who = {"user": "coord", "password": PASSWORD, "dbname": "coord"}
        ways = {path: make_conninfo(way, **who) for path, way in ways.items()}
        groups = []
        for path, liveness_s in (
            ("hosts", 6.0),
            ("hosts", 3.0),
            ("haproxy", 6.0),
            ("pgbouncer", 6.0),
        ):
            name = f"{path}-{liveness_s:g}"
            (tmp_path / name).mkdir()
            group = stack.enter_context(bed(tmp_path / name, ways[path], "coord", name))
            group.liveness_s, group.heartbeat_s = liveness_s, HEARTBEAT_S
            groups.append(Group(group, Record(group.record), path))
        watched = {path: ways[path] for path in ("haproxy", "pgbouncer")}
        observer = stack.enter_context(Observer(made, watched).watching())
        yield Site(made, groups, observer)


# --- events ---------------------------------------------------------------------------------------


def planned_switchover(here: Site) -> None:
    leader, target = str(here.cluster.leader()), here.cluster.replicas()[0]
    here.cluster.ctl("switchover", "--leader", leader, "--candidate", target, "--force")
    another_leads(here, leader)


def forced_failover(here: Site) -> None:
    leader, target = str(here.cluster.leader()), here.cluster.replicas()[0]
    here.cluster.ctl("failover", "--candidate", target, "--force")
    another_leads(here, leader)


def postmaster_killed(here: Site) -> None:
    leader = str(here.cluster.leader())
    kill_postmaster(here, leader)
    another_leads(here, leader)


def patroni_killed(here: Site) -> None:
    """PostgreSQL runs on without its Patroni, and takes writes; another one is promoted."""
    leader = str(here.cluster.leader())
    here.cluster.processes[leader].kill()
    another_leads(here, leader)
    here.observer.wait_for_writes_on(str(here.cluster.leader()))
    for group in here.groups:
        eventually(partial(here.kept_up, group), STEP_S, group.bed.story, every_s=0.1)
    here.cluster.start_patroni(leader)


def primary_cut_off(here: Site) -> None:
    """The primary's machine is cut off, and reset before it is back."""
    leader = str(here.cluster.leader())
    here.cluster.net.cut(leader)
    another_leads(here, leader)
    here.cluster.net.kill_all(leader)
    here.cluster.net.heal(leader)
    here.cluster.start_patroni(leader)


def etcd_cut_off(here: Site) -> None:
    """No Patroni may lead without etcd: the database takes no writes until it is back."""
    leader = str(here.cluster.leader())
    here.cluster.net.cut("etcd")
    here.observer.wait_for_no_writes_on(leader)
    here.cluster.net.heal("etcd")


def holders_machine_cut_off(here: Site) -> None:
    """The nodes of one machine, that of the first group's holder, reach nothing."""
    app = here.groups[0].record.runs()[-1].node
    here.cluster.net.cut(app)
    for group in here.groups:
        held_elsewhere(group, app)
    here.cluster.net.heal(app)


def promoted_by_mistake(here: Site) -> None:
    """A replica leads without being asked, and its Patroni, which hung, takes it back."""
    replica = here.cluster.replicas()[0]
    patroni = here.cluster.processes[replica].popen
    patroni.send_signal(signal.SIGSTOP)
    here.cluster.pg_ctl("promote", replica)
    here.observer.wait_for_writes_on(replica)
    since = time.time()
    for group in here.groups:
        if group.path == "hosts":
            there = partial(lives_on, here, group, replica, since)
            eventually(there, STEP_S, group.bed.story, every_s=0.1)
    patroni.send_signal(signal.SIGCONT)
    here.observer.wait_for_no_writes_on(replica)


def promoted_in_earnest_after_a_restart_of_all_nodes(here: Site) -> None:
    """The number of the timeline may be given again, and nobody remembers that it was used."""
    for group in here.groups:
        group.bed.end()
    planned_switchover(here)
    here.start_nodes()


def crashed_while_paused(here: Site) -> None:
    """Patroni does nothing until it goes on; then it starts the server, or promotes another."""
    leader = str(here.cluster.leader())
    here.cluster.ctl("pause", "--wait")
    kill_postmaster(here, leader)
    here.observer.wait_for_no_writes_on(leader)
    here.cluster.ctl("resume", "--wait")


def kill_postmaster(here: Site, server: str) -> None:
    file = here.cluster.home_of(server) / "data" / "postmaster.pid"
    os.kill(int(file.read_text().split()[0]), signal.SIGKILL)


def another_leads(here: Site, than: str) -> None:
    eventually(
        lambda: here.cluster.leader() not in (None, than), STEP_S, here.cluster.story, every_s=0.2
    )


def lives_on(here: Site, group: Group, server: str, since: float) -> bool:
    """Say whether the program runs by heartbeats that this server has acknowledged since then."""
    now = group.running()
    with here.cluster.connect(server) as connection:
        row = connection.execute(BEATS_NOW, [group.bed.group, since]).fetchone()
    return now is not None and row == (now.node, now.term)


def held_elsewhere(group: Group, than: str) -> None:
    def elsewhere() -> bool:
        now = group.running()
        return now is not None and now.node != than and runs_on(group)

    eventually(elsewhere, STEP_S, group.bed.story, every_s=0.1)


EVENTS: tuple[Callable[[Site], None], ...] = (
    planned_switchover,
    postmaster_killed,
    promoted_by_mistake,
    promoted_in_earnest_after_a_restart_of_all_nodes,
    holders_machine_cut_off,
    patroni_killed,
    forced_failover,
    crashed_while_paused,
    primary_cut_off,
    etcd_cut_off,
)


# --- the judge ------------------------------------------------------------------------------------


def longest_gap(group: Group, since: float, until: float) -> float:
    """Return for how long nobody ran, at most, from the moment at which somebody could."""
    longest, covered = 0.0, since
    for run in group.record.runs():
        if run.first > covered:
            longest = max(longest, min(run.first, until) - covered)
        covered = max(covered, run.last)
    return longest


def judge(here: Site, event: str, began_at: float, now: float) -> None:
    """Check what is promised, for every group, from the beginning of an event to now."""
    for group in here.groups:
        runs, name = group.record.runs(), group.bed.group
        writable_at = here.observer.writable_since(group.path, began_at)
        bound_s = group.bound_s()
        gap_s = longest_gap(group, writable_at, now)
        writable_s = writable_at - began_at
        whole_s = longest_gap(group, began_at, now)
        print(
            f"{event:48} {name:11} writable after {writable_s:5.2f} s,"
            f" then nobody for {gap_s:5.2f} s (bound {bound_s:.1f} s);"
            f" in all {whole_s:5.2f} s, term {runs[-1].term}"
        )
        assert overlaps(runs) == [], (
            f"{event}: two programs of {name}: {overlaps(runs)}{here.story()}"
        )
        assert terms_rise(runs), f"{event}: {name}: {runs}{here.story()}"
        # No program ends by itself here, so each run is a holding of its own.
        assert len({run.term for run in runs}) == len(runs), (
            f"{event}: {name}: {runs}{here.story()}"
        )
        within(gap_s, bound_s, f"without a runner of {name} after {event}{here.story()}")
        for node in group.bed.nodes.values():
            assert "Traceback" not in node.said(), node.said()


def gaps_are_told_as_seen(here: Site, group: Group, event: str) -> None:
    """Compare each gap that the history tells of this event with what the programs wrote.

    A gap after a holding that the database lost with its branch is left out: nobody there knows of
    it. It ends with the taking, a little before the program writes. Of a holder that was cut off it
    begins with the last heartbeat, which may lie a lease and the time to kill before the end.
    """
    with here.cluster.connect(str(here.cluster.leader())) as connection:
        rows = connection.execute(TOLD, [group.bed.group]).fetchall()
    told = {int(str(term)): (before, float(str(gap_s))) for term, before, gap_s in rows}
    last: Interval | None = None
    for run in group.record.runs():
        before, gap_s = told.get(run.term, (None, 0.0))
        if last is not None and run.first > here.judged_from and before == last.term:
            off_s = gap_s - (run.first - last.last)
            print(f"{event:48} {group.bed.group:11} told {gap_s:5.2f} s, off by {off_s:+.2f} s")
            story = f"the gap before term {run.term} of {group.bed.group} is told, {event}"
            within(-off_s, HEARTBEAT_S + MACHINE_S, f"too short {story}")
            lease_s = lease_of(group.bed.liveness_s)
            within(off_s, lease_s + KILL_BOUND_S + MACHINE_S, f"too long {story}")
        last = run if last is None or run.last > last.last else last


def status_names_the_holder(here: Site, group: Group) -> None:
    command, environ = group.bed.command_of("look", behind=())
    command = [*command[:-1], "status", group.bed.group, "-o", "json"]

    def agrees() -> bool:
        before = group.running()
        with here.cluster.net.inside(OUTSIDE):
            done = subprocess.run(
                command,
                env=environ,
                capture_output=True,
                text=True,
                timeout=STEP_S,
                stdin=subprocess.DEVNULL,
            )
        after = group.running()
        if done.returncode != 0 or before is None or after is None or after.term != before.term:
            return False
        (told,) = json.loads(done.stdout)["groups"]
        return (told["holder"], told["term"]) == (before.node, before.term)

    eventually(agrees, STEP_S, lambda: f"status names the holder{group.bed.story()}", every_s=0.5)


@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
def test_groups_behind_patroni(tmp_path, synchronous):
    """E1 to E6, N1, R1: whatever happens to the cluster, one runs, and soon again."""
    began = time.monotonic()
    with site(tmp_path, synchronous=synchronous) as here:
        here.start_nodes()
        here.settle()
        print(f"\n{here.cluster.leader()} leads after {time.monotonic() - began:.0f} s")
        for event in EVENTS:
            here.judged_from = boottime()
            event(here)
            here.settle()
            judge(here, event.__name__.replace("_", " "), here.judged_from, boottime())
            for group in here.groups:
                status_names_the_holder(here, group)
                gaps_are_told_as_seen(here, group, event.__name__.replace("_", " "))
        print(f"{len(EVENTS)} events in {time.monotonic() - began:.0f} s")
