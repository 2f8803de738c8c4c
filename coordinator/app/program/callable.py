"""Import of the user's function, with an error of one line if it cannot be imported."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module

from coordinator.errors import ConfigError
from coordinator.runtime.schedule.jobs import wants_context

Function = Callable[..., object]


def load_callable(target: str, origins: Mapping[str, str] | None = None) -> Function:
    """Import "module:function" and return the function.

    Errors: ConfigError, one line: the place of the setting, the problem, the place of the error.
    """
    place = (origins or {}).get("program.callable")
    prefix = f"{place}: program.callable" if place else "program.callable"
    where = f"{prefix}: {target!r}"
    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path:
        raise ConfigError(f'{where} must be "module:function"')
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = f"no module named {error.name!r} in {os.getcwd()} or the installed packages"
        raised = "" if _names(module_name, error.name) else f" (imported in {_raised_at(error)})"
        raise ConfigError(f"{where} cannot be imported: {missing}{raised}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{where} cannot be imported: {type(error).__name__}: {_one_line(error)}"
            f" ({_raised_at(error)})"
        ) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigError(f"{where}: module {module_name!r} has no {path!r}") from None
    if not callable(found):
        raise ConfigError(f"{where} is not a function but {type(found).__name__}")
    try:
        wants_context(found)
    except ConfigError as error:
        raise ConfigError(f"{where} {error}") from None
    return found


def _names(module: str, missing: str | None) -> bool:
    """Return True if the missing module is the requested one, or a package of it."""
    return missing is not None and (module == missing or module.startswith(f"{missing}."))


def _raised_at(error: BaseException) -> str:
    """Return file:line of the innermost frame, or of the line that cannot be parsed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen importlib")
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "no frame is known"


def _one_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return str(error.msg)
    return " ".join(str(error).split())[:300]
