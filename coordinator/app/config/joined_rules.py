"""Rules of Config.toml that join [[tasks]] with other tables, each of which is valid by itself."""

from __future__ import annotations

from datetime import datetime

from coordinator.app.config.model.file import ConfigFile, RunOptions
from coordinator.app.config.problems import COMMAND_LINE, Places, Problem, place_of
from coordinator.app.config.task_spec import SPEC_LETTERS_MAX, task_of

#: Keys that may have named a program of the group, the most telling one first.
PROGRAM = (("program", "command"), ("program", "callable"), ("program", "onExit"), ("program",))


def hosts_tasks(config: ConfigFile) -> bool:
    """Return True if this is a node of a task group."""
    return bool(config.hosts_tasks or config.tasks)


def joined_problems(
    config: ConfigFile, options: RunOptions, places: Places, now: datetime
) -> list[Problem]:
    """Check a configuration whose tables are all right by themselves."""
    found = []
    if config.trigger and config.trigger.end_time and config.trigger.end_time <= now:
        rule = "is over: nothing would ever run"
        found.append(Problem(path=("trigger", "endTime"), rule=rule))
    found += _standby_problems(config)
    found += _watched_problems(config)
    if hosts_tasks(config):
        found += _group_problems(config, options, places)
    if options.observe and places.get(("program", "command")) == COMMAND_LINE:
        rule = "cannot be combined with a COMMAND: a node that observes runs none"
        found.append(Problem(path=("observe",), rule=rule))
    first: dict[str, int] = {}
    for index, task in enumerate(config.tasks):
        if first.setdefault(task.name, index) != index:
            where = place_of(("tasks", first[task.name], "name"), places)
            rule = f"is the name of another task already ({where})"
            found.append(Problem(path=("tasks", index, "name"), rule=rule, got=repr(task.name)))
        if len(task_of(task).spec) > SPEC_LETTERS_MAX:
            rule = f"must not be longer than {SPEC_LETTERS_MAX} letters of JSON"
            found.append(Problem(path=("tasks", index), rule=rule))
    return found


def _standby_problems(config: ConfigFile) -> list[Problem]:
    """Refuse a gate where no command could wait at it."""
    program, rule = config.program, ""
    if program.standby != "started":
        return []
    if program.callable is not None:
        rule = "'started' needs command: a callable does not wait at a gate"
    elif config.trigger is not None:
        rule = "'started' cannot be combined with [trigger]: a schedule starts each run anew"
    return [Problem(path=("program", "standby"), rule=rule)] if rule else []


def _watched_problems(config: ConfigFile) -> list[Problem]:
    """Refuse a watch on a program where there is none to watch."""
    found = []
    if config.health is not None and hosts_tasks(config):
        rule = "cannot be combined with tasks: a task reports progress instead (progressTimeout)"
        found.append(Problem(path=("health",), rule=rule))
    if config.hooks is not None and config.hooks.has_commands and hosts_tasks(config):
        rule = "cannot be combined with tasks, but for the webhook: these are hooks of one program"
        found.append(Problem(path=("hooks",), rule=rule))
    if config.program.progress_timeout and config.trigger is not None:
        rule = "cannot be combined with [trigger]: nothing reports progress between two runs"
        found.append(Problem(path=("program", "progressTimeout"), rule=rule))
    return found


def _group_problems(config: ConfigFile, options: RunOptions, places: Places) -> list[Problem]:
    found = []
    key = "hostsTasks" if config.hosts_tasks else "tasks"
    if "program" in config.model_fields_set:
        where = next((places[path] for path in PROGRAM if path in places), "")
        rule = f"cannot be combined with [program] ({where}): a group has one program, or tasks"
        found.append(Problem(path=(key,), rule=rule))
    if config.hosts_tasks is False:
        found.append(Problem(path=("hostsTasks",), rule="must not be false beside [[tasks]]"))
    if config.tasks_policy.commands == "listed" and not config.tasks:
        rule = "'listed' needs [[tasks]]: this node would run nothing"
        found.append(Problem(path=("tasksPolicy", "commands"), rule=rule))
    for name, given in (("nonblock", options.nonblock), ("wait", options.wait is not None)):
        if given:
            rule = "cannot be combined with tasks: there is no one token to wait for"
            found.append(Problem(path=(name,), rule=rule))
    return found
