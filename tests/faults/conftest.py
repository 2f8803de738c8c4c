"""A bed of real nodes for each test."""

from __future__ import annotations

import pytest

from tests.support.nodes.processes import bed


@pytest.fixture
def nodes(tmp_path, database):
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made
