"""Addresses of the token service: a unix socket or the loopback interface, and nothing else."""

from __future__ import annotations

import pytest

from coordinator.app.config.model.values import local_address


@pytest.mark.parametrize(
    "address",
    ["unix:/run/coord.sock", "127.0.0.1:8009", "[::1]:8009", "localhost:0", ":8009"],
)
def test_a_local_address_is_taken_as_it_is(address):
    assert local_address(address) == address


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0.0.0.0:8009", "loopback"),
        ("db.example.org:80", "loopback"),
        ("[::]:8009", "loopback"),
        ("unix:run/coord.sock", "absolute"),
        ("unix:/" + "x" * 107, "107"),
        ("unix:/a\0b", "absolute"),
        ("/run/coord.sock", "host:port"),
    ],
)
def test_another_address_is_refused_with_what_to_write(address, words):
    with pytest.raises(ValueError, match=words):
        local_address(address)
