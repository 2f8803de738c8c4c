"""Choice of devices: for the segments of a new checkpoint, for a rebuilt one, for an even fill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from coordinator.segments.faults import DiskError


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Storage device as the catalogue knows it."""

    device: str
    node: str
    free_bytes: int
    used_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Segment of a checkpoint on a device."""

    segment: str
    checkpoint: int
    device: str
    size: int


@dataclass(frozen=True, slots=True)
class Move:
    """Move of a segment from a device to another."""

    placed: Placed
    to: str


def default_width(node_count: int, *, erasure_code: bool) -> tuple[int, int]:
    """Return data and parity for the nodes that have disks: mirrors without the library."""
    if node_count < 4 or not erasure_code:
        return 1, 1
    return (2, 1) if node_count < 7 else (4, 2)


def choose(devices: Sequence[Device], count: int, size: int) -> tuple[Device, ...]:
    """Return devices for the segments of one checkpoint, in the order of their places.

    Different nodes as far as there are, then different devices, then the emptiest. One device gets
    several segments only when there are no others.
    Errors: DiskError when no device has room.
    """
    chosen: list[Device] = []
    for _ in range(count):
        given: Counter[str] = Counter(each.device for each in chosen)
        of_node: Counter[str] = Counter(each.node for each in chosen)
        roomy = [each for each in devices if each.free_bytes > size * (1 + given[each.device])]
        if not roomy:
            raise DiskError(
                f"no storage device of the group has room for {size} bytes more", "full"
            )
        chosen.append(
            min(
                roomy,
                key=lambda each: (
                    of_node[each.node],
                    given[each.device],
                    each.used_bytes + size * given[each.device],
                    each.device,
                ),
            )
        )
    return tuple(chosen)


def choose_one(
    devices: Sequence[Device], size: int, taken_nodes: Collection[str], taken: Collection[str]
) -> Device:
    """Return a device for one more segment of a checkpoint whose others have these.

    Errors: DiskError when no device has room.
    """
    roomy = [each for each in devices if each.free_bytes > size]
    if not roomy:
        raise DiskError(f"no storage device of the group has room for {size} bytes more", "full")
    return min(
        roomy,
        key=lambda each: (
            each.node in taken_nodes,
            each.device in taken,
            each.used_bytes,
            each.device,
        ),
    )


def fill(devices: Sequence[Device], placed: Sequence[Placed]) -> dict[str, int]:
    """Return the bytes on each device."""
    used = {each.device: 0 for each in devices}
    for each in placed:
        if each.device in used:
            used[each.device] += each.size
    return used


def ratio(used: Mapping[str, int]) -> float:
    """Return the fullest device's share of the mean; 1.0 when nothing is stored."""
    total = sum(used.values())
    return max(used.values()) * len(used) / total if total else 1.0


def moves(
    devices: Sequence[Device], placed: Sequence[Placed], *, slack: float = 0.05
) -> tuple[Move, ...]:
    """Plan moves from fuller devices to emptier ones, each of which makes the fill more even.

    Never two segments of one checkpoint on one node, unless they were there already.
    slack: how far above the mean a device may stay.
    """
    nodes = {each.device: each.node for each in devices}
    free = {each.device: each.free_bytes for each in devices}
    where = {each.segment: each for each in placed if each.device in nodes}
    used = fill(devices, placed)
    planned: dict[str, Move] = {}
    mean = sum(used.values()) / len(used) if used else 0.0
    # Each move lowers the sum of squares, so there are no more than this.
    for _ in range(len(where)):
        fullest = sorted(used, key=lambda device: (-used[device], device))
        move = next(
            (
                found
                for source in fullest
                if used[source] > mean * (1 + slack)
                and (found := _move_from(source, where, used, free, nodes, planned)) is not None
            ),
            None,
        )
        if move is None:
            break
        size, source = move.placed.size, where[move.placed.segment].device
        planned[move.placed.segment] = move
        used[source] -= size
        used[move.to] += size
        free[move.to] -= size
        where[move.placed.segment] = Placed(
            segment=move.placed.segment,
            checkpoint=move.placed.checkpoint,
            device=move.to,
            size=size,
        )
    return tuple(planned.values())


def _move_from(
    source: str,
    where: Mapping[str, Placed],
    used: Mapping[str, int],
    free: Mapping[str, int],
    nodes: Mapping[str, str],
    planned: Mapping[str, Move],
) -> Move | None:
    """Return the largest useful move away from a device; None when there is none."""
    here = sorted(
        (each for each in where.values() if each.device == source and each.segment not in planned),
        key=lambda each: (-each.size, each.segment),
    )
    emptiest = sorted(used, key=lambda device: (used[device], device))
    for placed in here:
        others = {
            nodes[each.device]
            for each in where.values()
            if each.checkpoint == placed.checkpoint and each.segment != placed.segment
        }
        for target in emptiest:
            # Fuller by the move than the source was: that makes nothing more even.
            if used[target] + placed.size >= used[source]:
                break
            if nodes[target] not in others and free[target] > placed.size:
                return Move(placed, target)
    return None
