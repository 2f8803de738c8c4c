"""Place of work of one subtask: catalogue, devices, and changes under the subtask's claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

from coordinator.app.checkpoints.places import Located, Places
from coordinator.app.checkpoints.rows import header_of, located
from coordinator.app.config.settings import NodeSettings
from coordinator.ports import ClaimedSubtask
from coordinator.segments.faults import SegmentDamagedError
from coordinator.segments.file import SegmentReader, SegmentWriter, file_bytes
from coordinator.segments.header import Header
from coordinator.segments.placing import Device
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.catalogue import Catalogue
from coordinator.store.checkpoints.records import SegmentChange
from coordinator.store.sql.statement import named

Row = dict[str, Any]
#: Time for one request to the database.
REQUEST_S = 30.0
#: A run in which no block is read or written for so long hangs: a node that says nothing is given
#: up after 20 s, and there may be several of them.
HUNG_AFTER_S = 180.0
#: The old file of a segment that moved is deleted so much later: a reader may have begun.
LATE_S = 60.0


class NotAsSeenError(Exception):
    """A segment is no longer as it was seen; the transaction is rolled back."""


class Site:
    """Catalogue and devices, as one subtask works with them."""

    def __init__(self, subtask: ClaimedSubtask, catalogue: Catalogue) -> None:
        self.subtask, self.catalogue = subtask, catalogue
        self.places = Places(catalogue, subtask.node, subtask.term)
        self._units = self._size = 0
        self._total: int | None = None

    def segments(self, checkpoint: int | None = None) -> list[Row]:
        """Return the segments of one checkpoint, or all of the group."""
        return self.catalogue.read(statements.SEGMENTS, checkpoint=checkpoint, device=None)

    def checkpoints(self, checkpoint: int | None = None) -> list[Row]:
        """Return the committed checkpoints, or the one of a number."""
        return self.catalogue.read(
            statements.CHECKPOINTS, token=None, checkpoint=checkpoint, states=["COMMITTED"]
        )

    def devices(self) -> tuple[dict[str, Row], list[Device]]:
        """Return the devices that can be written to: their rows, and as a choice has them."""
        rows = {
            row["device"]: row
            for row in self.catalogue.read(statements.DEVICES)
            if row["state"] == "online"
        }
        known = [
            Device(
                device=row["device"],
                node=row["node"],
                free_bytes=row["free_bytes"],
                used_bytes=row["segment_bytes"],
            )
            for row in rows.values()
        ]
        return rows, known

    def change(
        self,
        changes: Sequence[SegmentChange],
        *more: tuple[LiteralString, Mapping[str, object]],
    ) -> bool:
        """Change segments, and run further statements, under the claim; all of it or nothing.

        False when a segment has another version by now (V4).
        Errors: TokenLostError when the claim is over.
        """
        schema, group = self.subtask.schema, self.subtask.group
        try:
            with self.subtask.transaction() as connection:
                for each in changes:
                    statement = named(statements.CHANGE_SEGMENT, schema)
                    done = connection.execute(statement, {"group": group, **each.values()})
                    if done.rowcount != 1:
                        raise NotAsSeenError
                for further, values in more:
                    connection.execute(named(further, schema), {"group": group, **values})
        except NotAsSeenError:
            return False
        return True

    def note(self, segment: str, device: str) -> None:
        """Note that a file may be on a device without the catalogue placing it there."""
        self.change([], self.intent(segment, device))

    def intent(self, segment: str, device: str) -> tuple[LiteralString, Mapping[str, object]]:
        """Return the statement that notes a file which is nobody's once this claim is over."""
        statement, values = leaving(segment, device, 0.0)
        return statement, {
            **values,
            "subtask": self.subtask.subtask,
            "subtask_term": self.subtask.term,
        }

    def progress(self, *, units: int, size: int, total: int | None = None) -> None:
        """Report what is done."""
        self._units, self._size, self._total = units, size, total
        self.subtask.progress(units=units, size=size, total_units=total)

    def moved(self, size: int) -> int:
        """Report so many bytes of the present unit: it does not hang (Q9)."""
        self._size += size
        self.subtask.progress(units=self._units, size=self._size, total_units=self._total)
        return size

    def header(self, checkpoint: Row, segment: Row) -> Header:
        """Return the header that a segment's file has."""
        return header_of(checkpoint, segment, self.subtask.group)

    def write(self, where: Located, header: Header, blocks: Iterator[bytes], digest: bytes) -> None:
        """Write a segment's file, which must come out with the digest of the catalogue.

        Errors: DiskError; SegmentDamagedError; CheckpointLostError.
        """
        with self.places.writing(where, file_bytes(header.layout)) as sink:
            writer = SegmentWriter(header, sink.write)
            for block in blocks:
                writer.add(block)
                self.moved(len(block))
            made = writer.finish()
            if made != digest:
                raise SegmentDamagedError(
                    f"segment {where.segment} came out with another digest than the catalogue has"
                )
            sink.keep(made)

    def whole(self, segment: Row) -> bool:
        """Read a segment's file whole, and compare it with the catalogue."""
        with self.places.reading(located(segment["segment"], segment)) as source:
            reader = SegmentReader(source, segment["segment"])
            for block in reader.blocks():
                self.moved(len(block))
        return bool(reader.stored == segment["digest"])


def leaving(segment: str, device: str, late_s: float) -> tuple[LiteralString, Mapping[str, object]]:
    """Return the statement that notes a file to be deleted, unless it is placed there by then."""
    values: dict[str, object] = {"segment": segment, "device": device, "subtask": None}
    values |= {"subtask_term": None, "late_ms": round(late_s * 1000)}
    return statements.NOTE_LEAVING, values


@contextmanager
def opened(subtask: ClaimedSubtask) -> Iterator[Site]:
    """Open the place of work of a subtask.

    Errors: CoordError of the database.
    """
    settings: NodeSettings = subtask.settings
    with Catalogue(
        settings.database.conninfo,
        schema=subtask.schema,
        group=subtask.group,
        where=settings.database.label,
        timeout_s=REQUEST_S,
    ) as catalogue:
        yield Site(subtask, catalogue)


def has_disks(settings: NodeSettings) -> bool:
    """Say whether a node can work on checkpoints: it has disks itself."""
    return bool(settings.checkpoints.disks)
