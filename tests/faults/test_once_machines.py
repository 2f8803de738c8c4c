"""Twenty machines with clocks from -90 s to +90 s: sixty slots have sixty starts (rules M6, M7)."""

from __future__ import annotations

import collections
import itertools
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from tests.support.bounds import within
from tests.support.machines.faketime import Clocks
from tests.support.nodes.processes import bed, eventually

#: Each machine has two shared cores here, and not its own.
MACHINES, SLOTS, SLOT_S, SKEW_S = 20, 60, 20, 90.0

#: A cron daemon: by its own clock, once in each slot, it starts the line in a child.
CRON = """
import os, sys, time
from datetime import UTC, datetime
from coordinator.app.config.loader import load
from coordinator.app.node.once.slot import slots_of
from coordinator.app.node.once.start import Tell, Wanted, run_once
from coordinator.errors import CoordError
slot_s, rounds, line = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
flags = {"groupId": "nightly", "log.level": "warning", "conflictExitCode": 0}
argv = ("/bin/sh", "-c", line)
settings = load(None, flags=flags, environ=os.environ, argv=argv)
wanted = Wanted(slots=slots_of(f"{slot_s}s", "UTC"), early_s=120.0, late_s=None, retry_after_s=None)
print("wall", time.time(), flush=True)
for _ in range(rounds):
    time.sleep(slot_s - time.time() % slot_s)
    try:
        if os.waitpid(-1, os.WNOHANG) == (0, 0):
            continue  # its last one still waits: this busy machine starts no second one
    except ChildProcessError:
        pass
    child = os.fork()
    if child == 0:
        try:
            os._exit(run_once(settings, wanted, Tell(lambda _: None, print)))
        except CoordError as error:
            print("refused", error, flush=True)
            os._exit(error.exit_code)
while True:
    try:
        print("ended", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    except ChildProcessError:
        break
"""


@pytest.mark.long
@pytest.mark.timeout(2 * SLOTS * SLOT_S)
def test_each_slot_is_started_once_whatever_the_clocks_of_the_machines(tmp_path, database):
    with bed(tmp_path, database.conninfo, database.schema, group="nightly") as nodes:
        nodes.liveness_s, nodes.heartbeat_s = 6.0, 1.0
        line = f'echo "$COORD_SCHEDULED_AT $COORD_NODE" >> {tmp_path}/ran'
        machines = []
        for number in range(MACHINES):
            clocks = Clocks()
            clocks.step(-SKEW_S + 2 * SKEW_S * number / (MACHINES - 1))
            _, environ = nodes.command_of(f"m{number:02}", env=clocks.env)
            rounds = SLOTS + 1
            command = [sys.executable, "-c", CRON, str(SLOT_S), str(rounds), line]
            out = (tmp_path / f"m{number:02}.out").open("w")
            with out:
                machines.append(
                    subprocess.Popen(command, env=environ, stdout=out, stderr=subprocess.STDOUT)
                )
        try:
            for machine in machines:
                machine.wait((SLOTS + 12) * SLOT_S)
        finally:
            for machine in machines:
                machine.kill()
                machine.wait()

        ran = [text.split() for text in (tmp_path / "ran").read_text().splitlines()]
        count = collections.Counter(datetime.fromisoformat(slot) for slot, _ in ran)
        assert set(count.values()) == {1}, "a slot was started twice"
        slots = sorted(count)
        spans = (after - before for before, after in itertools.pairwise(slots))
        left_out = sum(span // timedelta(seconds=SLOT_S) - 1 for span in spans)
        # Where other work keeps all machines from starting in time, slots are missed.
        within(left_out, 0, "slots were left out")
        within(SLOTS, len(slots), "slots were started")
        assert len({machine for _, machine in ran}) > 3, "one machine was the starter of all"
        eventually(
            lambda: (
                database.query("SELECT last_outcome FROM schedule WHERE name = 'once'")[0][0]
                == "ok"
            ),
            10,
            "the last run has ended",
        )
