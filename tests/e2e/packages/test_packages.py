"""Packages for Debian and RPM systems, installed and run in a root of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

#: A root of its own: this machine's, below a layer in memory that takes all changes.
INSIDE = """
set -e
mount -t tmpfs tmpfs "$LAYER" && mkdir "$LAYER/up" "$LAYER/work" "$LAYER/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$LAYER/up,workdir=$LAYER/work" "$LAYER/root"
mount --bind /proc "$LAYER/root/proc" && mount --bind /dev "$LAYER/root/dev"
mount --bind "$PACKAGES" "$LAYER/root/mnt"
exec chroot "$LAYER/root" sh -ec "$STEPS"
"""
#: Questions to an installed package of either kind.
ASKED = """
getent passwd coord
coord version
coord-is-not-there 2>/dev/null && exit 9
test -s /usr/share/bash-completion/completions/coord
gzip -dc /usr/share/man/man1/coord-run.1.gz | head -1
stat -c '%U %G %a' /etc/coord/Config.toml
systemd-analyze --man=no verify /usr/lib/systemd/system/coord.service
# A node that nobody has named yet is refused.
su -s /bin/sh coord -c 'cd && coord config check --config /etc/coord/Config.toml' && exit 9
test $? -eq 78
sed -i 's/^taskId.*/taskId = "node-1"/' /etc/coord/Config.toml
su -s /bin/sh coord -c 'cd && coord config check --config /etc/coord/Config.toml'
url=postgresql://a@127.0.0.1:1/a
su -s /bin/sh coord -c "cd && COORD_DATABASE_URL=$url coord status" && exit 9
test $? -eq 69
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Iterator[Path]:
    """Build both, as someone does whose files nobody else may read."""
    for tool in ("dpkg-deb", "rpmbuild", "rpm", "systemd-analyze"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here")
    if os.geteuid() != 0:
        pytest.skip("only root may have a root of its own")
    out = tmp_path_factory.mktemp("packages")
    command = [sys.executable, str(ROOT / "packaging/build.py"), str(out)]
    subprocess.run(command, check=True, umask=0o077)
    yield out
    shutil.rmtree(out / "tree")


def installed(packages: Path, tmp_path: Path, steps: str) -> str:
    """Run the steps in a root of its own and return what they print."""
    layer = tmp_path / "layer"
    layer.mkdir()
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LAYER": str(layer), "STEPS": steps}
    environ |= {"PACKAGES": str(packages), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", INSIDE],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_path_of_the_build_is_in_the_packages(packages):
    """Two builds in two places are equal, and a traceback names the place of the package."""
    files = [path for path in (packages / "tree").rglob("*") if path.is_file()]

    places = (bytes(packages), bytes(ROOT))
    told = [path for path in files if any(place in path.read_bytes() for place in places)]

    assert told == []
    assert any(path.suffix == ".pyc" for path in files)


def test_the_debian_package(packages, tmp_path):
    steps = "dpkg -i /mnt/*.deb" + ASKED + "dpkg -r coord\ntest ! -e /usr/bin/coord\n"

    said = installed(packages, tmp_path, steps)

    assert "\n0.1.0\n" in said
    assert "root coord 640" in said


def test_the_rpm_package(packages, tmp_path):
    steps = (
        "rpm --install --nodeps /mnt/*.rpm"
        + ASKED
        + "rpm --erase coord\ntest ! -e /usr/bin/coord\n"
    )

    said = installed(packages, tmp_path, steps)

    assert "\n0.1.0\n" in said
    assert "root coord 640" in said
