"""Checkpoints over nodes: spread, sent, read in every state, refused where that is due."""

from __future__ import annotations

import os
import random
import socket
import ssl
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import Coordinator
from coordinator.app.checkpoints.restoring import Reader
from coordinator.errors import ConditionFalseError, TokenLostError
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.segments.codec import has_erasure_code
from coordinator.segments.faults import CheckpointLostError, DiskError, SegmentAbsentError
from coordinator.segments.transfer.certificate import make_identity
from coordinator.segments.transfer.client import Peer
from coordinator.segments.transfer.signing import (
    HEADER,
    Request,
    TransferError,
    checked,
    path_of,
    signature,
)
from coordinator.store.checkpoints import statements
from tests.support.nodes.disk_nodes import GROUP, DiskNodes, disk_nodes

pytestmark = pytest.mark.real

CONTENT = random.Random(3).randbytes(700_001)
needs_code = pytest.mark.skipif(not has_erasure_code(), reason="pyeclib is not installed")


@needs_code
def test_seven_nodes_keep_four_and_two_and_give_back_what_was_put(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 7) as group:
        holding = group.hold("n1")
        contents = [CONTENT[:length] for length in (1, 65_536 * 4, 700_001)]
        made = [group.put(holding, content) for content in contents]

        assert [(each.data_count, each.parity_count, each.degraded) for each in made] == [
            (4, 2, False)
        ] * 3
        assert [group.read(sequence) for sequence in (1, 2, 3)] == contents
        assert group.statuses() == [(sequence, "INTACT") for sequence in (1, 2, 3)]
        spread = "SELECT count(DISTINCT node) FROM sys_segments GROUP BY segment_group"
        assert database.query(spread) == [(6,)] * 3
        assert group.put(holding, b"").length == 0
        assert group.read() == b""


@needs_code
def test_two_lost_nodes_are_borne_and_a_third_is_told_with_numbers(database, tmp_path: Path):
    """V6: m lost is read, m + 1 is lost."""
    with disk_nodes(database, tmp_path, 7) as group:
        group.put(group.hold("n1"), CONTENT)
        holders = [
            node for (node,) in database.query("SELECT node FROM sys_segments ORDER BY place")
        ]
        for name in holders[:2]:
            group.kill(name, with_disks=True)

        assert group.read() == CONTENT
        assert group.statuses() == [(1, "MISSING")]
        group.kill(holders[2])
        with pytest.raises(CheckpointLostError, match="3 of 6 segments can be read, and 4 are"):
            group.read()
        assert group.statuses() == [(1, "LOST")]


def test_two_nodes_have_a_mirror_and_one_node_a_degraded_one(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 1, disks=2) as group:
        first = group.put(group.hold("n1"), CONTENT)
        group.add("n2")
        second = group.put(group.hold("n1"), CONTENT)

        assert (first.data_count, first.parity_count, first.degraded) == (1, 1, True)
        assert (second.data_count, second.parity_count, second.degraded) == (1, 1, False)
        assert group.statuses() == [(1, "DEGRADED_PLACEMENT"), (2, "INTACT")]


def test_a_disk_that_is_gone_gives_way_to_the_next_and_leaves_nothing_half(
    database, tmp_path: Path
):
    with disk_nodes(database, tmp_path, 3) as group:
        holding = group.hold("n1")
        (tmp_path / "n2/disk0").rename(tmp_path / "n2/gone")

        group.put(holding, CONTENT)

        assert group.read() == CONTENT
        assert set(database.query("SELECT node FROM sys_segments")) == {("n1",), ("n3",)}
        assert database.query("SELECT count(*) FROM segment_group") == [(1,)]
        group.look()
        files = [
            name
            for disk in group.disks().values()
            if disk.root.exists()
            for name in disk.segments()
        ]
        assert len(files) == 2
        assert database.query(
            "SELECT node, state FROM sys_storage_devices WHERE state <> 'online'"
        ) == [("n2", "offline")]


def test_no_disk_at_all_is_told_with_what_to_do(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 1) as group:
        holding = group.hold("n1")
        (tmp_path / "n1/disk0").rename(tmp_path / "n1/gone")
        group.look()

        with pytest.raises(DiskError, match=r"needs \[\[disks\]\] on a live node"):
            group.put(holding, CONTENT)
        assert database.query("SELECT count(*) FROM segment_group") == [(0,)]


