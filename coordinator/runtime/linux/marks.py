"""Processes that were started with a variable: /proc/PID/environ, read by a separate process.

Reading the environment of a process waits for a lock of that process, and so for everything that
holds it up, for example a page on a disk that hangs. A reader that hangs is abandoned; the caller,
who has programs to kill, goes on with the next process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable

from coordinator.runtime.linux import spawn, syscalls

#: A reader that is silent for this long without computing hangs.
_SILENT_MS = 20
#: Number of such silences for which a computing reader is awaited, on a busy machine.
_SILENCES_MAX = 50
#: Number of processes that may hang a reader before a search is given up.
_HUNG_MAX = 8
_READ_MAX = 65_536
#: Longest outer value; runs nested deeper than it allows are marked by the innermost run only.
_CHAIN_MAX = 2000
#: Readers of this process that have not been collected.
_dismissed: set[int] = set()


def links(value: bytes) -> list[bytes]:
    """Return the marks in a value: those of nested runs, the outermost first."""
    return [link for link in value.split(b"/") if link]


def chained(outer: str, marker: str) -> str:
    """Return the value for a run inside an outer one, if the outer value is in coord's form."""
    if not outer.replace("/", "").isalnum() or len(outer) > _CHAIN_MAX:
        return marker
    return f"{outer}/{marker}"


def values_of(name: bytes, pids: Iterable[int], proc: str = "/proc") -> dict[int, bytes | None]:
    """Return the value of the variable for each process that was started with it.

    Shapes: None for a process that cannot be read now, but could be later. A process whose
    environment may not be read, or that hangs its reader, is left out.
    Errors: none; without a process to spare, this process reads itself.
    """
    waiting = list(pids)
    found: dict[int, bytes | None] = {}
    for _ in range(_HUNG_MAX):
        if not waiting:
            break
        try:
            answered = _read_apart(name, waiting, proc, found)
        except OSError:
            found |= {pid: value for pid in waiting if (value := _value(name, pid, proc)) != b""}
            break
        waiting = waiting[answered + 1 :]  # the first unanswered one hangs its reader
    return found


def environment(pid: int, proc: str = "/proc") -> list[bytes] | None:
    """Return the variables that the process was started with; empty if it may not be read.

    None when it cannot be read now, for lack of a descriptor or memory.
    """
    try:
        return _text(f"{proc}/{pid}/environ").split(b"\0")
    except ProcessLookupError:
        pass  # it has ended, or its main thread has
    except OSError as error:
        return None if error.errno in syscalls.NOT_NOW else []
    try:
        return _of_its_threads(f"{proc}/{pid}/task").split(b"\0")
    except OSError as error:
        return None if error.errno in syscalls.NOT_NOW else []


def _of_its_threads(tasks: str) -> bytes:
    """Return the environment that a thread shows; a main thread that has ended has none.

    Errors: OSError, but for threads that end meanwhile.
    """
    for thread in os.listdir(tasks):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if text := _text(f"{tasks}/{thread}/environ"):
                return text
    return b""


def _text(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _value(name: bytes, pid: int, proc: str) -> bytes | None:
    prefix = name + b"="
    variables = environment(pid, proc)
    if variables is None:
        return None
    for variable in variables:
        if variable.startswith(prefix):
            return variable.removeprefix(prefix)
    return b""


def _read_apart(name: bytes, pids: list[int], proc: str, found: dict[int, bytes | None]) -> int:
    """Have a child read them in turn; return how many it answered before it ended or hung."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    try:
        reader = spawn.fork_clean(lambda: _answer(name, pids, proc, write_fd))
    except OSError:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
    answered, rest = 0, b""
    try:
        while _has_word(read_fd, reader):
            text = os.read(read_fd, _READ_MAX)
            if not text:
                break
            *lines, rest = (rest + text).split(b"\n")
            for line in lines:
                pid, known, value = line.partition(b" ")
                answered += 1
                if value or not known:
                    found[int(pid)] = value if known else None
    finally:
        os.close(read_fd)
        _dismiss(reader)
    return answered


def _answer(name: bytes, pids: list[int], proc: str, write_fd: int) -> None:
    """Run as the reader: write one line for each process."""
    # A reader that can never be killed must not hold the guardian's sockets open.
    spawn.close_except((write_fd,))
    for pid in pids:
        value = _value(name, pid, proc)
        told = b"%d\n" % pid if value is None else b"%d %s\n" % (pid, value.split(b"\n")[0])
        os.write(write_fd, told)
    os._exit(0)


def _has_word(read_fd: int, reader: int) -> bool:
    """Wait until the reader has written something or ended; false when it hangs."""
    poll = select.poll()
    poll.register(read_fd, select.POLLIN)
    for _ in range(_SILENCES_MAX):
        if poll.poll(_SILENT_MS):
            return True
        if _state(reader) != "R":
            return bool(poll.poll(0))
    return False


def _state(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read()
        return text[text.rindex(b")") + 2 :][:1].decode()
    return ""


def _dismiss(reader: int) -> None:
    """Kill the reader, and collect ended ones; a reader held by the kernel stays."""
    with contextlib.suppress(OSError):
        os.kill(reader, signal.SIGKILL)
    _dismissed.add(reader)
    collect()


def collect() -> None:
    """Collect the readers that have ended since they were dismissed."""
    for each in tuple(_dismissed):
        try:
            gone = os.waitpid(each, os.WNOHANG)[0] == each
        except ChildProcessError:
            gone = True  # other code that collects every child has collected it
        if gone:
            _dismissed.discard(each)
