"""Making of a checkpoint: intent, files, commit (V1, V2)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

from coordinator.app.checkpoints.material import Content, Material, exactly, nothing_more
from coordinator.app.checkpoints.places import Located, Places, Sink
from coordinator.app.checkpoints.rows import located
from coordinator.app.config.settings import CheckpointSettings
from coordinator.errors import CoordError
from coordinator.segments.codec import codec_of, has_erasure_code
from coordinator.segments.faults import DiskError, SourceChangedError
from coordinator.segments.file import SegmentWriter, digest_of, file_bytes, new_digest
from coordinator.segments.header import Header
from coordinator.segments.layout import BLOCK_BYTES, Layout
from coordinator.segments.placing import Device, choose, default_width
from coordinator.segments.rules import Kept, expired
from coordinator.segments.striping import spread
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.catalogue import ROW_BYTES, Catalogue
from coordinator.store.checkpoints.records import Holding, NewCheckpoint, NewSegment

#: Files of checkpoints that are gone are deleted so much later: a reader may have begun.
LATE_S = 60.0
#: Devices that fail while a checkpoint is made; each failure takes the next device.
FAILURES_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A checkpoint that counts.

    left_out: names in the directory that have no content.
    degraded: segments of it share a node.
    """

    checkpoint: int
    sequence: int
    length: int
    data_count: int
    parity_count: int
    left_out: tuple[str, ...] = ()
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    """A device, and how this process reaches it."""

    device: Device
    located: Located


class _DeviceFailedError(Exception):
    """A device failed while a file was written to it: another one is to be taken."""

    def __init__(self, device: str, fault: DiskError) -> None:
        super().__init__(str(fault))
        self.device, self.fault = device, fault


class _Guarded:
    """A file that is written, whose faults name its device."""

    __slots__ = ("_device", "_sink")

    def __init__(self, device: str, sink: Sink) -> None:
        self._device, self._sink = device, sink

    def write(self, part: bytes) -> None:
        with _named(self._device):
            self._sink.write(part)

    def keep(self, digest: bytes) -> None:
        with _named(self._device):
            self._sink.keep(digest)


@contextmanager
def _named(device: str) -> Iterator[None]:
    try:
        yield
    except DiskError as error:
        raise _DeviceFailedError(device, error) from error


