"""Process of a node that has disks: it serves their segments, reports them and tidies them up.

It is a process of its own, so that no disk that hangs delays a heartbeat. It ends when its standard
input does, which the agent holds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from coordinator.app.checkpoints.places import database_clock, path_in
from coordinator.app.checkpoints.tidying import TIDY_S, tidy
from coordinator.app.config.settings import NodeSettings, from_json
from coordinator.errors import CoordError, DatabaseRefusedError
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.log import logger as log
from coordinator.segments.devices.disk import Disk, DiskState
from coordinator.segments.devices.marker import make_device, marker_of
from coordinator.segments.faults import DiskError
from coordinator.segments.transfer.certificate import make_identity
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.catalogue import Catalogue
from coordinator.web.listening import split_address
from coordinator.web.segment_server import SegmentServer, Served

#: Between two reports of the disks.
REPORT_EVERY_S = 10.0
#: Before a try again after the database has failed: its end should not show as a silence.
AGAIN_S = 1.0
#: A disk of which nothing was reported for so long shows as offline, and another node may have it.
SILENT_S = 3 * REPORT_EVERY_S
#: Fault of a directory that others have, too.
IN_USE = "it is in use: another node or group, or another URL of this node, has this device"
#: Time for one request to the database.
REQUEST_S = 10.0
#: Time in which a disk answers; one that hangs may never do.
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of the configuration, and the device that it is; None while it is not there."""

    url: str
    disk: Disk | None
    fault: str | None = None


class OwnDisks:
    """Reports the disks of one node, and deletes what is to go."""

    def __init__(self, settings: NodeSettings, alive: Callable[[], object] = lambda: None) -> None:
        self._settings, self._alive = settings, alive
        self.answer_s, self.silent_s, self.tidy_s = ANSWER_S, SILENT_S, TIDY_S
        self._said: dict[str, str] = {}
        self._answers: dict[str, Future[tuple[Place, DiskState]]] = {}
        self.disks: dict[str, Disk] = {}

    def open(self) -> Catalogue:
        """Open the catalogue.

        Errors: CoordError.
        """
        database = self._settings.database
        return Catalogue(
            database.conninfo,
            schema=database.schema,
            group=self._settings.group_id,
            where=database.label,
            timeout_s=REQUEST_S,
        )

    def look(self, catalogue: Catalogue) -> list[tuple[str, str]]:
        """Report every disk, and tidy up those that are there; return what has changed."""
        known = {
            row["url"]: row["device"]
            for row in catalogue.read(statements.DEVICES)
            if row["node"] == self._settings.task_id
        }
        words: dict[str, str] = {}
        there: dict[str, Disk] = {}
        for url in self._settings.checkpoints.disks:
            self._alive()
            place, state = self._look_at(url, known.get(url))
            device = place.disk.device if place.disk is not None else known.get(url)
            refused = None if device is None else self._report(catalogue, device, url, state)
            if refused is not None:
                place = Place(url, None, refused)
                state = DiskState(state="offline", error=refused)
            if place.disk is not None:
                self.disks[place.disk.device] = place.disk
            words[url] = f"{state.state}: {state.error}" if state.error else state.state
            if place.disk is not None and state.state in ("online", "full"):
                there[url] = place.disk
        for url, disk in there.items():
            self._alive()
            try:
                tidy(catalogue, disk, self.tidy_s / len(there))
            except (DiskError, OSError) as error:
                # The other disks have nothing to do with it.
                words[url] += f"; not tidied up: {error}"
        changed = [(url, word) for url, word in words.items() if self._said.get(url) != word]
        self._said |= words
        return changed

    def _look_at(self, url: str, known: str | None) -> tuple[Place, DiskState]:
        """Return the disk at a URL and its state; one that hangs delays no other's report."""
        answer = self._answers.get(url)
        wait_s = 0.0
        if answer is None:
            answer = self._answers[url] = Future()
            wait_s = self.answer_s
            looking = threading.Thread(target=_answer, args=(answer, url, known), daemon=True)
            looking.start()
        try:
            found = answer.result(wait_s)
        except TimeoutError:
            fault = f"{url}: it does not answer"
            return Place(url, None, fault), DiskState(state="offline", error=fault)
        del self._answers[url]
        return found

    def _report(self, catalogue: Catalogue, device: str, url: str, state: DiskState) -> str | None:
        """Report a disk; return why it cannot be this node's."""
        try:
            told = catalogue.change(
                statements.REPORT_DEVICE,
                device=device,
                node=self._settings.task_id,
                url=url,
                state=state.state,
                total_bytes=state.total_bytes,
                free_bytes=state.free_bytes,
                error=state.error,
                silent_ms=round(1000 * self.silent_s),
                takeover_ms=round(1000 * self.silent_s),
            )
        except DatabaseRefusedError as error:
            # It says so, too, for a row of another group, which this login may not see.
            return f"{IN_USE}, or: {error}"
        return None if told else IN_USE


