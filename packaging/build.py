"""Packages of coord for Debian and for RPM systems: `python packaging/build.py OUT`.

Both hold the same tree: coord and all that its lock names, in an environment of their own under
/opt/coord; the command, a systemd unit, manual pages, completion, and a Config.toml to be filled
in. It is made by Debian's dpkg-deb and rpmbuild (docs/adr/0041-*). The environment fits the Python
by which it is built, so a package is for that Python and that kind of machine.
"""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = ROOT / "packaging"
#: Python of the system for which the packages are.
PYTHON = "/usr/bin/python3"
HOME = "opt/coord"
#: The date of every file, unless the environment names one.
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1580601600"))
DEB_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def main(out: Path) -> None:
    """Make both packages, or those for which the tool is there."""
    os.umask(0o022)  # the modes of what is installed
    out.mkdir(parents=True, exist_ok=True)
    tree = out / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    fill(tree)
    if shutil.which("dpkg-deb"):
        print(deb(tree, out))
    if shutil.which("rpmbuild"):
        print(rpm(tree, out))


def version() -> str:
    """Return the version of the project."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def fill(tree: Path) -> None:
    """Make the tree that both packages install."""
    home = tree / HOME
    run(PYTHON, "-m", "venv", "--without-pip", str(home))
    python = home / "bin/python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    into = [*pip, "--python", str(python), "install", "--no-compile"]
    run(*into, "--require-hashes", "-r", str(HERE / "requirements.lock"))
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # modules of an earlier state of the sources
    run(*into, "--no-deps", str(ROOT))
    forget_places(tree, python)
    for script in (home / "bin").iterdir():
        # Scripts of other packages, and those of the environment, name the place of the build.
        if script.name not in ("python", "python3"):
            script.unlink()
    put(home / "bin/coord", (HERE / "coord").read_text(), mode=0o755)
    link(tree / "usr/bin/coord", f"/{HOME}/bin/coord")
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    coord = [str(python), "-m", "coordinator.cli"]
    unit = said(*coord, "print", "systemd", cwd=tree)
    put(tree / "usr/lib/systemd/system/coord.service", unit)
    put(tree / "etc/coord/Config.toml", (ROOT / "Config.toml").read_text(), mode=0o640)
    completion = said(*coord, cwd=tree, env={"_COORD_COMPLETE": "source_bash"})
    put(tree / "usr/share/bash-completion/completions/coord", completion)
    pages(tree, coord)
    put(tree / "usr/share/doc/coord/copyright", (ROOT / "LICENSE").read_text())
    put(
        tree / "usr/share/doc/coord/sbom.cdx.json", (ROOT / "coordinator/sbom.cdx.json").read_text()
    )
    same_dates(tree)


def forget_places(tree: Path, python: Path) -> None:
    """Leave no path of the build in the tree.

    Compiled modules name the place of the package. Scripts, which began with a path of the build,
    were replaced or removed.
    """
    gone = ("../../../bin/", f"coord-{version()}.dist-info/direct_url.json")
    for record in tree.rglob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith(gone)))
        (record.parent / "direct_url.json").unlink(missing_ok=True)
    packages = str(tree / HOME / "lib")
    run(str(python), "-m", "compileall", "-q", "-s", str(tree), "-p", "/", packages)


def pages(tree: Path, coord: list[str]) -> None:
    """Write the manual page of coord and of each command."""
    listed = said(*coord, "help", cwd=tree).partition("\nCommands:\n")[2]
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ")]
    commands = [name for name in names if name.isalpha()]
    for words in ([], *([name] for name in commands)):
        page = said(*coord, "help", "--man", *words, cwd=tree)
        path = tree / f"usr/share/man/man1/{'-'.join(['coord', *words])}.1.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(page.encode(), mtime=0))


def deb(tree: Path, out: Path) -> Path:
    """Make the package for Debian."""
    root = out / "deb"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(tree, root, symlinks=True)
    python = said(PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    machine = DEB_MACHINES.get(platform.machine(), platform.machine())
    control = (HERE / "deb/control").read_text()
    values = {"VERSION": version(), "MACHINE": machine, "PYTHON": python, "NEXT": following(python)}
    for name, value in values.items():
        control = control.replace(f"@{name}@", value)
    put(root / "DEBIAN/control", control)
    put(root / "DEBIAN/conffiles", "/etc/coord/Config.toml\n")
    for name in ("postinst", "prerm", "postrm"):
        put(root / f"DEBIAN/{name}", (HERE / f"deb/{name}").read_text(), mode=0o755)
    same_dates(root)
    path = out / f"coord_{version()}_{machine}.deb"
    run("dpkg-deb", "-Zgzip", "--root-owner-group", "--build", str(root), str(path))
    shutil.rmtree(root)
    return path


def rpm(tree: Path, out: Path) -> Path:
    """Make the package for RPM systems."""
    top = out / "rpm"
    shutil.rmtree(top, ignore_errors=True)
    defined = {"_topdir": str(top), "_version": version(), "_tree": str(tree)}
    defined |= {"_buildhost": "localhost", "use_source_date_epoch_as_buildtime": "1"}
    options = [word for name, value in defined.items() for word in ("-D", f"{name} {value}")]
    run("rpmbuild", "-bb", "--quiet", *options, str(HERE / "rpm/coord.spec"))
    (built,) = top.glob("RPMS/*/*.rpm")
    path = out / built.name
    shutil.move(built, path)
    shutil.rmtree(top)
    return path


def following(python: str) -> str:
    """Return the minor version after this one."""
    major, minor = python.split(".")
    return f"{major}.{int(minor) + 1}"


def put(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def link(path: Path, to: str) -> None:
    """Make a symbolic link, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


def same_dates(tree: Path) -> None:
    """Give everything the same date."""
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def run(*command: str) -> None:
    """Run a command to its end; its failure ends the build."""
    subprocess.run(command, check=True, env=environment())


def said(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment() | (env or {}),
    )
    return done.stdout


def environment() -> dict[str, str]:
    """Return this environment without what would change a build."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COORD", "PG"))}
    return kept | {"SOURCE_DATE_EPOCH": str(EPOCH), "COLUMNS": "100", "LC_ALL": "C.UTF-8"}


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
