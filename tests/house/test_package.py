"""An installation puts nothing but `coordinator` at the top of site-packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
#: Builds both archives as a frontend does, and says nothing.
BUILD = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An empty environment into which the wheel, and only the wheel, was installed."""
    home = tmp_path_factory.mktemp("wheel")
    source = copied(home / "source")
    wheels = home / "wheels"
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", wheels, source], check=True)
    site = home / "site"
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--target", site, wheel], check=True)
    return site


def copied(source: Path) -> Path:
    """Copy what a build reads, without environments and what earlier builds have made."""
    left_out = (".venv*", ".machine", ".git", "*.egg-info", "build", "dist", ".*_cache")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*left_out))
    return source


def test_nothing_but_the_package_is_at_the_top(installed):
    names = {path.name for path in installed.iterdir() if path.name != "bin"}

    assert {name for name in names if not name.endswith(".dist-info")} == {"coordinator"}


def test_the_wheel_has_the_page_with_the_licence_of_its_plot(installed):
    names = {path.name for path in (installed / "coordinator/web/page/static").iterdir()}

    tree = {path.name for path in (ROOT / "coordinator/web/page/static").iterdir()}
    assert names == tree
    assert {"index.html", "main.js", "uPlot.iife.min.js", "uPlot.LICENSE.txt"} <= names


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


def test_two_builds_give_the_same_bytes(tmp_path):
    """Of two copies whose files have other dates."""
    backend = tmp_path / "backend"
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    subprocess.run([*PIP, "install", "--target", backend, *requires], check=True)
    built = []
    for name in ("one", "other"):
        source = copied(tmp_path / name)
        if name == "other":
            for path in source.rglob("*"):
                os.utime(path, (1e9, 1e9))
        subprocess.run(
            [sys.executable, "-c", BUILD],
            cwd=source,
            env=os.environ | {"PYTHONPATH": str(backend)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        built.append({path.name: path.read_bytes() for path in (source / "dist").iterdir()})

    one, other = built
    assert sorted(path.rpartition(".")[2] for path in one) == ["gz", "whl"]
    assert [name for name in one if one[name] != other.get(name)] == []
