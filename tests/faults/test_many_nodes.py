"""Many nodes at once."""

from __future__ import annotations

from tests.support.nodes.processes import bed, eventually
from tests.support.nodes.record import overlaps


def test_twenty_nodes_started_at_once_on_an_empty_database(tmp_path, unmigrated):
    """All come up, the schema is made once, one holds."""
    with bed(tmp_path, unmigrated.conninfo, unmigrated.schema) as group:
        group.liveness_s, group.heartbeat_s = 6.0, 1.0
        for number in range(20):
            group.start(f"node-{number}")

        group.wait_for_run(within_s=60)
        said = [node.said for node in group.nodes.values()]
        eventually(
            lambda: all("standby" in text() for text in said),
            60,
            lambda: f"all are up{group.story()}",
        )

        assert all(node.process.poll() is None for node in group.nodes.values())
        rows = unmigrated.query("SELECT count(*) FROM health_check WHERE ended_at IS NULL")
        assert rows == [(20,)]
        assert unmigrated.query("SELECT term FROM token_holder") == [(1,)]
        assert overlaps(group.runs()) == []
        assert len(group.runs()) == 1
