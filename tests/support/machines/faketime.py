"""Separate clocks for the processes of one node, or for a server: other rates, steps.

Not Debian's libfaketime (0.9.10): under it Python's timed waits never end (it does not translate
sem_clockwait), a timer of CLOCK_BOOTTIME never rings, and monotonic clocks show the time of day.
faketime.c is a library to be preloaded as well, and does what such a node needs and no more.
"""

from __future__ import annotations

import atexit
import os
import shutil
import struct
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from coordinator.store.embedded.binaries import find_binaries
from tests.support.servers.scratch import scratch

SOURCE = Path(__file__).with_name("faketime.c")
STEPS = struct.Struct("@d")
COMPILE_TIMEOUT_S = 60.0
#: So long ago all clocks agreed: by now one that runs wrong by 0.5 % is wrong by a minute.
AGREED_S = 12_000.0


@cache
def library() -> Path:
    """Return the compiled library; skip the test where it cannot be made, but fail in CI."""
    compiler = shutil.which("cc")
    if compiler is None:
        _cannot("there is no C compiler for fake clocks: install gcc and libc6-dev")
    path = _home() / "faketime.so"
    options = ["-O2", "-shared", "-fPIC", "-o", str(path), str(SOURCE), "-ldl"]
    done = subprocess.run(
        [str(compiler), *options], capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S
    )
    if done.returncode != 0:
        _cannot(f"the library for fake clocks cannot be compiled: {done.stderr.strip()}")
    path.chmod(0o755)
    return path


def _home() -> Path:
    """Return a fresh directory that goes with this process; a server's user may pass it."""
    home = scratch()
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


def _cannot(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Clocks:
    """All clocks of some processes run at one rate; the wall clock can be stepped besides."""

    def __init__(self, rate: float = 1.0) -> None:
        self._steps = library().parent / f"steps-{id(self)}"
        self._steps.write_bytes(STEPS.pack(0.0))
        self._steps.chmod(0o644)
        clocks = (
            time.CLOCK_MONOTONIC,
            time.CLOCK_BOOTTIME,
            time.CLOCK_MONOTONIC_RAW,
            time.CLOCK_REALTIME,
        )
        bases = (f"{time.clock_gettime(clock) - AGREED_S:.6f}" for clock in clocks)
        self.env = {
            "LD_PRELOAD": str(library()),
            "FAKE_CLOCKS": " ".join((repr(rate), str(self._steps), *bases)),
        }

    def step(self, seconds: float) -> None:
        """Set the wall clock so far ahead of where it would be; behind it when negative."""
        with self._steps.open("r+b", buffering=0) as file:
            file.write(STEPS.pack(seconds))

    def programs(self) -> Path:
        """Return a directory of PostgreSQL's programs whose server runs on these clocks."""
        real = find_binaries().bindir
        ours = _home() / "bin"
        ours.mkdir(mode=0o755)
        for program in real.iterdir():
            if program.name != "postgres":
                (ours / program.name).symlink_to(program)
        server = ours / "postgres"
        settings = " ".join(f"{key}='{value}'" for key, value in self.env.items())
        server.write_text(f'#!/bin/sh\n{settings} exec {real / "postgres"} "$@"\n')
        server.chmod(0o755)
        return ours


def unfaked(*command: str) -> tuple[str, ...]:
    """Return a command that runs on the true clocks, whoever starts it."""
    return ("/usr/bin/env", "-u", "LD_PRELOAD", "-u", "FAKE_CLOCKS", *command)
