"""The types of operations that are installed: entry points of `coordinator.operations`."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from coordinator.ports import OperationType
from coordinator.protocol.operations.types import BUILT_IN, ENTRY_POINTS


def plugs() -> tuple[EntryPoint, ...]:
    """Return the entry points, without loading them; one of a name."""
    return tuple({each.name: each for each in entry_points(group=ENTRY_POINTS)}.values())


def operates(settings: Any) -> bool:
    """Say whether a node of these settings may offer a type: it has disks, or plug-ins."""
    checkpoints = getattr(settings, "checkpoints", None)
    disks = getattr(checkpoints, "disks", ())
    return bool(disks) or any(each.name not in BUILT_IN for each in plugs())


def offered(settings: Any, logger: logging.Logger) -> dict[str, OperationType]:
    """Load the types, and return those that this node can run; one that cannot be loaded is left.

    A plug-in may not replace a type of coord's own.
    """
    found: dict[str, OperationType] = {}
    for plug in plugs():
        try:
            made: Any = plug.load()
            kind: OperationType = made() if isinstance(made, type) else made
            if kind.spec.name != plug.name:
                raise ValueError(f"it declares the name {kind.spec.name!r}")
            if kind.offered(settings):
                found[plug.name] = kind
        except Exception as error:  # noqa: BLE001 - a broken plug-in is no reason to stop the others
            logger.warning(
                "the type of operation %s (%s) cannot be loaded: %s: %s",
                *(plug.name, plug.value, type(error).__name__, error),
                extra={"event": "warning"},
            )
    return found
