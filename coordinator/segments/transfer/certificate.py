"""The certificate of a node, made anew at each start; its fingerprint is in the database.

The database that all nodes share is the root of trust: no authority signs anything. A certificate
names nobody, and its dates mean nothing, because a peer compares the fingerprint and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from coordinator.errors import ConfigError

_NEVER_BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
_NEVER_AFTER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Identity:
    """Server side of TLS for one start of a node, and the fingerprint that it publishes."""

    context: ssl.SSLContext
    fingerprint: str


def make_identity() -> Identity:
    """Make a key and a certificate; the key is on no disk afterwards.

    Errors: ConfigError when the library is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise ConfigError(
            "segments between nodes need a certificate, which the extra `checkpoints` makes:"
            " pip install 'coord[checkpoints]'"
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "coord")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NEVER_BEFORE)
        .not_valid_after(_NEVER_AFTER)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load(context, pem)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Identity(context, fingerprint_of(der))


def fingerprint_of(certificate: bytes) -> str:
    """Return what a peer compares: the SHA-256 of the certificate, in DER."""
    return hashlib.sha256(certificate).hexdigest()


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Give the context its certificate by way of memory: ssl reads files only."""
    made = os.memfd_create("coord-certificate", os.MFD_CLOEXEC)
    try:
        os.write(made, pem)
        context.load_cert_chain(f"/proc/self/fd/{made}")
    finally:
        os.close(made)
