"""The files with states: private, exact, and gone with their run, their agent or the next one."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.errors import StateFileError
from coordinator.runtime.agent.loads.files import PREFIX, StateFiles

ODD = b"\x00\xff\r\n"
#: Opens files as an agent does, says that it has, and waits for its end.
AGENT = f"""
import sys
from coordinator.runtime.agent.loads.files import StateFiles
StateFiles(sys.argv[1]).write(1, {ODD!r})
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def files(tmp_path: Path):
    made = StateFiles(str(tmp_path))
    yield made
    made.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_state_is_written_exactly_and_for_this_user_alone(files: StateFiles):
    """Y4"""
    path = Path(files.write(1, ODD))

    assert path.read_bytes() == ODD
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_without_a_state_there_is_no_file_and_an_empty_state_is_an_empty_file(files: StateFiles):
    none, empty = Path(files.write(1, None)), Path(files.write(2, b""))

    assert none.parent.is_dir()
    assert not none.exists()
    assert empty.read_bytes() == b""


def test_the_end_of_a_run_removes_its_file_and_the_end_of_the_agent_all(
    files: StateFiles, tmp_path: Path
):
    first, second = Path(files.write(1, ODD)), Path(files.write(2, ODD))
    files.remove(1)
    files.remove(1)
    assert (first.exists(), second.exists()) == (False, True)

    files.close()

    assert list(tmp_path.iterdir()) == []


def test_the_next_agent_removes_what_a_dead_one_left_and_nothing_of_a_living_one(
    files: StateFiles, tmp_path: Path
):
    other = tmp_path / f"{PREFIX}file"
    other.write_text("no directory")
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "there\n"
        (theirs,) = (home for home in tmp_path.iterdir() if home.is_dir())

        own = Path(files.write(1, ODD)).parent
        assert {theirs, own, other} == set(tmp_path.iterdir())
        agent.send_signal(signal.SIGKILL)
    files.close()
    with_next = StateFiles(str(tmp_path))
    with_next.open()

    assert not theirs.exists()
    with_next.close()
    assert list(tmp_path.iterdir()) == [other]


def test_a_full_disk_leaves_no_half_file_and_says_what_to_do(files: StateFiles):
    """Y4"""
    files.open()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(StateFileError, match=r"the state of 5000 bytes cannot be.*TMPDIR"):
            files.write(1, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert os.listdir(Path(files.path(1)).parent) == []


def test_no_place_for_a_directory_is_an_error_that_names_the_way_out(tmp_path: Path):
    with pytest.raises(StateFileError, match="TMPDIR names another place"):
        StateFiles(str(tmp_path / "gone")).open()
