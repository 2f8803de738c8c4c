"""Deletion of the files of one disk that are due (V5), and of temporary files of nobody (V9)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.segments.devices.disk import Disk, remove
from coordinator.segments.devices.lock import is_nobodys
from coordinator.segments.faults import DiskError
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.catalogue import Catalogue
from coordinator.web.segment_server import REQUEST_MAX_S

#: Time in one look for the deletions of all disks: none should keep a report of a disk from coming.
TIDY_S = 5.0
#: A writer that was deposed is dead after its lease, and its last request after this.
WRITER_MAX_S = REQUEST_MAX_S + 600.0


def tidy(catalogue: Catalogue, disk: Disk, within_s: float = TIDY_S) -> None:
    """Delete the files that are due (V5), and temporary files of nobody (V9).

    The rest comes with the next look when within_s are over; the device is locked for a few files
    at a time, because others wait to give theirs a name.
    Errors: DiskError at the end for a file that could not be deleted; CoordError.
    """
    clock = BoottimeClock()
    until_s = clock.now() + within_s
    _tidy_temporaries(disk, within_s)
    failed: list[DiskError] = []
    last: Mapping[str, object] | None = {}
    while last is not None and clock.now() < until_s:
        last = _tidy_some(catalogue, disk, last, until_s - clock.now(), failed)
    if failed:
        raise failed[0]


def _tidy_temporaries(disk: Disk, wait_s: float) -> None:
    if not disk.temporaries():
        return
    with disk.deleting(wait_s):
        for path in disk.temporaries():
            if is_nobodys(path):
                with contextlib.suppress(OSError):
                    remove(path)


def _tidy_some(
    catalogue: Catalogue,
    disk: Disk,
    last: Mapping[str, object],
    wait_s: float,
    failed: list[DiskError],
) -> Mapping[str, object] | None:
    """Delete the first files that are due behind the last one; return the new last one, or None."""
    values = {
        "device": disk.device,
        "writer_max_ms": round(WRITER_MAX_S * 1000),
        "after": last.get("leaves_at"),
        "after_segment": last.get("segment"),
    }
    if not catalogue.read(statements.DUE, **values):
        return None
    gone: dict[str, object] = {}
    with disk.deleting(wait_s):
        # Read anew: whoever brings such a file back has noted that before it may have its name.
        due = catalogue.read(statements.DUE, **values)
        for row in due:
            try:
                if not row["placed"]:
                    disk.delete(row["segment"])
            except DiskError as error:
                failed.append(error)
            else:
                if row["forgettable"]:
                    gone[row["segment"]] = row["leaves_at"]
    if gone:
        catalogue.change(
            statements.FORGET_LEAVING,
            device=disk.device,
            segments=list(gone),
            leave_at=list(gone.values()),
        )
    return due[-1] if due else None
