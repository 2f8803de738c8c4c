"""Every statement of the guide is one of the examples, and can be read."""

from __future__ import annotations

import re
from pathlib import Path

from coordinator.app.admin.operations.parse import parse
from tests.support.statements import CANCEL, EXAMPLES

GUIDE = Path(__file__).parents[2] / "docs/operations.md"


def test_the_guide_has_every_example_and_no_other_statement():
    found = re.findall(r"```sql\n(.*?)\n```", GUIDE.read_text(), flags=re.DOTALL)

    assert [text.split() for text in found] == [text.split() for text in (*EXAMPLES, CANCEL)]
    for text in found:
        parse(text)
