"""The built-in types are declared twice, in Python and in the schema: the same."""

from __future__ import annotations

import pytest

from coordinator.app.worker.types import plugs
from coordinator.protocol.operations.types import BUILT_IN
from coordinator.store.operations.engine import declaration_of

pytestmark = pytest.mark.real


def test_the_schema_declares_the_built_in_types_as_they_are(database):
    ours = {plug.name: plug for plug in plugs() if plug.name in BUILT_IN}

    assert set(ours) == set(BUILT_IN)
    for name, plug in ours.items():
        declared = declaration_of(plug.load().spec)
        rows = database.query(
            "SELECT locations, options, result FROM operation_type"
            " WHERE group_id = '' AND name = %s",
            name,
        )
        ((locations, options, result),) = rows
        assert (sorted(locations), options, result) == (
            declared["locations"],
            declared["options"],
            declared["result"],
        )
