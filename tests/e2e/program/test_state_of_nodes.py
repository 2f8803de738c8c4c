"""A program finds its predecessor's state in a file, saves its own, and leaves no file behind."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.nodes.processes import bed, eventually

pytestmark = pytest.mark.real

#: A file of the node may be so large, as on a disk that is almost full.
FILE_BYTES_MAX = 200_000
#: Counts on from the state of the last holder; an odd byte shows that nothing is taken for text.
COUNTING = """
if [ -e "$COORD_STATE_FILE" ]; then seen=$(tr -d '\\377' < "$COORD_STATE_FILE"); else seen=none; fi
home=$(dirname "$COORD_STATE_FILE")
mode=$(stat -c '%a %U' "$COORD_STATE_FILE" "$home" 2>/dev/null | tr '\\n' ' ')
printf '%s\\377' "$(( ${seen#none} + 1 ))" | PYTHON -m coordinator.cli state put || exit
echo "$COORD_NODE term $COORD_TERM saw $seen $mode" >> RECORD
exec sleep 600
"""


def lines(record: Path) -> list[str]:
    return record.read_text().splitlines() if record.exists() else []


def state_homes(place: Path) -> list[str]:
    return [name for name in os.listdir(place) if "coord-state" in name]


def test_a_program_begins_with_the_state_of_its_predecessor(
    database: Database, tmp_path: Path
) -> None:
    """Y4: after a SIGKILL of everything, and after an orderly stop; the files go with the nodes."""
    record, temporary = tmp_path / "counted", tmp_path / "tmp"
    temporary.mkdir()
    program = COUNTING.replace("RECORD", str(record)).replace("PYTHON", sys.executable)
    env = {"TMPDIR": str(temporary)}
    with bed(tmp_path, database.conninfo, database.schema) as made:
        shell = ("sh", "-c", program)
        made.start("a", "--pass-database", command=shell, env=env)
        eventually(lambda: len(lines(record)) == 1, 40, lambda: f"the first run{made.story()}")
        made.start("b", "--pass-database", command=shell, env=env)
        made.wait_for_standbys(1)

        made.nodes["a"].send(signal.SIGKILL, "all")
        eventually(lambda: len(lines(record)) == 2, 40, lambda: f"a takeover{made.story()}")
        made.start("c", "--pass-database", command=shell, env=env)
        made.wait_for_standbys(1)
        made.nodes["b"].process.send_signal(signal.SIGTERM)
        eventually(lambda: len(lines(record)) == 3, 40, lambda: f"a handover{made.story()}")

        me = pwd.getpwuid(os.geteuid()).pw_name
        assert lines(record) == [
            f"a term 1 saw none 700 {me} ",
            f"b term 2 saw 1 600 {me} 700 {me} ",
            f"c term 3 saw 2 600 {me} 700 {me} ",
        ]
        made.nodes["b"].process.wait(20)
        assert len(state_homes(temporary)) == 1  # a's was swept by b, b's removed by itself
        made.nodes["c"].process.send_signal(signal.SIGTERM)
        made.nodes["c"].process.wait(20)
    assert state_homes(temporary) == []
    assert database.query("SELECT term, sequence FROM token_state ORDER BY sequence") == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]


def test_a_state_that_cannot_be_written_ends_the_node_and_releases_the_token(
    database: Database, tmp_path: Path
) -> None:
    """Y4: the program does not begin without its state; another node may have room for it."""
    database.query(
        "INSERT INTO token_state (group_id, slot, sequence, term, session, saved_at, content)"
        " VALUES ('orders', 1, 1, 0, gen_random_uuid(), now(), %s)",
        bytes(FILE_BYTES_MAX + 1),
    )
    with bed(tmp_path, database.conninfo, database.schema) as made:
        env = {"TMPDIR": str(tmp_path)}
        through = ("prlimit", f"--fsize={FILE_BYTES_MAX}")
        node = made.start("a", command=("touch", str(tmp_path / "ran")), env=env, through=through)
        node.process.wait(40)

        assert node.process.returncode == 73, made.story()
        said = node.said()
        assert f"the state of {FILE_BYTES_MAX + 1} bytes cannot be written" in said
        assert "TMPDIR" in said
        assert "Traceback" not in said
    assert not (tmp_path / "ran").exists()
    assert state_homes(tmp_path) == []
    assert database.query("SELECT term, session FROM token_holder") == [(1, None)]
