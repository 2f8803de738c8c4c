"""The token service on a socket, with tokens in memory."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coordinator.app.tokens import service as module
from coordinator.app.tokens.leases import LEASES_MAX, Leases
from coordinator.app.tokens.service import TokenService
from coordinator.testing import FakeAsyncCoordinator, FakeTokens

WITHIN_S = 60.0


@dataclass
class Client:
    """One connection to the service."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer, of which more may follow."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split()[1]), await self.line()

    async def line(self) -> dict[str, Any]:
        return json.loads(await self.reader.readline())

    async def ended(self) -> bool:
        return await self.reader.read() == b""

    def close(self) -> None:
        self.writer.close()


class Bed:
    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.tokens = FakeTokens()
        self.service = TokenService(
            Leases(FakeAsyncCoordinator(group_id="orders", tokens=self.tokens))
        )

    async def connect(self) -> Client:
        return Client(*await asyncio.open_unix_connection(self.path))

    async def ask(self, method: str, target: str) -> Client:
        client = await self.connect()
        client.writer.write(
            f"{method} /v1/tokens/{target} HTTP/1.1\r\nHost: coord\r\n\r\n".encode()
        )
        await client.writer.drain()
        return client

    async def told(self, method: str, target: str) -> tuple[int, dict[str, Any]]:
        """Ask, and return the whole answer of a connection that ends with it."""
        client = await self.ask(method, target)
        found = await client.answer()
        assert await client.ended()
        client.close()
        return found

    async def until(self, fact: Callable[[], bool]) -> None:
        while not fact():
            await asyncio.sleep(0.005)

    async def free(self, name: str = "orders/x") -> None:
        await self.until(lambda: self.tokens.holder(name) is None)


Body = Callable[[Bed], Awaitable[None]]


def run(tmp_path: Path, body: Body) -> None:
    """Run the body beside a service, which then leaves nothing held."""
    bed = Bed(tmp_path / "s")

    async def main() -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(bed.path)
        listener.listen()
        await bed.service.serve(listener)
        try:
            await body(bed)
        finally:
            await bed.service.close()
        assert bed.tokens.holder("orders/x") is None
        assert bed.tokens.waiting("orders/x") == 0

    asyncio.run(asyncio.wait_for(main(), WITHIN_S))


def test_a_token_is_held_as_long_as_the_connection(tmp_path):
    async def body(bed: Bed) -> None:
        client = await bed.ask("POST", "x")
        status, holding = await client.answer()
        assert (status, holding["name"], holding["term"]) == (200, "x", 1)
        assert holding["seconds_left"] > 0
        assert holding["lease"]
        assert holding["session"]
        looked, facts = await bed.told("GET", "x")
        assert (looked, facts["held"], facts["term"], "lease" in facts) == (200, True, 1, False)

        client.close()

        await bed.free()
        assert await bed.told("GET", "x") == (404, {"name": "x", "held": False})

    run(tmp_path, body)


def test_a_held_token_is_refused_in_time_or_handed_over(tmp_path):
    async def body(bed: Bed) -> None:
        first = await bed.ask("POST", "x")
        await first.answer()
        for timeout in ("0", "0.05"):
            status, refused = await bed.told("POST", f"x?timeout={timeout}")
            assert status == 409
            assert "held by" in refused["error"]
        waiter = await bed.ask("POST", "x")
        await bed.until(lambda: bed.tokens.waiting("orders/x") == 1)

        first.close()

        assert (await waiter.answer())[1]["term"] == 2
        waiter.close()

    run(tmp_path, body)


def test_a_waiter_that_has_gone_gets_nothing(tmp_path):
    async def body(bed: Bed) -> None:
        first = await bed.ask("POST", "x")
        await first.answer()
        waiter = await bed.ask("POST", "x")
        await bed.until(lambda: bed.tokens.waiting("orders/x") == 1)

        waiter.close()

        await bed.until(lambda: bed.tokens.waiting("orders/x") == 0)
        first.close()

    run(tmp_path, body)


def test_a_loss_is_told_and_ends_the_connection(tmp_path):
    async def body(bed: Bed) -> None:
        client = await bed.ask("POST", "x")
        await client.answer()

        bed.tokens.lose("orders/x")

        assert "session was ended" in (await client.line())["lost"]
        assert await client.ended()
        client.close()

    run(tmp_path, body)


