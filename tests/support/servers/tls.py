"""A PostgreSQL that speaks TLS, with certificates of a test's own authorities.

The embedded build has no TLS, so this is Debian's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator.store.embedded.binaries import Account
from tests.support.servers.postgres import Server
from tests.support.servers.scratch import scratch

#: The name in the server's certificate; no name server knows it, so hostaddr says where it is.
HOST = "db.example"
HBA = """
local all all trust
hostssl all ana 127.0.0.1/32 scram-sha-256
hostssl all by_cert 127.0.0.1/32 cert
"""


def require() -> Path:
    """Return where a PostgreSQL with TLS is; skip the test without it, but fail in CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found and shutil.which("openssl"):
        return found[-1].parent
    reason = "there is no PostgreSQL with TLS: install Debian's packages postgresql and openssl"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in a directory of its own."""

    home: Path

    @classmethod
    def create(cls, home: Path) -> Authority:
        home.mkdir()
        made = cls(home)
        subject = ("-subj", f"/CN={home.name}", "-addext", "basicConstraints=critical,CA:TRUE")
        made._openssl("req", "-x509", *KEY, *subject, "-keyout", "ca.key", "-out", "ca.crt")
        return made

    @property
    def root(self) -> Path:
        """The file for sslrootcert."""
        return self.home / "ca.crt"

    def issue(self, name: str, *, days: int = 1) -> tuple[Path, Path]:
        """Return certificate and key for a name."""
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
        self._openssl(
            *("req", "-x509", *KEY, *subject, *files),
            *("-CA", "ca.crt", "-CAkey", "ca.key", "-days", str(days)),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )
        key = self.home / f"{name}.key"
        key.chmod(0o600)
        return self.home / f"{name}.crt", key

    def _openssl(self, *words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=self.home, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch")


@contextmanager
def tls_server(directory: Path) -> Iterator[tuple[Server, Authority]]:
    """Give a server that is `HOST`, and the authority that says so."""
    bindir = require()
    authority = Authority.create(directory / "right")
    certificate, key = authority.issue(HOST)
    home = scratch()
    account = Account.choose()
    placed = {"ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": authority.root}
    for path in placed.values():
        shutil.copy(path, home)
        account.give(home / path.name, 0o600)
    settings = {key: str(home / path.name) for key, path in placed.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COORD_PG_BINDIR", str(bindir))
        server = Server.create(home, tcp=True, ssl="on", **settings)
    try:
        (server.data / "pg_hba.conf").write_text(HBA)
        server.restart()
        yield server, authority
    finally:
        server.remove()
        shutil.rmtree(home, ignore_errors=True)
