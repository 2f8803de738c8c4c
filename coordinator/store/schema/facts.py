"""Parts of a schema of this version, and what a database lacks of them.

The revision in coord_version is one row. A restore that ended half-way may have it and lack keys,
triggers or functions, and so has a database that an unreleased build of the same revision made.
Each node asks once for each server, before it writes anything.

`facts.txt` has one line for each fact; a test holds it equal to what the migrations make.
Whatever else is in the schema (an index, a policy of the script of `coord db roles`) is no matter.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from coordinator.errors import SchemaError
from coordinator.store.driver import connect as driver

#: So many of what is missing are named.
NAMED_MAX = 3

#: All facts of a schema as a column `fact`. No server's version, no setting (how names are quoted)
#: and no name of the schema changes them. The parameter is schema. A column that must have a value
#: and has no default is a fact: our INSERTs do not know those of others.
FACTS: LiteralString = """
    WITH home AS (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s),
    relation AS (
        SELECT pg_class.oid, relname, relkind FROM pg_class, home
        WHERE relnamespace = home.oid AND relkind IN ('r', 'v')
    ),
    attribute AS (
        SELECT relname, relkind, attname, attnum, attnotnull,
            atthasdef OR attidentity <> '' AS filled, typname AS type
        FROM pg_attribute
        JOIN relation ON attrelid = relation.oid
        JOIN pg_type ON pg_type.oid = atttypid
        WHERE attnum > 0 AND NOT attisdropped
    )
    SELECT 'column ' || relname || '.' || attname || ' ' || type
        || CASE WHEN attnotnull THEN ' not null' ELSE '' END
        || CASE WHEN filled THEN ' with a default' ELSE '' END AS fact
    FROM attribute
    UNION ALL
    SELECT 'necessary columns of ' || relname || ': '
        || string_agg(attname, ', ' ORDER BY attname COLLATE "C")
    FROM attribute
    WHERE relkind = 'r' AND attnotnull AND NOT filled
    GROUP BY relname
    UNION ALL
    SELECT CASE contype WHEN 'p' THEN 'primary key ' ELSE 'constraint ' END || conname || ' of '
        || relname || coalesce(CASE WHEN contype = 'p' THEN (
            SELECT ' (' || string_agg(attname, ', ' ORDER BY place) || ')'
            FROM unnest(conkey) WITH ORDINALITY AS key (attnum, place)
            JOIN pg_attribute ON attrelid = conrelid AND pg_attribute.attnum = key.attnum
        ) END, '')
    FROM pg_constraint JOIN relation ON conrelid = relation.oid
    WHERE contype IN ('p', 'c') AND convalidated
    UNION ALL
    SELECT 'index ' || made.relname || ' of ' || relation.relname
    FROM pg_index
    JOIN relation ON indrelid = relation.oid
    JOIN pg_class AS made ON made.oid = indexrelid
    WHERE indisvalid AND indisready
    UNION ALL
    SELECT 'trigger ' || tgname || ' of ' || relname
    FROM pg_trigger JOIN relation ON tgrelid = relation.oid
    WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')
    UNION ALL
    SELECT 'policy ' || polname || ' of ' || relname
    FROM pg_policy JOIN relation ON polrelid = relation.oid
    UNION ALL
    SELECT 'function ' || proname || '(' || coalesce((
            SELECT string_agg(
                coalesce(proargnames[place] || ' ', '') || typname, ', ' ORDER BY place
            )
            FROM unnest(coalesce(proallargtypes, proargtypes::oid[]))
                WITH ORDINALITY AS argument (type, place)
            JOIN pg_type ON pg_type.oid = argument.type
        ), '') || ') '
        || CASE WHEN prosecdef THEN 'of its owner ' ELSE '' END
        || md5(replace(replace(replace(replace(replace(
            prosrc,
            replace(quoted, '''', '''''') || '.', ''),
            quoted || '.', ''),
            'convert_to(' || quote_literal(%(schema)s), ''),
            '''coord_fence:'' || ' || quote_literal(%(schema)s), ''),
            'quote_ident(' || quote_literal(%(schema)s) || ')', ''))
    FROM pg_proc, home, (SELECT '"' || replace(%(schema)s, '"', '""') || '"' AS quoted) AS of_schema
    WHERE pronamespace = home.oid AND prokind = 'f'
"""

#: Those of the parameter `expected` that are no facts here.
MISSING: LiteralString = """
SELECT array_agg(wanted.fact ORDER BY wanted.place)
FROM unnest(%(expected)s::text[]) WITH ORDINALITY AS wanted (fact, place)
WHERE wanted.fact NOT IN (SELECT fact FROM (<facts>) AS here WHERE fact IS NOT NULL)
""".replace("<facts>", FACTS)


@cache
def expected() -> tuple[str, ...]:
    """Return the facts of this version's schema."""
    return tuple(Path(__file__).with_name("facts.txt").read_text().splitlines())


def refuse_incomplete(connection: psycopg.Connection[Any], schema: str, where: str) -> None:
    """Raise SchemaError unless the schema is what this version's migrations make.

    The schema is at this version's revision. One round trip.
    """
    params = {"schema": schema, "expected": list(expected())}
    (missing,) = driver.set_up(connection, MISSING.encode(), params)
    if missing is None:
        return
    some = "; ".join(_said(fact) for fact in missing[:NAMED_MAX])
    more = f", and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
    raise SchemaError(
        f"{where}: schema {schema!r} has the revision of this version and lacks parts of it"
        f" ({some}{more}): it was restored in part, or another build of coord made it; restore it"
        " whole, or drop it and run `coord db upgrade`, or name another schema in"
        " databaseConfig.schema"
    )


def _said(fact: str) -> str:
    """Return a fact for people: without the number of a function's text."""
    kind, _, rest = fact.partition(" ")
    return f"{kind} {rest.partition('(')[0]} as it is here" if kind == "function" else fact
