"""One request to a webhook: every way in which a receiver may fail, and the bounds that hold."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from coordinator.web.webhook.post import NotDeliveredError, post, reach
from coordinator.web.webhook.target import target_of
from tests.support.servers.receiver import OK, Receiver, receiver, says

#: Far more than a loopback needs, and far less than a test may take.
PATIENT_S, SHORT_S = 20.0, 0.3


def sent(to: Receiver, timeout_s: float = PATIENT_S) -> str:
    """Send one request; return why it was not delivered, or "" ."""
    try:
        post(target_of(to.url), {"webhook-id": "orders-7"}, b'{"id":7}', timeout_s)
    except NotDeliveredError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_is_a_status_from_200_to_299(status: int) -> None:
    with receiver(b"HTTP/1.1 %d x\r\n\r\n" % status) as to:
        assert sent(to) == ""
        host = to.url.split("/")[2]

    (delivery,) = to.deliveries
    assert delivery.line == "POST /coord HTTP/1.1"
    assert delivery.body == b'{"id":7}'
    assert delivery.headers["webhook-id"] == "orders-7"
    assert delivery.headers["host"] == host


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_any_other_status_is_a_failure(status: int) -> None:
    with receiver(b"HTTP/1.1 %d x\r\n\r\n" % status) as to:
        assert sent(to) == f"answered {status}"


def test_a_redirect_is_a_failure_and_its_place_is_never_asked() -> None:
    with receiver(OK) as elsewhere:
        answer = f"HTTP/1.1 307 x\r\nLocation: {elsewhere.url}\r\n\r\n".encode()
        with receiver(answer) as to:
            assert sent(to) == "answered 307: a redirect is not followed"

    assert elsewhere.connections == 0


def test_an_interim_answer_is_passed_over() -> None:
    with receiver(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK) as to:
        assert sent(to) == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "did not answer in HTTP/1.1"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "did not answer in HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "answered with an endless head"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 6, "answered without an end"),
    ],
)
def test_what_is_no_answer_is_a_failure(answer: bytes, why: str) -> None:
    with receiver(answer) as to:
        assert sent(to) == why


def test_a_receiver_that_hangs_is_given_up() -> None:
    with receiver(lambda _: to.ended.wait() and None) as to:
        assert sent(to, SHORT_S) == "did not answer in time"


def test_a_receiver_that_sends_a_byte_now_and_then_is_given_up() -> None:
    """Each single read ends soon; the deadline is that of the whole delivery."""

    def drip(connection: socket.socket) -> None:
        while not to.ended.wait(SHORT_S / 20):
            connection.sendall(b"H")

    with receiver(drip) as to:
        assert sent(to, SHORT_S) == "did not answer in time"


def test_a_gigabyte_behind_the_head_is_not_read() -> None:
    """The sender closes after the status, so the receiver cannot get rid of its answer."""
    taken = threading.Event()

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            for _ in range(1000):
                connection.sendall(bytes(1_000_000))
            taken.set()
        except OSError:
            pass

    with receiver(flood) as to:
        assert sent(to) == ""

    assert not taken.is_set()


def test_a_reset_is_a_failure() -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with receiver(reset) as to:
        assert sent(to) == "broke the connection: Connection reset by peer"


def test_nobody_listens_there() -> None:
    with receiver() as to:
        url = to.url

    with pytest.raises(NotDeliveredError, match="cannot be reached: Connection refused"):
        reach(target_of(url), PATIENT_S)


def test_a_plain_receiver_behind_https_is_a_failure() -> None:
    with receiver(says(OK)) as to:
        target = target_of(to.url.replace("http:", "https:"))
        with pytest.raises(NotDeliveredError, match="TLS: "):
            reach(target, SHORT_S)


def test_to_reach_a_receiver_sends_nothing() -> None:
    with receiver() as to:
        reach(target_of(to.url), PATIENT_S)

    assert to.deliveries == []