def test_a_deposed_holder_commits_nothing_and_its_files_go(database, tmp_path: Path):
    """V2, V3."""
    with disk_nodes(database, tmp_path, 2) as group:
        old = group.hold("n1")
        group.put(old, b"first")
        new = group.hold("n2")

        with pytest.raises(TokenLostError):
            group.put(old, CONTENT)
        group.put(new, b"second")

        assert group.read() == b"second"
        assert database.query("SELECT term FROM segment_group ORDER BY sequence") == [(1,), (2,)]


def test_retention_keeps_the_last_and_deletes_the_files_of_the_others_late(
    database, tmp_path: Path
):
    """V5, V7."""
    with disk_nodes(database, tmp_path, 2, keep=2) as group:
        holding = group.hold("n1")
        for number in range(5):
            group.put(holding, b"x" * (number + 1))

        assert [sequence for sequence, _ in group.statuses()] == [4, 5]
        group.look()
        files = [name for disk in group.disks().values() for name in disk.segments()]
        assert len(files) == 10  # a reader may have one open
        database.query("UPDATE segment_leaving SET leaves_at = now() - interval '1 s'")
        group.look()
        files = [name for disk in group.disks().values() for name in disk.segments()]
        assert len(files) == 4
        assert group.read(4) == b"xxxx"
        database.query("UPDATE segment_leaving SET leaves_at = now() - interval '1 day'")
        group.look()
        assert database.query("SELECT count(*) FROM segment_leaving") == [(0,)]


def test_small_ones_are_rows_and_need_no_disk(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 1, rows_max=2_500_000) as group:
        content = CONTENT * 3
        made = group.put(group.hold("n1"), content)

        assert made.data_count == 0
        assert group.read() == content
        assert database.query("SELECT count(*) FROM checkpoint_row") == [(3,)]
        database.query("UPDATE checkpoint_row SET content = 'x' WHERE place = 1")
        with pytest.raises(CheckpointLostError, match="another content"):
            group.read()


def test_none_yet_is_an_expected_no(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 1) as group, pytest.raises(ConditionFalseError):
        group.read()


