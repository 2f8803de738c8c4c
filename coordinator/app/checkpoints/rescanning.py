"""The catalogue told by the files, when the database has lost it.

Each node tells of the files on its own disks. Only what the catalogue knows nothing of is added: no
segment, no note, no checkpoint of another number under the same sequence. A file that is not whole
is left where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coordinator.app.checkpoints.places import path_in
from coordinator.app.checkpoints.serving import SILENT_S
from coordinator.segments.checking import INTACT, check
from coordinator.segments.devices.disk import Disk
from coordinator.segments.devices.marker import marker_of
from coordinator.segments.faults import DiskError
from coordinator.segments.file import file_bytes
from coordinator.segments.header import Header
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.catalogue import Catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescanned:
    """Result for one file that the catalogue did not know."""

    segment: str
    url: str
    token: str
    sequence: int
    place: int
    added: bool
    detail: str = ""


def rescan(catalogue: Catalogue, node: str, urls: Sequence[str]) -> Iterator[Rescanned]:
    """Add the segments on these disks of this machine to the catalogue.

    Errors: DiskError when a disk is not there; CoordError of the database.
    """
    for url in urls:
        path = path_in(url)
        device = marker_of(path)
        if device is None:
            raise DiskError(f"{path}: it is no storage device: its marker is gone")
        disk = Disk(path, device)
        state = disk.state()
        catalogue.change(
            statements.REPORT_DEVICE,
            device=device,
            node=node,
            url=url,
            state=state.state,
            total_bytes=state.total_bytes,
            free_bytes=state.free_bytes,
            error=state.error,
            silent_ms=round(1000 * SILENT_S),
            takeover_ms=0,
        )
        for segment in disk.segments():
            if catalogue.read(statements.KNOWN, segment=segment):
                continue
            finding = check(disk, segment, None)
            header = finding.header
            if finding.verdict != INTACT or header is None:
                yield Rescanned(
                    segment=segment,
                    url=url,
                    token="" if header is None else header.token,
                    sequence=0 if header is None else header.sequence,
                    place=0 if header is None else header.place,
                    added=False,
                    detail=finding.detail or "",
                )
                continue
            assert finding.stored_digest is not None, "a whole file has a digest"
            yield _added(catalogue, header, url, device, node, finding.stored_digest)
    catalogue.change(statements.NUMBER_ON, schema=catalogue.schema)


def _added(
    catalogue: Catalogue, header: Header, url: str, device: str, node: str, digest: bytes
) -> Rescanned:
    """Add one segment, and its checkpoint where it is the first of it."""
    layout = header.layout
    foreign = header.group != catalogue.group
    if not foreign:
        catalogue.change(
            statements.ADMIT_CHECKPOINT,
            checkpoint=header.checkpoint,
            token=header.token,
            term=header.term,
            session=header.session,
            sequence=header.sequence,
            node=node,
            form=header.form,
            data_count=layout.data_count,
            parity_count=layout.parity_count,
            block_bytes=layout.block_bytes,
            length=layout.length,
        )
    rows = (
        []
        if foreign
        else catalogue.change(
            statements.ADMIT_SEGMENT,
            segment=header.segment,
            checkpoint=header.checkpoint,
            token=header.token,
            sequence=header.sequence,
            place=header.place,
            device=device,
            file_bytes=file_bytes(layout),
            digest=digest,
        )
    )
    reason = f"it is of group {header.group}" if foreign else "another one has its number"
    return Rescanned(
        segment=header.segment,
        url=url,
        token=header.token,
        sequence=header.sequence,
        place=header.place,
        added=bool(rows),
        detail="" if rows else reason,
    )
