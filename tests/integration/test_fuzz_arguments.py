"""Nasty words in every argument that reaches SQL: an answer or one line, and a code of the table.

No word may show a person what the database thinks of it, and none may change a row.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coordinator import Coordinator
from coordinator.cli.main import main
from coordinator.errors import ConfigError
from tests.conftest import Database

pytestmark = pytest.mark.real

#: README's table; 1 stands for what nobody foresaw, and so for a bug.
CODES = {0, 2, 3, 4, 69, 70, 75, 76, 77, 78, 126, 127}
#: Texts of PostgreSQL, its driver or Python, which no sentence of ours has.
STRANGE = (
    *("Traceback", "psycopg", "sqlalchemy", "syntax error", "LINE 1", "SQLSTATE", "invalid input"),
    *("invalid byte", "unterminated", "violates", "codec", "surrogate", "unexpected error"),
    *("out of range", "placeholder", "<class", "sqlstate"),
)
WORDS = st.sampled_from(
    [
        *("'", '"', "''", "\\", "\\'", "$$", "$1", "%", "%s", "%(group)s", "{schema}", "{}", ";"),
        *("--", "/*", "orders'--", "' OR 1=1 --", "'; DROP TABLE token_holder; --", "a b", " "),
        *("\t", "\n", "a\nb", "\r", "\x1b[2J", "\u2028", "\u202e", "\ufeff", "ä", "𝄞", "\udcff"),
        *("NULL", "null", "nan", "inf", "-1", "0", "1e400", "9" * 400, "1e-300s", "x" * 70_000),
        *("pg_catalog", "public", "information_schema", "orders", "orders/x", "a/b/c", "/", "."),
        *("E'\\000'", "U&'\\0061'", "\u0661h", "1 h", "1_0s", "0x1h", "24h", "1e3d", "10000000d"),
    ]
)
#: No process can be given a NUL; bytes that are no text become surrogates, as in WORDS.
TEXTS = WORDS | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)
Ran = tuple[object, str, str]

fuzz = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def coord(
    database: Database, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Ran]]:
    """Run commands on a database with one group; check what all of them must have in common."""
    for name in list(os.environ):
        if name.startswith(("COORD_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COORD_DATABASE_URL", database.conninfo)
    monkeypatch.setenv("COORD_DATABASE_SCHEMA", database.schema)
    monkeypatch.setenv("COORD_REQUIRE_DATABASE", "1")
    database.query("INSERT INTO group_record (group_id) VALUES ('orders')")
    database.query("INSERT INTO token_holder (group_id, term) VALUES ('orders', 7)")

    def run(*arguments: str, **environment: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main(list(arguments))
        said = err.getvalue()
        assert end.value.code in CODES, (arguments, environment, said)
        assert [word for word in STRANGE if word in said] == [], (arguments, environment, said)
        return end.value.code, out.getvalue(), said

    yield run
    assert database.query("SELECT group_id, term FROM token_holder") == [("orders", 7)]
    assert database.query("SELECT count(*) FROM health_check") == [(0,)]


@fuzz
@given(st.sampled_from(["status", "leader", "history"]), TEXTS)
@example("status", "\udcff")
@example("history", "x" * 70_000)
def test_a_group(coord, command: str, group: str):
    code, _, said = coord(command, "--", group)

    if group == "orders":
        assert code in (0, 3)
    else:
        assert code in (2, 4, 78) or group == ""
    assert said.count("\n") <= 1 or code == 2


@fuzz
@given(st.sampled_from(["status", "leader", "history"]), TEXTS)
def test_a_group_by_option_and_environment(coord, command: str, group: str):
    by_option, _, _ = coord(command, f"--group={group}")
    by_variable, _, _ = coord(command, COORD_GROUP_ID=group)

    assert {by_option, by_variable} <= {0, 2, 3, 4, 78}


@fuzz
@given(TEXTS)
@example("10000000d")
@example("1e300d")
@example("1e-300s")
def test_a_time(coord, since: str):
    code, _, _ = coord("history", f"--since={since}")

    assert code in (0, 2)


@fuzz
@given(TEXTS)
def test_a_schema(coord, schema: str):
    by_variable, _, _ = coord("status", COORD_DATABASE_SCHEMA=schema)
    by_option, out, _ = coord("db", "roles", f"--schema={schema}")

    assert by_variable in (0, 78)
    assert by_option in (0, 2)
    assert bool(out) == (by_option == 0)


@fuzz
@given(TEXTS, st.sampled_from(["--prefix={}", "--group={}"]))
def test_a_name_of_the_role_script(coord, database: Database, name: str, option: str):
    """The output is one script, whatever the names are: nothing of them escapes its quotes."""
    code, out, _ = coord("db", "roles", option.format(name) if "{" not in name else option)

    assert code in (0, 2, 78)
    if code == 0:
        bare = [line for line in out.splitlines() if not line.startswith("--")]
        assert len(bare) == len(
            [line for line in coord("db", "roles")[1].splitlines() if not line.startswith("--")]
        )


@fuzz
@given(TEXTS)
@example("\udcff")
def test_a_role_that_is_granted_to(coord, database: Database, role: str):
    """The statements may be run: the name is one name, and nothing else happens."""
    code, out, _ = coord("db", "grants", "--", role)

    assert code in (0, 2, 78)
    if code == 0 and role.isprintable() and 0 < len(role.encode()) < 64:
        quoted = '"' + role.replace('"', '""') + '"'
        grants = [line for line in out.splitlines() if line.startswith("GRANT ")]
        assert grants
        assert all(line.endswith(f" TO {quoted};") for line in grants)


@fuzz
@given(TEXTS)
def test_a_database(coord, name: str):
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    url = f"host=127.0.0.1 port=1 dbname='{escaped}'"

    code, _, _ = coord("status", COORD_DATABASE_URL=url)

    assert code in (69, 78)


@fuzz
@given(TEXTS, TEXTS, st.booleans())
@example("a/b", "n", False)
@example("g", "\udcff", True)
def test_names_that_the_library_is_given(coord, database: Database, group: str, name: str, own):
    """A malformed name is refused where it is given; a well-formed one reaches the database."""

    def use() -> None:
        node = Coordinator(
            group_id="x" if own else group,
            task_id=name if own else "n",
            database_url=database.conninfo,
            schema="nowhere",
        )
        with node.token(None if own else name, timeout=1):
            pass

    with pytest.raises(ConfigError) as refused:
        use()

    assert [word for word in STRANGE if word in str(refused.value)] == []
