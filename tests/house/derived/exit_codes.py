"""The reference of exit codes, from the one tree of errors."""

from __future__ import annotations

import inspect
import textwrap

from coordinator import errors

HEAD = """\
# Exit codes

Written from `coordinator/errors.py` by `make config`: change it there.

| code | meaning |
|--:|---|
| 0 | done; of `coord run` also: the node was told to leave |
"""
TAIL = """\
| 128 + n | signal n ended the program of `coord run`, `once` or `token hold`, as a shell has it |

The code of a program that ended by itself is passed on where coord runs it once (`coord once`,
`coord token hold`, `coord run` with `onExit = "stop"`). `coord check --nagios` has the codes of
Nagios instead: 0 ok, 1 warning, 2 critical, 3 unknown.

A supervisor need not start a node again after 2 and 78, because nothing changes by itself: with
systemd `RestartPreventExitStatus=2 78`.
"""


def page() -> str:
    """Return the reference of all exit codes."""
    rows = [f"| {code} | {'; '.join(texts)} |\n" for code, texts in sorted(_texts().items())]
    return HEAD + "".join(rows) + "".join(TAIL)


def _texts() -> dict[int, list[str]]:
    """Return what each code means: one sentence for each error that has it, without repetitions."""
    found: dict[int, list[str]] = {}
    for error in vars(errors).values():
        if not inspect.isclass(error) or not issubclass(error, errors.CoordError):
            continue
        text = textwrap.dedent(error.__doc__ or "").strip().split("\n\n")[0]
        if error is errors.CoordError:
            text = "an error that has no code of its own, or a bug."
        sentence = " ".join(text.split()).removesuffix(".")
        found.setdefault(error.exit_code, []).append(sentence[0].lower() + sentence[1:])
    return found
