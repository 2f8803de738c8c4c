"""The walk-through of the README on two machines of a real network: W10.

1. Run it on two machines. 2. Each has a taskId of its own. 3. Only one processes. 4. Stop or
disconnect the token bearer. 5. The other detects it and takes over.
"""

from __future__ import annotations

import time

import pytest

from coordinator.protocol.rules.timing import lease_of
from tests.support.bounds import within
from tests.support.networks import machines as networks
from tests.support.nodes.processes import bed, eventually
from tests.support.nodes.record import overlaps, terms_rise

LIVENESS_S, HEARTBEAT_S = 3, 0.5
#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0

CONFIG = """
taskId = "{node}"
groupId = "task-group-01"
heartbeatFrequency = {heartbeat}
livenessCheckInterval = {liveness}

[databaseConfig]
host = "{host}"
user = "root"
password = "password"
database = "database"
port = 5432
"""


@pytest.fixture
def net():
    with networks.network() as made:
        yield made


@pytest.fixture
def server(net):
    with networks.database_machine(net) as made:
        networks.new_database(made, "database", "root", "password")
        yield made


@pytest.fixture
def machines(net, server, tmp_path):
    """Steps 1 to 3: two machines, started one after the other; only one of them processes."""
    with bed(tmp_path, "", "", "task-group-01") as made:
        for node in ("node-1", "node-2"):
            net.add(node)
            with net.inside(node):
                made.start_as_written(node, config_of(net, node))
            made.wait_for_run()
        made.wait_for_standbys(1)
        assert [run.node for run in made.runs()] == ["node-1"]
        yield made


def config_of(net, node: str) -> str:
    host = net.address("database")
    return CONFIG.format(node=node, heartbeat=HEARTBEAT_S, liveness=LIVENESS_S, host=host)


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_stop_the_token_bearer_and_the_other_takes_over(net, server, machines):
    """W10, steps 4 and 5, stopped: the other starts at once, and the stopped one may come back."""
    stopped_at = boottime()

    machines.nodes["node-1"].process.terminate()

    second = machines.wait_for_run(after=1)
    assert machines.nodes["node-1"].process.wait(5) == 0
    assert (second.node, second.term) == ("node-2", 2)
    within(second.first - stopped_at, LIVENESS_S)  # pushed: before anybody could have waited
    with net.inside("node-1"):
        machines.start_as_written("node-1", config_of(net, "node-1"))
    eventually(
        lambda: "standby (node-2 active, term 2)" in machines.nodes["node-1"].said(),
        10,
        lambda: f"node-1 is a standby again{machines.story()}",
    )
    assert overlaps(machines.runs()) == []
    assert server.query("SELECT task_id, term FROM token_holder", dbname="database") == [
        ("node-2", 2)
    ]


def test_disconnect_the_token_bearer_and_the_other_takes_over(net, machines):
    """W10, steps 4 and 5, disconnected: its program stops by itself before the other's starts."""
    net.unplug("node-1")
    cut_at = boottime()

    second = machines.wait_for_run(after=1, within_s=LIVENESS_S + HEARTBEAT_S + 5)
    net.heal("node-1")

    first = machines.runs()[0]
    assert (second.node, second.term) == ("node-2", 2)
    within(first.last - cut_at, lease_of(LIVENESS_S) + 0.1)
    assert first.last < second.first
    within(second.first - cut_at, LIVENESS_S + HEARTBEAT_S + 0.1 + MACHINE_S)
    eventually(
        lambda: "standby (node-2 active, term 2)" in machines.nodes["node-1"].said(),
        10,
        lambda: f"node-1 is a standby again{machines.story()}",
    )
    assert overlaps(machines.runs()) == []
    assert terms_rise(machines.runs())
