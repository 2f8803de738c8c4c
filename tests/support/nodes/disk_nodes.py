"""Nodes that only have disks: rows of live sessions, real servers of segments, no guardian."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.app.checkpoints.making import Made, Maker
from coordinator.app.checkpoints.material import bytes_content
from coordinator.app.checkpoints.restoring import Reader
from coordinator.app.checkpoints.serving import OwnDisks, served_by
from coordinator.app.config.settings import CheckpointSettings, DatabaseSettings, NodeSettings
from coordinator.segments.devices.disk import Disk
from coordinator.store.checkpoints.catalogue import Catalogue
from coordinator.store.checkpoints.records import Holding
from coordinator.web.segment_server import SegmentServer

GROUP = "orders"


@dataclass(slots=True)
class DiskNode:
    """One node with its disks."""

    name: str
    session: str
    settings: NodeSettings
    own_disks: OwnDisks
    server: SegmentServer | None = None


@dataclass(slots=True)
class DiskNodes:
    """A group of them; the first one holds the group's token."""

    database: object
    folder: Path
    checkpoints: CheckpointSettings
    nodes: dict[str, DiskNode] = field(default_factory=dict)
    term: int = 1

    def catalogue(self) -> Catalogue:
        return Catalogue(
            self.database.conninfo,
            schema=self.database.schema,
            group=GROUP,
            where="test",
            timeout_s=20.0,
        )

    def add(self, name: str, disks: int = 1) -> DiskNode:
        """Start a node: its session, its disks, its server."""
        session = str(uuid.uuid4())
        roots = [self.folder / name / f"disk{number}" for number in range(disks)]
        for root in roots:
            root.mkdir(parents=True, exist_ok=True)
        given = {each: getattr(self.checkpoints, each) for each in self.checkpoints.__slots__}
        settings = NodeSettings(
            task_id=name,
            group_id=GROUP,
            database=DatabaseSettings(conninfo=self.database.conninfo, schema=self.database.schema),
            checkpoints=CheckpointSettings(
                **given
                | {
                    "disks": tuple(f"file://{root}" for root in roots),
                    "listen": "127.0.0.1:0",
                }
            ),
        )
        self.database.query(
            "INSERT INTO health_check (group_id, task_id, session, last_heartbeat, liveness_ms,"
            " heartbeat_ms) VALUES (%s, %s, %s, now(), 3600000, 1000000)"
            " ON CONFLICT (group_id, task_id) DO UPDATE SET session = excluded.session,"
            " last_heartbeat = now(), ended_at = NULL",
            *(GROUP, name, session),
        )
        node = DiskNode(name, session, settings, OwnDisks(settings))
        node.own_disks.silent_s = 3_600.0  # a test reports when it wants to
        with self.catalogue() as catalogue:
            node.own_disks.look(catalogue)
            node.server = served_by(settings, catalogue, node.own_disks.disks)
        self.nodes[name] = node
        return node

    def hold(self, name: str) -> Holding:
        """Give a node the group's token, under the next term."""
        session = self.nodes[name].session
        self.database.query(
            "INSERT INTO token_holder (group_id, task_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            *(GROUP, name),
        )
        ((self.term,),) = self.database.query(
            "UPDATE token_holder SET task_id = %s, session = %s, term = term + 1"
            " WHERE group_id = %s RETURNING term",
            *(name, session, GROUP),
        )
        return Holding(token=GROUP, term=self.term, session=session, node=name)

    def put(self, holding: Holding, content: bytes) -> Made:
        with self.catalogue() as catalogue:
            maker = Maker(catalogue, holding, self.checkpoints)
            return maker.put(bytes_content(content))

    def read(self, sequence: int | None = None, *, node: str = "nobody") -> bytes:
        """Read a checkpoint from a machine that has no disk: everything is sent."""
        got: list[bytes] = []

        def take(chunks: Iterator[bytes]) -> None:
            got[:] = [b"".join(chunks)]

        with self.catalogue() as catalogue:
            reader = Reader(catalogue, node, self.term)
            reader.content(reader.chosen(GROUP, sequence), take)
        return got[0]

    def kill(self, name: str, *, with_disks: bool = False) -> None:
        """End a node's session and its server."""
        node = self.nodes[name]
        assert node.server is not None
        node.server.close()
        node.server = None
        self.database.query("UPDATE health_check SET ended_at = now() WHERE task_id = %s", name)
        if with_disks:
            shutil.rmtree(self.folder / name)

    def disks(self) -> dict[str, Disk]:
        return {
            device: disk
            for node in self.nodes.values()
            for device, disk in node.own_disks.disks.items()
        }

    def look(self) -> None:
        """Let every live node report and tidy up."""
        with self.catalogue() as catalogue:
            for node in self.nodes.values():
                if node.server is not None:
                    node.own_disks.look(catalogue)

    def path(self, sequence: int, place: int) -> Path:
        """Return the file of a segment."""
        ((segment, device),) = self.database.query(
            "SELECT s.id::text, s.device::text FROM segment s JOIN segment_group g"
            " ON g.id = s.segment_group WHERE g.sequence = %s AND s.place = %s",
            *(sequence, place),
        )
        return self.disks()[device].path_of(segment)

    def statuses(self) -> list[tuple[int, str]]:
        return self.database.query(
            "SELECT sequence, status FROM sys_segment_groups ORDER BY sequence"
        )


@contextmanager
def disk_nodes(
    database: object, folder: Path, count: int, *, disks: int = 1, **settings: object
) -> Iterator[DiskNodes]:
    """Start so many nodes n1, n2, ... of one group; nothing goes into rows by default."""
    database.query("INSERT INTO group_record (group_id) VALUES (%s) ON CONFLICT DO NOTHING", GROUP)
    made = DiskNodes(database, folder, CheckpointSettings(**{"rows_max": 0, **settings}))
    try:
        for number in range(1, count + 1):
            made.add(f"n{number}", disks)
        yield made
    finally:
        for node in made.nodes.values():
            if node.server is not None:
                node.server.close()
