"""Let two builds of one source give the same bytes; everything else is in pyproject.toml."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist

#: The date of every file in an archive, unless the environment names one.
os.environ.setdefault("SOURCE_DATE_EPOCH", "1580601600")


class ReproducibleSdist(sdist):
    """Write the archive without what differs from build to build: order, dates, owners."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):  # noqa: A002
        """Write base_name.tar.gz from base_dir, and return its name."""
        if format != "gztar" or base_dir is None:
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)
        target = Path(f"{base_name}.tar.gz")
        target.parent.mkdir(parents=True, exist_ok=True)
        found = [Path(base_dir), *Path(base_dir).rglob("*")]
        with (
            target.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in sorted(found, key=lambda path: path.as_posix()):
                archive.add(path, recursive=False, filter=_alike)
        return str(target)


def _alike(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = int(os.environ["SOURCE_DATE_EPOCH"])
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


setup(cmdclass={"sdist": ReproducibleSdist})
