"""Config.toml as types: checkpoints, and the storage devices of this node."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from coordinator.app.config.model.field_types import Address, Count, ScheduleInterval
from coordinator.app.config.model.table import Table, broken_rule, setting
from coordinator.app.config.settings import CheckpointSettings

_own = partial(setting, of=CheckpointSettings)


def device_url(raw: str) -> str:
    """Return the URL of a storage device: a directory, by its absolute path."""
    if not raw.startswith("file:///"):
        raise ValueError('must be the URL of a directory, as in "file:///var/lib/coord/a"')
    if "\0" in raw or ".." in raw.split("/"):
        raise ValueError("must be an absolute path without '..'")
    return raw


class DiskTable(Table):
    """Storage devices of this node, for the segments of checkpoints; each is a directory.

    A directory becomes a device when the node first meets it empty or without the mark of another.
    """

    url: Annotated[str, AfterValidator(device_url)] = setting(
        "url",
        "A directory on a disk of its own; two nodes never share one.",
        default=...,
        shown="file:///var/lib/coord/a",
        aside=True,
    )


class CheckpointsTable(Table):
    """Checkpoints of the program's state: how they are spread, and how long they are kept."""

    data: Annotated[Count, Field(ge=1, le=32)] | None = _own(
        "data",
        "Segments that restore a checkpoint; 1 makes mirrors. Default: 1 below four nodes with"
        " disks, 2 below seven, else 4.",
        shown=4,
    )
    parity: Annotated[Count, Field(ge=0, le=32)] | None = _own(
        "parity", "Segments that may be lost. Default: 1 below seven nodes, else 2.", shown=2
    )
    keep: Annotated[Count, Field(ge=1, le=1_000_000)] = _own(
        "keep", "So many checkpoints of a token are kept."
    )
    keep_for: ScheduleInterval | None = _own(
        "keepFor", "Seconds after which an older one goes, but never the newest.", shown="7d"
    )
    rows_max: Annotated[Count, Field(ge=0, le=8 << 20)] = _own(
        "rowsMax", "Bytes up to which a checkpoint is kept in PostgreSQL instead of on disks."
    )
    listen: Address | None = _own(
        "listen",
        "Address on which other nodes reach the segments of this one. Default: none, and then only"
        " this node uses its disks.",
        shown="0.0.0.0:8009",
    )
    advertise: str | None = _own(
        "advertise",
        "Host name or address under which they do. Default: the one of listen, or this machine.",
        shown="node-1.example.org",
    )
    directory: str | None = _own(
        "directory",
        "Directory below which COORD_CHECKPOINT_DIR is made, filled with the last checkpoint,"
        " before the program starts. Default: none, and then nothing is loaded.",
        shown="/var/lib/coord/state",
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> CheckpointsTable:
        if (self.data is None) != (self.parity is None):
            key = "parity" if self.parity is None else "data"
            raise broken_rule(key, "must be given together with the other of data and parity")
        if self.advertise is not None and self.listen is None:
            raise broken_rule("advertise", "needs listen")
        return self
