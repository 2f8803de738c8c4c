"""Rows of the catalogue as the values of segments: layouts, headers, places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordinator.app.checkpoints.places import Located
from coordinator.segments.header import Header
from coordinator.segments.layout import Layout

Row = Mapping[str, Any]


def layout_of(checkpoint: Row) -> Layout:
    """Return the layout of a checkpoint."""
    return Layout(
        data_count=checkpoint["data_count"],
        parity_count=checkpoint["parity_count"],
        length=checkpoint["length"],
        block_bytes=checkpoint["block_bytes"],
    )


def header_of(checkpoint: Row, segment: Row, group: str) -> Header:
    """Return the header that the file of a segment has."""
    return Header(
        segment=segment["segment"],
        checkpoint=checkpoint["id"],
        group=group,
        token=checkpoint["token"],
        term=checkpoint["term"],
        session=checkpoint["session"],
        sequence=checkpoint["sequence"],
        form=checkpoint["form"],
        place=segment["place"],
        layout=layout_of(checkpoint),
    )


def located(segment: str, row: Row) -> Located:
    """Return the place of a segment on the device of a row: its own, or one that it may have."""
    return Located(
        segment=segment,
        device=row["device"],
        node=row["node"],
        url=row["url"],
        address=row["address"],
        fingerprint=row["fingerprint"],
    )
