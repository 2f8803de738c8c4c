"""Pytest plugin: the fixture `coord_group`, a group of real nodes on a real database.

pytest loads this module in every project of an environment that has coord, so it imports nothing
but pytest before a test asks for a fixture.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from coordinator.testing.nodes.group import CoordGroup

MARKER = (
    "coord_group(nodes=2, command=[...], heartbeat_frequency=0.5, liveness_check_interval=3.0,"
    " options=[...]): the nodes of the fixture coord_group"
)
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def coord_server() -> Iterator[str]:
    """Conninfo of a PostgreSQL with coord's schema, which ends with the session.

    Skipped where there are no programs of PostgreSQL.
    """
    from coordinator.errors import ConfigError
    from coordinator.testing.nodes.server import session_server

    server = session_server()
    try:
        conninfo = server.__enter__()
    except ConfigError as error:
        pytest.skip(f"coord_group needs a PostgreSQL: {error}")
    try:
        yield conninfo
    finally:
        server.__exit__(None, None, None)


@pytest.fixture
def coord_group(
    request: pytest.FixtureRequest, coord_server: str, tmp_path: Path
) -> Iterator[CoordGroup]:
    """Group of two real nodes that run one program, or as the marker `coord_group` says."""
    from coordinator.testing.nodes.group import CoordGroup

    marker = request.node.get_closest_marker("coord_group")
    wanted = {} if marker is None else dict(marker.kwargs)
    count = int(wanted.pop("nodes", 2))
    name = f"test-{os.getpid()}-{next(_numbers)}"
    group = CoordGroup(coord_server, name, tmp_path, **wanted)
    try:
        group.start(count)
        yield group
    finally:
        group.end()
