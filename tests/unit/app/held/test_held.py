"""The holding of a program, read from its environment and from shared memory."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from coordinator.app.held.held import Held
from coordinator.errors import ConfigError, TokenLostError
from coordinator.protocol.guardian.wire import BOARD, board_name
from coordinator.runtime.linux.clock import BoottimeClock
from tests.support.nodes.progress import progress_socket

now = BoottimeClock().now
HOLDING = {
    "COORD_GROUP": "orders",
    "COORD_NODE": "node-1",
    "COORD_TERM": "7",
    "COORD_SESSION": "0c2f4c6e-7e8e-4b57-8e53-0a9c3a3c6f01",
}
Board = Callable[[float], None]


@pytest.fixture
def board() -> Iterator[tuple[dict[str, str], Board]]:
    """Give the environment of a run, and a way to move its deadline as the guardian does."""
    marker = os.urandom(12).hex()
    fd = os.memfd_create(board_name(marker))

    def write(trusted_until: float) -> None:
        os.pwrite(fd, BOARD.pack(trusted_until, now()), 0)

    write(now() + 60)
    yield HOLDING | {"COORD_TRUST_FD": str(fd), "COORD_RUN_ID": f"a1b2/{marker}"}, write
    os.close(fd)


def test_the_environment_names_the_holding(board):
    held = Held(board[0])

    assert (held.name, held.group, held.node, held.task) == ("orders", "orders", "node-1", None)
    assert (held.term, held.session) == (7, HOLDING["COORD_SESSION"])


def test_a_task_holds_the_token_of_its_own_name(board):
    held = Held(board[0] | {"COORD_TASK": "report", "COORD_OPTIONS": '{"day": 3}'})

    assert (held.name, held.task, held.options) == ("orders/report", "report", {"day": 3})


def test_each_renewal_is_seen_without_being_told(board):
    environ, write = board
    held = Held(environ)
    before = held.deadline

    write(before + 5)

    assert held.deadline == before + 5
    assert held.is_held()
    held.check()


def test_from_the_deadline_on_nothing_may_be_done(board):
    environ, write = board
    held = Held(environ)

    write(now())

    assert not held.is_held()
    with pytest.raises(TokenLostError, match="is lost"):
        held.check()
    assert held.seconds_left <= 0


def test_a_task_that_goes_on_without_the_database_has_no_deadline(board):
    environ, write = board
    write(math.inf)

    assert Held(environ).deadline == math.inf
    Held(environ).check()


def test_the_mapping_outlives_the_descriptor_and_a_fork(board):
    environ, write = board
    held = Held(environ)
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(told)
            os.read(ready, 1)  # until the parent has written
            code = 0 if held.deadline > now() + 600 else 2
        finally:
            os._exit(code)
    os.close(ready)
    write(now() + 1000)
    os.close(told)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_number_that_means_another_file_is_not_believed(board, tmp_path):
    """A library closed the descriptor, and the next file got its number."""
    environ, _ = board
    (tmp_path / "x").write_bytes(BOARD.pack(now() + 1e6, now()))
    with (tmp_path / "x").open("rb") as file:
        held = Held(environ | {"COORD_TRUST_FD": str(file.fileno())})

    assert not held.is_held()
    for ask in (held.check, lambda: held.deadline, lambda: held.seconds_left):
        with pytest.raises(TokenLostError, match="cannot be known"):
            ask()


def test_the_board_of_an_outer_run_is_not_this_run_s(board):
    environ, _ = board
    inner = environ | {"COORD_RUN_ID": environ["COORD_RUN_ID"] + "/c3d4"}

    with pytest.raises(TokenLostError, match="cannot be known"):
        Held(inner).check()


@pytest.mark.parametrize("name", ["COORD_TRUST_FD", "COORD_RUN_ID"])
def test_a_missing_variable_of_the_guardian_is_named(board, name):
    environ = {key: value for key, value in board[0].items() if key != name}

    with pytest.raises(TokenLostError, match=name):
        Held(environ).check()


def test_outside_of_coord_the_error_says_what_to_do_instead():
    with pytest.raises(ConfigError, match=r"coord runs: COORD_GROUP is not set.*Coordinator"):
        Held({})
    with pytest.raises(ConfigError, match="COORD_TERM"):
        Held(HOLDING | {"COORD_TERM": "many"})


def test_without_a_database_a_transaction_says_how_to_get_one(board):
    with pytest.raises(ConfigError, match="--pass-database"), Held(board[0]).transaction():
        pass


def test_progress_is_reported_once_and_then_not_before_a_tenth_of_its_time(board):
    with progress_socket() as (address, reports):
        held = Held(board[0] | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000000"})

        held.progress()
        held.progress()

        assert reports() == [b"WATCHDOG=1"]


def test_progress_that_nobody_asked_for_or_reads_any_more_is_no_error(board):
    with progress_socket() as (address, _):
        pass

    Held(board[0]).progress()
    Held(board[0] | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}).progress()


def test_asking_loads_only_the_standard_library():
    script = (
        "import sys, coordinator; coordinator.held;"
        "print([n for n in ('psycopg', 'sqlalchemy', 'pydantic', 'typer', 'asyncio',"
        " 'coordinator.app.config') if n in sys.modules])"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert said.stdout == "[]\n", said.stderr


def test_a_connection_of_the_program_s_own_needs_no_handed_over_database(board, database):
    """A login that does not hold the token is told apart by the fence, not by configuration."""
    with database.connect() as connection:
        held = Held(board[0], schema=database.schema)

        with (
            pytest.raises(TokenLostError, match="nothing was written"),
            held.transaction(connection),
        ):
            pass
        with pytest.raises(ConfigError, match="--pass-database"):
            held.state.get()