def serve(
    settings: NodeSettings, stop: threading.Event, alive: Callable[[], object] = lambda: None
) -> None:
    """Serve and report until `stop` is set.

    alive: called again and again, while this goes on.
    Errors: CoordError at the start; later ones are logged, and tried again.
    """
    logger = log.set_up(
        settings.log_level, settings.log_format, group=settings.group_id, node=settings.task_id
    )
    own_disks = OwnDisks(settings, alive)
    server: SegmentServer | None = None
    catalogue: Catalogue | None = None
    trouble = ""
    try:
        while not stop.is_set():
            wait_s = REPORT_EVERY_S
            try:
                if catalogue is None:
                    catalogue = own_disks.open()
                for url, word in own_disks.look(catalogue):
                    log.say(logger, "disk", f"{settings.group_id}: {url}: {word}", {})
                if server is None and settings.checkpoints.listen is not None:
                    server = served_by(settings, catalogue, own_disks.disks)
                trouble = ""
            except (CoordError, OSError) as error:
                if catalogue is not None:
                    catalogue.close()
                    catalogue = None
                wait_s = AGAIN_S
                if str(error) != trouble:
                    trouble = str(error)
                    log.fail(logger, "disks", trouble)
            alive()
            stop.wait(wait_s)
    finally:
        if server is not None:
            server.close()
        if catalogue is not None:
            catalogue.close()


def served_by(
    settings: NodeSettings, catalogue: Catalogue, disks: Mapping[str, Disk]
) -> SegmentServer:
    """Start to serve, and publish the address with the fingerprint of the new certificate.

    Errors: CoordError.
    """
    own = settings.checkpoints
    assert own.listen is not None, "it is to serve"
    catalogue.change(statements.MAKE_KEY, key=secrets.token_bytes(32))
    (row,) = catalogue.read(statements.KEY)
    identity = make_identity()
    served = Served(
        group=settings.group_id,
        key=bytes(row["key"]),
        disks=disks,
        now_s=database_clock(catalogue),
        elapsed_s=BoottimeClock().now,
    )
    server = SegmentServer(own.listen, identity, served)
    host = own.advertise or split_address(own.listen)[0]
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound to
        host = socket.gethostname()
    catalogue.change(
        statements.REPORT_NODE,
        node=settings.task_id,
        address=f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}",
        fingerprint=identity.fingerprint,
    )
    return server


def _answer(answer: Future[tuple[Place, DiskState]], url: str, known: str | None) -> None:
    place = _found(url, known)
    if place.disk is not None:
        answer.set_result((place, place.disk.state()))
    else:
        answer.set_result((place, DiskState(state="offline", error=place.fault)))


def _found(url: str, known: str | None) -> Place:
    """Return the disk at a URL. A place that had a device is never made a new one by itself."""
    try:
        path = path_in(url)
        device = marker_of(path)
        if device is None and known is None:
            device = make_device(path)
        if device is None:
            raise DiskError(f"{path}: its marker is gone; is the right disk mounted there?")
        return Place(url, Disk(path, device))
    except DiskError as error:
        return Place(url, None, str(error))


def main() -> None:
    """Serve until standard input ends."""
    settings_fd = int(sys.argv[1])
    settings = from_json(os.pread(settings_fd, os.fstat(settings_fd).st_size, 0).decode())
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)
    stop = threading.Event()

    def wait_for_the_end() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        stop.set()

    def alive() -> None:
        with contextlib.suppress(OSError):
            os.write(1, b".")

    threading.Thread(target=wait_for_the_end, name="coord-end", daemon=True).start()
    serve(settings, stop, alive)


if __name__ == "__main__":
    main()
