"""An installation puts nothing but `coordinator` at the top of site-packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An empty environment into which the wheel, and only the wheel, was installed."""
    home = tmp_path_factory.mktemp("wheel")
    source = home / "source"
    kept = shutil.ignore_patterns(".venv", ".git", "*.egg-info", "build", ".*_cache")
    shutil.copytree(ROOT, source, ignore=kept)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = home / "wheels"
    subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, source], check=True)
    site = home / "site"
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    return site


def test_nothing_but_the_package_is_at_the_top(installed):
    names = {path.name for path in installed.iterdir() if path.name != "bin"}

    assert {name for name in names if not name.endswith(".dist-info")} == {"coordinator"}


def test_the_wheel_can_migrate_a_database(installed, unmigrated):
    """`coord db upgrade` works where only the wheel is: migrations travel with it."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "COORD_DATABASE_URL": unmigrated.conninfo,
        "COORD_DATABASE_SCHEMA": unmigrated.schema,
    }
    script = (
        "import coordinator, sys;"
        f"assert coordinator.__file__.startswith({str(installed)!r}), coordinator.__file__;"
        "from coordinator.cli.main import main; sys.argv = ['coord', 'db', 'upgrade']; main()"
    )

    # -P -S and an own path: the editable installation of this checkout must not answer.
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=installed,
        capture_output=True,
        text=True,
    )

    assert answer.returncode == 0, answer.stderr