def test_a_lease_with_its_own_time_outlives_the_connection_and_is_renewed_or_returned(tmp_path):
    async def body(bed: Bed) -> None:
        status, lease = await bed.told("POST", "x?ttl=600")
        assert (status, lease["ttl"]) == (201, 600.0)
        renewed, facts = await bed.told("POST", f"x?lease={lease['lease']}&ttl=500")
        assert (renewed, facts["term"]) == (200, 1)
        for wrong in ("x?lease=another", f"y?lease={lease['lease']}"):
            assert (await bed.told("DELETE", wrong))[0] == 410
        assert bed.tokens.holder("orders/x") is not None

        returned = await bed.told("DELETE", f"x?lease={lease['lease']}")

        assert returned == (200, {"name": "x", "held": False})
        assert bed.tokens.holder("orders/x") is None
        assert (await bed.told("POST", f"x?lease={lease['lease']}&ttl=5"))[0] == 410

    run(tmp_path, body)


def test_a_lease_ends_when_its_time_is_over_also_when_that_was_shortened(tmp_path):
    async def body(bed: Bed) -> None:
        _, lease = await bed.told("POST", "x?ttl=0.01")
        await bed.free()
        assert (await bed.told("DELETE", f"x?lease={lease['lease']}"))[0] == 410
        _, lease = await bed.told("POST", "x?ttl=3000")
        await bed.told("POST", f"x?lease={lease['lease']}&ttl=0.01")
        await bed.free()

    run(tmp_path, body)


def test_a_connection_s_lease_has_no_time_and_can_be_given_back(tmp_path):
    async def body(bed: Bed) -> None:
        client = await bed.ask("POST", "x")
        _, holding = await client.answer()
        assert (await bed.told("POST", f"x?lease={holding['lease']}&ttl=5"))[0] == 409

        assert (await bed.told("DELETE", f"x?lease={holding['lease']}"))[0] == 200

        assert await client.ended()
        client.close()

    run(tmp_path, body)


def test_there_is_a_bound_on_tokens(tmp_path):
    async def body(bed: Bed) -> None:
        for number in range(LEASES_MAX):
            assert (await bed.told("POST", f"n{number}?ttl=600"))[0] == 201

        status, refused = await bed.told("POST", "x?timeout=0")

        assert status == 503
        assert str(LEASES_MAX) in refused["error"]

    run(tmp_path, body)


def test_there_is_a_bound_on_connections(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 2)

    async def body(bed: Bed) -> None:
        first, second = await bed.connect(), await bed.ask("POST", "x")
        await second.answer()

        refused = await (await bed.connect()).answer()

        assert refused[0] == 503
        first.close()
        second.close()

    run(tmp_path, body)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/tokens/x HTTP/1.1\r\nHost: c"])
def test_a_slow_client_is_given_up(tmp_path, monkeypatch, sent):
    monkeypatch.setattr(module, "REQUEST_MAX_S", 0.05)

    async def body(bed: Bed) -> None:
        client = await bed.connect()
        client.writer.write(sent)
        assert await client.ended()
        client.close()

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000, 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3000, 431),
        (b"PATCH /v1/tokens/x HTTP/1.1\r\n\r\n", 405),
    ],
)
def test_what_is_no_request_is_refused_in_json(tmp_path, sent, status):
    async def body(bed: Bed) -> None:
        client = await bed.connect()
        client.writer.write(sent)
        found, refused = await client.answer()
        assert (found, list(refused)) == (status, ["error"])
        client.close()

    run(tmp_path, body)


def test_a_service_that_is_closed_under_its_clients_reports_no_error(tmp_path):
    reported: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: reported.append(context))
        bed = Bed(tmp_path / "s")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(bed.path)
        listener.listen()
        await bed.service.serve(listener)
        holder, waiter = await bed.ask("POST", "x"), await bed.ask("POST", "x")
        await holder.answer()
        await bed.until(lambda: bed.tokens.waiting("orders/x") == 1)
        await bed.service.close()
        assert await waiter.ended()
        for client in (holder, waiter):
            client.close()

    asyncio.run(asyncio.wait_for(main(), WITHIN_S))

    assert reported == []
