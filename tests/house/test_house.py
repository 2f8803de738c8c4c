"""The house itself: floors, sizes, rules that tests cite, words that must not occur."""

from __future__ import annotations

import ast
import collections
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.as_installed import lint_imports

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("coordinator/**/*.py"), *ROOT.glob("cli/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))
MIGRATIONS = sorted([*ROOT.glob("migrations/**/*.py"), *ROOT.glob("migrations/**/*.sql")])
BENCH = sorted(ROOT.glob("bench/**/*.py"))
#: A file with one reason to change; a longer one is a reason to look.
LINES_MAX = 320
#: A file of tests has one subject as well, and more to say about it.
TEST_LINES_MAX = 650
#: One screen.
FUNCTION_LINES_MAX = 60


def test_imports_go_down_or_stay_in_the_room():
    answer = lint_imports()

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    "path", [*SOURCES, *MIGRATIONS, *BENCH], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_file_stays_a_room(path):
    lines = path.read_text().count("\n")

    assert lines <= LINES_MAX


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_tests_has_one_subject(path):
    assert path.read_text().count("\n") <= TEST_LINES_MAX


def test_one_function_starts_every_interpreter():
    """With -P: what lies in the working directory is somebody's, and must not run as ours."""
    others = [
        str(path.relative_to(ROOT))
        for path in (*SOURCES, *MIGRATIONS)
        if "sys.executable" in path.read_text()
    ]

    assert others == ["coordinator/runtime/linux/interpreter.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_a_screen(path):
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    # From its first statement on: a command's options are its signature, and may be many.
    lengths = {
        function.name: function.end_lineno - function.body[0].lineno + 1 for function in functions
    }
    long = {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX}

    assert not long


def rules() -> list[str]:
    text = (ROOT / "docs/protocol.md").read_text()
    return re.findall(r"^- \*\*([A-Z]\d+)\*\*", text, flags=re.MULTILINE)


@functools.cache
def cited_rules() -> frozenset[str]:
    others = (path.read_text() for path in TESTS if path != Path(__file__))
    return frozenset(rule for text in others for rule in re.findall(r"\b[A-Z]\d+\b", text))


@pytest.mark.parametrize("rule", rules())
def test_every_rule_of_the_protocol_is_cited_by_a_test(rule):
    assert rule in cited_rules()


def test_unit_tests_use_no_mocks_and_no_sleeps():
    bad = [
        str(path.relative_to(ROOT))
        for path in TESTS
        if path.is_relative_to(ROOT / "tests/unit")
        and re.search(r"unittest\.mock|\bMagicMock\b|time\.sleep\(", path.read_text())
    ]

    assert bad == []


def loaded_by_the_guardian() -> list[str]:
    script = "import sys, coordinator.runtime.guardian.__main__; print(*sorted(sys.modules))"
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_guardian_loads_the_standard_library_only():
    """The guardian is a process of its own on every node: what it loads, every node pays."""
    foreign = {
        name
        for name in {name.partition(".")[0] for name in loaded_by_the_guardian()}
        if name not in sys.stdlib_module_names
        and not name.startswith(("_", "__editable__"))
        and name not in ("coordinator", "site", "sitecustomize", "usercustomize")
    }
    assert foreign == set()


def test_no_sql_is_pasted_together():
    """SQL is a constant; only identifiers are composed, by psycopg or SQLAlchemy."""
    pasted = re.compile(r"""f["'](?:SELECT|INSERT|UPDATE|DELETE)\b""")

    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if pasted.search(line) and "# noqa: S608" not in line
    ]

    assert found == []


#: Calls that may wait for a reader: a process that has to kill must do none of them (rule G10).
WAITS = {"print", "input", "os.write", "os.writev", "os.pwritev", "os.system", "os.sendfile"}
WAITS |= {"sys.stdout", "sys.stderr", "sys.__stderr__", "sys.__stdout__", "logging", "subprocess"}
WAITS |= {"faulthandler.enable", "faulthandler.dump_traceback", "warnings"}
#: Places that do it all the same, and the reason for which nobody waits.
DOES_NOT_WAIT = {
    ("log_process", "_write", "os.write"),  # the writer's own process
    ("__main__", "main", "sys.stdout"),  # set to None, so that nobody writes there
    ("__main__", "main", "sys.stderr"),
    ("cgroup", "_write", "os.write"),  # a file of the kernel's
    ("plain", "_be_hidden", "os.write"),  # a process of its own, into an empty socket
    ("marks", "_answer", "os.write"),  # a process of its own, for which nobody waits long
    ("spawn", "keep", "os.write"),  # the keeper's process, into an empty pipe
}


def waits_in(path: Path) -> set[tuple[str, str, str]]:
    """Return (module, function, what) of all in a file that may wait for a reader."""
    found = set()
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        for node in ast.walk(function):
            name = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", None)
                name = module or ",".join(alias.name for alias in node.names)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "faulthandler.register":
                # Without a file it writes to stderr, from within the handler.
                kept = any(keyword.arg == "file" for keyword in node.keywords)
                name = "" if kept else "faulthandler.enable"
            if name in WAITS and isinstance(function, ast.FunctionDef):
                found.add((path.stem, function.name, name))
            elif isinstance(node, ast.Import | ast.ImportFrom) and name in WAITS:
                found.add((path.stem, "", name))
    return found


def test_the_guardian_writes_nowhere_that_may_make_it_wait():
    """Rule G10, in all that the guardian loads: also what only a child of it does is listed."""
    names = {name.replace(".", "/") for name in loaded_by_the_guardian()}
    ours = {path for path in SOURCES if str(path.relative_to(ROOT))[:-3] in names}
    assert ROOT / "coordinator/runtime/guardian/agents.py" in ours

    found = {each for path in ours for each in waits_in(path)}

    assert found == DOES_NOT_WAIT


@pytest.mark.parametrize(
    "line",
    ["print('x')", "os.write(2, b'')", "sys.stderr.write('x')", "faulthandler.register(3)"],
)
def test_a_word_that_may_make_it_wait_is_found(tmp_path, line):
    path = tmp_path / "guardian.py"
    path.write_text(f"import os\n\ndef f():\n    {line}\n")

    assert len(waits_in(path)) == 1


OURS = [
    path
    for folder in ("coordinator", "cli", "migrations", "tests", "bench", "examples")
    for path in sorted(ROOT.glob(f"{folder}/**/*.py"))
]
#: A docstring begins with the thing or with a verb, not with a clause without its sentence.
HEADLESS = re.compile(r"(Who|Whom|Whose|What|Whether|Whatever|Whoever|Whichever|Wherever)\b")
#: The stricter list, for the folders that were read for it: docstrings and comments `#:`, any case.
CLAUSE = re.compile(
    r"(Who|Whom|Whose|What|Whether|Whatever|Whoever|Whichever|Wherever|How|When|Where|Which|Since|Until|Why)\b",
    flags=re.IGNORECASE,
)
#: The product, which was read for it.
READ_FOLDERS = ("coordinator", "cli")
#: The same beside the product; not tests/house, which shows bad texts.
READ_BESIDE = ("bench", "examples", "migrations", "tests/conformance", "tests/e2e", "tests/faults")
READ_BESIDE += (
    "tests/integration",
    "tests/model",
    "tests/simulation",
    "tests/support",
    "tests/unit",
)
#: Only a file with such a text is worth parsing.
MAYBE_HEADLESS = re.compile(rf'(?:"""|#:)\s*{CLAUSE.pattern}', flags=re.IGNORECASE)


def docstrings(source: str) -> list[str]:
    """Return the docstrings of a module, its classes and its functions."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    return [ast.get_docstring(node) or "" for node in nodes]


def documenting_comments(source: str) -> list[str]:
    """Return the comments `#:` that document a name, each by its first line."""
    lines = source.splitlines()
    found = [re.search(r"#: *(.*)", line) for line in lines]
    return [
        match[1]
        for above, match in zip(["", *lines], found, strict=False)
        if match and not above.lstrip().startswith("#:")
    ]


def headless_docstrings(source: str, clause: re.Pattern[str] = HEADLESS) -> list[str]:
    """Return the texts of a module that begin with a clause without its sentence."""
    if not MAYBE_HEADLESS.search(source):
        return []
    texts = docstrings(source)
    if clause is CLAUSE:
        texts += documenting_comments(source)
    return [text for text in texts if clause.match(text)]


def test_no_docstring_begins_with_a_headless_clause():
    found = {
        name: headless_docstrings(path.read_text(), clause)
        for path in OURS
        if (name := str(path.relative_to(ROOT)))
        for clause in [CLAUSE if name.startswith(READ_FOLDERS + READ_BESIDE) else HEADLESS]
    }

    assert not {name: texts for name, texts in found.items() if texts}


@pytest.mark.parametrize(
    "source", ['"""What it is."""', 'def a():\n    """\n    Whether it is."""']
)
def test_a_headless_docstring_is_found(source):
    assert len(headless_docstrings(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""How it is done."""',
        'def a():\n    """\n    Until when it is."""',
        "#: Which of both.\nA = 1\n",
        "a = 1  #: when it was\n",
    ],
)
def test_a_clause_is_found_in_comments_too(source):
    assert len(headless_docstrings(source, CLAUSE)) == 1