class Maker:
    """Makes checkpoints of one holding."""

    def __init__(
        self, catalogue: Catalogue, holding: Holding, settings: CheckpointSettings
    ) -> None:
        self._catalogue, self._holding, self._settings = catalogue, holding, settings
        self._places = Places(catalogue, holding.node, holding.term)

    def put(self, material: Material) -> Made:
        """Make a checkpoint, and let those go that retention does not keep.

        Errors: TokenLostError (76): nothing was committed. SourceChangedError; DiskError when no
        device has room; CoordError of the database.
        """
        failed: set[str] = set()
        while True:
            with material.open() as content:
                try:
                    made = self._put(material.form, content, failed)
                except _DeviceFailedError as error:
                    failed.add(error.device)
                    if len(failed) >= FAILURES_MAX:
                        raise error.fault from error
                    continue
            # It is committed, whatever comes now; the next one lets go of more.
            with suppress(CoordError):
                self.let_go()
            return made

    def let_go(self) -> None:
        """Expire what retention does not keep (V7), and forget what no commit can reach (V3)."""
        rows = self._catalogue.read(
            statements.CHECKPOINTS,
            token=self._holding.token,
            checkpoint=None,
            states=["COMMITTED"],
        )
        kept = [
            Kept(checkpoint=row["id"], sequence=row["sequence"], age_s=row["age_s"]) for row in rows
        ]
        gone = expired(kept, self._settings.keep, self._settings.keep_s)
        if gone:
            self._catalogue.expire(gone)
        forgettable = [row["id"] for row in self._catalogue.read(statements.FORGETTABLE)]
        if forgettable:
            self._catalogue.forget(forgettable, LATE_S)

    def _put(self, form: str, content: Content, failed: set[str]) -> Made:
        left_out = tuple(getattr(content, "left_out", ()))
        if content.length <= self._settings.rows_max:
            return self._put_rows(form, content, left_out)
        devices = [row for row in self._devices() if row.device.device not in failed]
        data, parity = self._width(devices)
        layout = Layout(data_count=data, parity_count=parity, length=content.length)
        chosen = choose([row.device for row in devices], layout.segment_count, file_bytes(layout))
        places = {row.device.device: row.located for row in devices}
        segments = [
            NewSegment(str(uuid.uuid4()), place, device.device)
            for place, device in enumerate(chosen)
        ]
        checkpoint, sequence = self._catalogue.begin(self._new(form, layout), segments)
        try:
            digests = self._write(form, content, layout, segments, places, checkpoint, sequence)
            files = [
                (each.segment, digest, file_bytes(layout))
                for each, digest in zip(segments, digests, strict=True)
            ]
            self._catalogue.commit(checkpoint, self._holding, digest_of(iter(digests)), files)
        except (_DeviceFailedError, SourceChangedError, OSError):
            self._catalogue.give_up(checkpoint, 0.0)
            raise
        return Made(
            checkpoint=checkpoint,
            sequence=sequence,
            length=content.length,
            data_count=data,
            parity_count=parity,
            left_out=left_out,
            degraded=len({device.node for device in chosen}) < layout.segment_count,
        )

    def _put_rows(self, form: str, content: Content, left_out: tuple[str, ...]) -> Made:
        rows: list[bytes] = []
        whole = new_digest()
        left = content.length
        while left:
            part = exactly(content, min(left, ROW_BYTES))
            whole.update(part)
            rows.append(part)
            left -= len(part)
        nothing_more(content)
        made = NewCheckpoint(
            holding=self._holding,
            form=form,
            data_count=0,
            parity_count=0,
            block_bytes=ROW_BYTES,
            length=content.length,
        )
        checkpoint, sequence = self._catalogue.save(made, whole.digest(), rows)
        return Made(
            checkpoint=checkpoint,
            sequence=sequence,
            length=content.length,
            data_count=0,
            parity_count=0,
            left_out=left_out,
        )

    def _write(
        self,
        form: str,
        content: Content,
        layout: Layout,
        segments: Sequence[NewSegment],
        places: dict[str, Located],
        checkpoint: int,
        sequence: int,
    ) -> list[bytes]:
        """Write all files, and bring them onto their disks; return their digests."""
        holding, size = self._holding, file_bytes(layout)
        with ExitStack() as stack:
            sinks: list[_Guarded] = []
            writers: list[SegmentWriter] = []
            for each in segments:
                where = replace(places[each.device], segment=each.segment)
                with _named(each.device):
                    opened = stack.enter_context(self._places.writing(where, size))
                sink = _Guarded(each.device, opened)
                header = Header(
                    segment=each.segment,
                    checkpoint=checkpoint,
                    group=self._catalogue.group,
                    token=holding.token,
                    term=holding.term,
                    session=holding.session,
                    sequence=sequence,
                    form=form,
                    place=each.place,
                    layout=layout,
                )
                sinks.append(sink)
                writers.append(SegmentWriter(header, sink.write))
            digests = spread(content, layout, codec_of(layout), writers)
            # Each waits for its disk, or for another node's.
            with ThreadPoolExecutor(len(sinks), "coord-keep") as pool:
                list(pool.map(lambda pair: pair[0].keep(pair[1]), zip(sinks, digests, strict=True)))
        return digests

    def _devices(self) -> list[_Known]:
        """Return the devices that can be written to from here."""
        found = []
        for row in self._catalogue.read(statements.DEVICES):
            where = located("", row)
            usable = row["address"] is not None or self._places.is_here(where)
            if row["state"] != "online" or not usable:
                continue
            device = Device(
                device=row["device"],
                node=row["node"],
                free_bytes=row["free_bytes"],
                used_bytes=row["segment_bytes"],
            )
            found.append(_Known(device, where))
        if not found:
            raise DiskError(
                "no storage device of the group is online: a checkpoint of more than"
                f" {self._settings.rows_max} bytes needs [[disks]] on a live node"
            )
        return found

    def _width(self, devices: Sequence[_Known]) -> tuple[int, int]:
        if self._settings.data is not None and self._settings.parity is not None:
            return self._settings.data, self._settings.parity
        nodes = {row.device.node for row in devices}
        return default_width(len(nodes), erasure_code=has_erasure_code())

    def _new(self, form: str, layout: Layout) -> NewCheckpoint:
        return NewCheckpoint(
            holding=self._holding,
            form=form,
            data_count=layout.data_count,
            parity_count=layout.parity_count,
            block_bytes=BLOCK_BYTES,
            length=layout.length,
        )
