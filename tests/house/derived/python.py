"""The reference of the Python API, from its docstrings and signatures."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from typing import Any

import coordinator
from coordinator import testing

#: A line of a docstring that begins with names and a colon.
KEY = re.compile(r"^(\w+(?:, \w+)*): +(\S.*)$")
HEAD = """\
# Python reference

Written from the docstrings by `make config`: change it there. Guides: [held.md](held.md) for
programs below `coord run`, [api.md](api.md) for tokens in your own process,
[testing.md](testing.md) for tests.
"""


def page() -> str:
    """Return the reference of `coordinator` and `coordinator.testing`."""
    parts = [HEAD]
    for title, module in (("coordinator", coordinator), ("coordinator.testing", testing)):
        parts.append(f"## {title}\n")
        for name in sorted(module.__all__, key=str.lower):
            if inspect.isclass(thing := getattr(module, name)):
                parts += _class(name, thing)
            elif callable(thing):
                parts += [f"### {name}{_signature(thing)}\n", _doc(thing)]
    return "\n".join(parts)


def _class(name: str, kind: type[Any]) -> Iterator[str]:
    error = issubclass(kind, BaseException)
    made = "" if error or kind.__init__ is object.__init__ else _signature(kind)
    yield f"### {name}{made}\n"
    yield _doc(kind)
    if error:
        return
    rows = [row for row in (_member(key, value) for key, value in _members(kind)) if row]
    if rows:
        yield "| name | meaning |"
        yield "|---|---|"
        yield from rows
        yield ""


def _members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Return public members in the order of the source, inherited ones of our own included."""
    seen: set[str] = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("coordinator"):
            continue
        for name, value in vars(base).items():
            if not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, value


def _member(name: str, value: Any) -> str:
    inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    if isinstance(value, property):
        return f"| `{name}` | {_line(value)} |"
    if inspect.isroutine(inner):
        word = "await " if inspect.iscoroutinefunction(inner) else ""
        return f"| `{word}{name}{_signature(inner)}` | {_line(inner)} |"
    return ""


def _signature(thing: Any) -> str:
    """Return the parameters with their defaults; their types are in the source."""
    given = inspect.signature(thing).parameters.values()
    plain = [
        each.replace(annotation=inspect.Parameter.empty, default=_default(each.default))
        for each in given
        if each.name not in ("self", "cls")
    ]
    return str(inspect.Signature(plain))


def _default(value: Any) -> Any:
    """Return a default as it is shown; of the environment its name, and never what is in it."""
    if value is inspect.Parameter.empty or value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | tuple):
        return value
    return _Word("os.environ" if value is os.environ else "...")


class _Word(str):
    """Text that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _doc(thing: Any) -> str:
    """Return a docstring with its list of keys (`group_id: ...`) as one of Markdown."""
    lines = inspect.cleandoc(thing.__doc__ or "").replace("<", "&lt;").splitlines()
    made: list[str] = []
    for line in lines:
        if key := KEY.match(line):
            made += [""] if made and made[-1] and not made[-1].startswith(("- ", "  ")) else []
            made.append(f"- `{key[1]}`: {key[2].strip()}")
        else:
            inside = made and made[-1].startswith(("- ", "  ")) and line
            made.append(f"  {line.strip()}" if inside else line)
    return "\n".join(made) + "\n"


def _line(thing: Any) -> str:
    text = " ".join(inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0].split())
    return text.replace("|", "\\|").replace("<", "&lt;")