def test_a_segment_that_is_damaged_on_the_way_is_not_used(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        path = group.path(1, 0)
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 4
        path.write_bytes(damaged)

        assert group.read() == CONTENT
        with group.catalogue() as catalogue:
            reader = Reader(catalogue, "nobody", 1)
            verified = reader.verify(reader.chosen(GROUP))
        assert [each.verdict for each in verified.verdicts] == ["DAMAGED", "INTACT"]
        assert verified.readable


# --- between nodes --------------------------------------------------------------------------------


def peer_of(group: DiskNodes, name: str) -> tuple[Peer, str, str]:
    """Return a node as another one knows it, with the device and a segment that it has."""
    with group.catalogue() as catalogue:
        rows = catalogue.read(statements.SEGMENTS, checkpoint=None, device=None)
        (row,) = [row for row in rows if row["node"] == name]
        (key,) = catalogue.read(statements.KEY)
        ahead_s = catalogue.server_time().timestamp() - BoottimeClock().now()
    peer = Peer(
        node=name,
        address=row["address"],
        fingerprint=row["fingerprint"],
        group=GROUP,
        key=bytes(key["key"]),
        term=1,
        now_s=lambda: BoottimeClock().now() + ahead_s,
        silence_max_s=5.0,
    )
    return peer, row["device"], row["segment"]


def read_whole(peer: Peer, device: str, segment: str) -> bytes:
    with peer.reading(device, segment) as reading:
        return b"".join(iter(lambda: reading.read(65_536), b""))


def send(peer: Peer, device: str, segment: str, content: bytes, digest: bytes) -> None:
    with peer.writing(device, segment, len(content)) as writing:
        writing.write(content)
        writing.keep(digest)


def test_who_is_not_of_the_group_gets_and_leaves_nothing(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        peer, device, segment = peer_of(group, "n2")
        original = read_whole(peer, device, segment)
        refused = {
            "another key": replace(peer, key=b"x" * 32),
            "another group": replace(peer, group="billing"),
            "a signature of an hour ago": replace(peer, now_s=lambda: peer.now_s() - 3600),
            "one for tomorrow": replace(peer, now_s=lambda: peer.now_s() + 86_400),
            "another certificate": replace(peer, fingerprint=make_identity().fingerprint),
        }
        for other in refused.values():
            with pytest.raises(TransferError):
                read_whole(other, device, segment)
            with pytest.raises(TransferError):
                send(other, device, segment, b"x" * 100, b"x" * 32)

        assert read_whole(peer, device, segment) == original
        disk = group.disks()[device]
        assert disk.temporaries() == []


def test_a_digest_that_was_not_signed_keeps_no_file(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        peer, device, segment = peer_of(group, "n2")
        whole = read_whole(peer, device, segment)
        new = "11111111-1111-4111-8111-111111111111"

        for content, digest in (
            (whole, b"another digest".ljust(32)),  # forged
            (whole[:-1] + b"\0", whole[-36:-4]),  # flipped at its end
            (whole[:2000] + b"\0" + whole[2001:], whole[-36:-4]),  # flipped inside
        ):
            with pytest.raises(DiskError):
                send(peer, device, new, content, digest)
        with peer.writing(device, new, len(whole)) as writing:
            writing.write(whole[:5000])  # cut off midway

        with pytest.raises(SegmentAbsentError):
            read_whole(peer, device, new)
        send(peer, device, new, whole, whole[-36:-4])
        assert read_whole(peer, device, new) == whole


@pytest.mark.parametrize(
    "path",
    [
        "/segments/orders/{device}/../../../../etc/passwd",
        "/segments/orders/{device}/%2e%2e%2fetc%2fpasswd",
        "/segments/orders/{device}/\x00",
        "//etc/passwd",
        "/segments/billing/{device}/{segment}",
        "/segments/orders/{segment}/{segment}",
    ],
)
def test_tricks_in_a_path_lead_nowhere(database, tmp_path: Path, path: str):
    """Signed as they are: a node of the group may be taken over."""
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        peer, device, segment = peer_of(group, "n2")
        asked = path.format(device=device, segment=segment)
        request = Request(method="GET", path=asked, term=1, expires_at=int(peer.now_s()) + 30)
        host, _, port = peer.address.rpartition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain) as line,
        ):
            head = f"GET {asked} HTTP/1.1\r\n{HEADER}: {signature(peer.key, request)}\r\n\r\n"
            line.sendall(head.encode())
            answer = line.makefile("rb").readline()

        assert answer.split()[1] in (b"400", b"403", b"507")


def test_a_node_that_says_nothing_is_given_up_for_another(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        silent = socket.create_server(("127.0.0.1", 0))
        taken: list[socket.socket] = []
        thread = threading.Thread(target=lambda: taken.append(silent.accept()[0]))
        thread.start()
        port = silent.getsockname()[1]
        peer, device, segment = peer_of(group, "n1")
        mute = replace(peer, address=f"127.0.0.1:{port}", silence_max_s=0.2)

        with pytest.raises(TransferError):
            read_whole(mute, device, segment)
        thread.join(10)
        for each in (*taken, silent):
            each.close()


@pytest.mark.parametrize(
    "change", ["method", "path", "term", "expires", "mac", "nothing", "unsigned", "garbage"]
)
def test_a_signature_is_of_one_request(change: str):
    key, path = os.urandom(32), path_of("g", "d", "s")
    request = Request(method="GET", path=path, term=5, expires_at=1_030)
    given = signature(key, request)
    method = "PUT" if change == "method" else "GET"
    asked = path + "x" if change == "path" else path
    term, expires, mac = given.split(".")
    given = {
        "term": f"6.{expires}.{mac}",
        "expires": f"{term}.1031.{mac}",
        "mac": f"{term}.{expires}.{mac[:-1]}{'0' if mac[-1] != '0' else '1'}",
        "unsigned": "",
        "garbage": "\u0661.\u0662.x",
    }.get(change, given)

    if change == "nothing":
        assert checked(key, method, asked, given, 1_000.0) == request
        return
    with pytest.raises(TransferError):
        checked(key, method, asked, given, 1_000.0)


def test_a_token_of_this_process_keeps_and_restores(database, tmp_path: Path):
    """In rows, and on the disks of nodes; refused once the token is another's (V2)."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    (before / "seen").write_text("4711")
    with disk_nodes(database, tmp_path / "nodes", 2) as group:
        coordinator = Coordinator(
            group_id=GROUP,
            task_id="here",
            database_url=database.conninfo,
            schema=database.schema,
        )
        with coordinator.token("mail") as token:
            assert not token.restore(after)
            assert token.checkpoint(before) == 1
            assert token.restore(after)
            assert token.checkpoint(b"bytes", rows_max=0) == 2
            assert token.restore(tmp_path / "file")

        with pytest.raises(TokenLostError):
            token.checkpoint(before)
    assert (after / "seen").read_text() == "4711"
    assert (tmp_path / "file").read_bytes() == b"bytes"
    assert database.query("SELECT token, data_count FROM segment_group ORDER BY sequence") == [
        ("orders/mail", 0),
        ("orders/mail", 1),
    ]
    assert group.nodes
