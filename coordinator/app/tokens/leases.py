"""Leases of the token service: tokens that it holds for clients.

Each lease is a task that holds its token in a block, so however it ends, the token is given back.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

from coordinator.app.api.asynchronous.coordinator import AsyncCoordinator
from coordinator.app.api.asynchronous.token import AsyncToken
from coordinator.errors import CoordError, TokenLostError

#: Tokens that are held or waited for at the same time; more clients than this are a mistake.
LEASES_MAX = 64


class TooManyLeasesError(CoordError):
    """The service already holds or waits for as many tokens as it may."""


@dataclass(slots=True, eq=False)
class Lease:
    """Token that is held for a client.

    until:    loop time at which it ends; None: as long as the client's connection.
    changed: set when the lease has another time, or its token is to be given back.
    returned: the token is to be given back.
    ended: set when it has been given back, or is lost.
    lost:     why the token was lost, if it was.
    """

    id: str
    name: str
    token: AsyncToken
    until: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    returned: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    lost: str = ""

    def give_back(self) -> None:
        """Have the token given back; does not wait."""
        self.returned = True
        self.changed.set()

    def facts(self) -> dict[str, object]:
        """Return what a client is told about its lease."""
        token = self.token
        return {
            "lease": self.id,
            "name": self.name,
            "term": token.term,
            "session": token.session,
            "node": token.node,
            "seconds_left": round(max(0.0, token.seconds_left), 3),
        }


class Leases:
    """All leases of one service; used by the tasks of one event loop."""

    def __init__(self, coordinator: AsyncCoordinator) -> None:
        self._coordinator = coordinator
        self._held: dict[str, Lease] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def hold(self, name: str, timeout_s: float | None, ttl_s: float | None) -> Lease:
        """Wait for a token, and return the lease under which it is held.

        A caller that is cancelled holds nothing afterwards.
        Errors: TokenHeldError when the time is over; TooManyLeasesError; CoordError of the token.
        """
        if len(self._tasks) >= LEASES_MAX:
            raise TooManyLeasesError(f"{LEASES_MAX} tokens are held or waited for already")
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(self._keep(name, timeout_s, ttl_s, granted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await granted
        except BaseException:
            task.cancel()
            raise

    def find(self, name: str, lease: str | None = None) -> Lease | None:
        """Return a lease of a token, if there is one with that id."""
        if lease is not None:
            found = self._held.get(lease)
            return found if found is not None and found.name == name else None
        return next((each for each in self._held.values() if each.name == name), None)

    def renew(self, lease: Lease, ttl_s: float) -> None:
        """Let a lease end so many seconds from now."""
        lease.until = asyncio.get_running_loop().time() + ttl_s
        lease.changed.set()

    async def give_back(self, lease: Lease) -> None:
        """Give a token back, and wait until that is done."""
        lease.give_back()
        await lease.ended.wait()

    async def close(self) -> None:
        """Give everything back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(
        self,
        name: str,
        timeout_s: float | None,
        ttl_s: float | None,
        granted: asyncio.Future[Lease],
    ) -> None:
        lease: Lease | None = None
        try:
            async with self._coordinator.token(name, timeout=timeout_s) as token:
                lease = Lease(secrets.token_urlsafe(12), name, token)
                if ttl_s is not None:
                    self.renew(lease, ttl_s)
                self._held[lease.id] = lease
                if not granted.done():
                    granted.set_result(lease)
                    await self._wait(lease)
        except TokenLostError as error:
            if lease is not None:
                lease.lost = str(error)
        except CoordError as error:
            if not granted.done():
                granted.set_exception(error)
        finally:
            if lease is not None:
                del self._held[lease.id]
                lease.ended.set()

    async def _wait(self, lease: Lease) -> None:
        """Wait for the end of a lease: it is returned or lost, or its time is over."""
        loop = asyncio.get_running_loop()
        lost = asyncio.ensure_future(lease.token.lost.wait())
        try:
            while not lease.returned and not lost.done():
                left_s = None if lease.until is None else lease.until - loop.time()
                if left_s is not None and left_s <= 0:
                    return
                changed = asyncio.ensure_future(lease.changed.wait())
                await asyncio.wait(
                    {lost, changed}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
                )
                changed.cancel()
                lease.changed.clear()
        finally:
            lost.cancel()