@pytest.mark.parametrize(
    "source", ['"""Whole lines."""', "#: Seconds.\n#: When they are over, it ends.\nA = 1\n"]
)
def test_a_noun_or_the_second_line_of_a_comment_is_no_clause(source):
    assert headless_docstrings(source, CLAUSE) == []


def test_every_id_that_is_cited_is_defined():
    """A letter and a number stand for a rule of docs/protocol.md or for one of docs/criteria.md."""
    pages = [(ROOT / "docs" / name).read_text() for name in ("protocol.md", "criteria.md")]
    by_page = [
        set(re.findall(r"^- \*\*([A-Z]\d+)\*\*", page, flags=re.MULTILINE)) for page in pages
    ]
    assert by_page[0] & by_page[1] == set(), "an id has one meaning"
    letters = {each[0] for each in by_page[0] | by_page[1]}
    cited = re.compile(rf"(?<![\w%/.'\"`-])([{''.join(sorted(letters))}][1-9]\d?)(?![\w%`])")

    unknown = {
        f"{path.relative_to(ROOT)}: {each}"
        for path in (*SOURCES, *TESTS, *MIGRATIONS)
        for each in cited.findall(path.read_text())
        if each not in by_page[0] | by_page[1]
    }

    assert unknown == set()


#: More files than that are a floor without a plan.
MODULES_MAX = 12


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in SOURCES}),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_folder_shows_its_plan(folder):
    names = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
    prefixes = collections.Counter(name.partition("_")[0] for name in names if "_" in name)

    assert len(names) <= MODULES_MAX
    assert [prefix for prefix, count in prefixes.items() if count >= 3] == []


def test_every_page_that_is_named_is_there():
    named = {
        (str(path.relative_to(ROOT)), page)
        for path in (*SOURCES, *TESTS, *ROOT.glob("docs/**/*.md"), ROOT / "README.md")
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text())
    }

    assert {(path, page) for path, page in named if not (ROOT / page).exists()} == set()


def test_every_command_stands_in_the_readme():
    from coordinator.cli.main import app

    named = [command.name or command.callback.__name__ for command in app.registered_commands]
    named += [group.name for group in app.registered_groups]
    readme = (ROOT / "README.md").read_text()

    assert [name for name in named if f"coord {name.replace('_', '-')}" not in readme] == []


def test_the_packages_that_are_shipped_are_those_of_the_tree():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("coordinator/**/__init__.py")]
    for root in ("cli", "migrations"):
        folders += [
            "coordinator" / path.parent.relative_to(ROOT)
            for path in ROOT.glob(f"{root}/**/__init__.py")
        ]

    assert sorted(shipped) == sorted(".".join(folder.parts) for folder in folders)
