"""Parser of CREATE TASK and CANCEL TASK: text in, value and positions out.

It knows the syntax only. All other rules are in the database's functions (sys.create_task), so that
they hold for psql as well, and stand once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from coordinator.errors import StatementError
from coordinator.protocol.operations.statement import CancelTask, CreateTask, Statement
from coordinator.protocol.operations.types import Location, Scalar, Value

SYNTAX = "42601"
BAD_OPTION = "22023"
#: Nobody writes a longer statement: a list of ten thousand ids has 400 kB.
LENGTH_MAX = 4_000_000
#: Digits of a number; more are no option's value, and int() refuses a few thousand.
DIGITS_MAX = 300

#: Keywords are told from names by where they stand: `node` after OPTIONS is a key.
GRAMMAR = r"""
?start: (create | cancel) ";"?

create: CREATE TASK name? TYPE type location? options?
cancel: CANCEL TASK (ref | "(" ref ")")
type: WORD
ref: STRING
?location: LOCATION (system | cluster | node)
system: SYSTEM
cluster: CLUSTER name
node: NODE name
options: OPTIONS option ("," option)*
option: key "=" value
key: WORD
value: STRING | NUMBER | TRUE | FALSE | many
many: "[" (item ("," item)*)? "]"
item: STRING | NUMBER | TRUE | FALSE | WORD
name: WORD | STRING

CREATE.3: /create(?![\w$])/i
CANCEL.3: /cancel(?![\w$])/i
TASK.3: /task(?![\w$])/i
TYPE.3: /type(?![\w$])/i
LOCATION.3: /location(?![\w$])/i
OPTIONS.3: /options(?![\w$])/i
SYSTEM.3: /system(?![\w$])/i
CLUSTER.3: /cluster(?![\w$])/i
NODE.3: /node(?![\w$])/i
TRUE.3: /true(?![\w$])/i
FALSE.3: /false(?![\w$])/i
WORD: /[A-Za-z_][A-Za-z0-9_$]*(?!\w)/
STRING: /'(?:[^'\x00]|'')*'/
NUMBER: /[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w$.])/

%ignore /[ \t\r\n\f\v]+/
%ignore /--[^\n]*/
%ignore /\/\*(?:[^*]|\*(?!\/))*\*\//
"""

#: Terminals for people.
_SAID = {
    "WORD": "a name",
    "STRING": "a text in single quotes",
    "NUMBER": "a number",
    "TRUE": "true",
    "FALSE": "false",
    "SEMICOLON": ";",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "COMMA": ",",
    "EQUAL": "=",
    "$END": "the end",
}
_FORM = "CREATE TASK [name] TYPE type [LOCATION SYSTEM | CLUSTER name | NODE name] [OPTIONS k = v]"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A statement, and where its parts begin.

    at: offsets in the text, in characters from 0, by "type", "location", "name", "ref", "options"
    and "options.KEY".
    """

    statement: Statement
    at: Mapping[str, int]


def parse(text: str) -> Parsed:
    """Return the statement of a text; a semicolon at its end is optional.

    Errors: StatementError of state 42601, or 22023 for a key that is given twice.
    """
    if len(text) > LENGTH_MAX:
        raise StatementError(f"the statement is longer than {LENGTH_MAX} characters", SYNTAX, 0)
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _told(error, text) from None
    try:
        parsed: Parsed = _Builder().transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, StatementError):
            raise error.orig_exc from None
        raise
    return parsed


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", propagate_positions=True, maybe_placeholders=False)


class _Builder(Transformer[Token, Parsed]):
    """Builds the value from the tree, from the leaves up."""

    def create(self, parts: list[Any]) -> Parsed:
        at: dict[str, int] = {}
        fields: dict[str, Any] = {}
        for part in parts:
            if isinstance(part, Token):
                continue
            found, places = part
            fields |= found
            at |= places
        return Parsed(CreateTask(**fields), at)

    def cancel(self, parts: list[Any]) -> Parsed:
        ref = next(part for part in parts if not isinstance(part, Token))
        return Parsed(CancelTask(ref[0]["ref"]), ref[1])

    def name(self, parts: list[Token]) -> Any:
        return {"name": _text(parts[0])}, {"name": _place(parts[0])}

    def type(self, parts: list[Token]) -> Any:
        return {"type": str(parts[0])}, {"type": _place(parts[0])}

    def ref(self, parts: list[Token]) -> Any:
        return {"ref": _text(parts[0])}, {"ref": _place(parts[0])}

    def location(self, parts: list[Any]) -> Any:
        return parts[-1]

    def system(self, parts: list[Token]) -> Any:
        return {"location": Location.SYSTEM}, {"location": _place(parts[0])}

    def cluster(self, parts: list[Any]) -> Any:
        return _located(Location.CLUSTER, parts)

    def node(self, parts: list[Any]) -> Any:
        return _located(Location.NODE, parts)

    def options(self, parts: list[Any]) -> Any:
        at = {"options": _place(parts[0])}
        values: dict[str, Value] = {}
        for key, place, value in parts[1:]:
            if key in values:
                raise StatementError(
                    f"option {key} is given twice",
                    BAD_OPTION,
                    place,
                    hint="Give each option once; a list holds several values.",
                )
            values[key] = value
            at[f"options.{key}"] = place
        return {"options": tuple(values.items())}, at

    def option(self, parts: list[Any]) -> Any:
        (key, place), value = parts
        return key, place, value

    def key(self, parts: list[Token]) -> tuple[str, int]:
        return str(parts[0]), _place(parts[0])

    def value(self, parts: list[Any]) -> Value:
        (part,) = parts
        return _scalar(part) if isinstance(part, Token) else part

    def many(self, parts: list[Any]) -> Value:
        return tuple(parts)

    def item(self, parts: list[Token]) -> Scalar:
        return _scalar(parts[0])


def _located(location: Location, parts: list[Any]) -> Any:
    found, places = parts[1]
    return {"location": location, "place": found["name"]}, {"location": places["name"]}


def _scalar(token: Token) -> Scalar:
    match token.type:
        case "TRUE" | "FALSE":
            return token.type == "TRUE"
        case "NUMBER":
            return _number(token)
        case _:
            return _text(token)


def _number(token: Token) -> int | float:
    text = str(token)
    if len(text) <= DIGITS_MAX:
        if text.lstrip("+-").isdecimal():
            return int(text)
        number = float(text)
        if number not in (float("inf"), float("-inf")):
            return number
    raise StatementError("the number is too large", SYNTAX, _place(token))


def _text(token: Token) -> str:
    text = str(token)
    return text[1:-1].replace("''", "'") if token.type == "STRING" else text


def _place(token: Token) -> int:
    return token.start_pos or 0


# --- errors -------------------------------------------------------------------------------------


def _told(error: UnexpectedInput, text: str) -> StatementError:
    """Return a syntax error as PostgreSQL tells one, with what was expected as the hint."""
    place: int
    if isinstance(error, UnexpectedToken):
        place = len(text.rstrip()) if error.token.type == "$END" else _place(error.token)
        expected = set(error.accepts or error.expected)
    else:
        assert isinstance(error, UnexpectedCharacters)
        seen: Any = error  # the library's types say that it has no place
        place, expected = seen.pos_in_stream, set(seen.allowed)
    found = _found(text, place)
    if text.startswith("'", place) and ("STRING" in expected or text.count("'", place) % 2):
        return StatementError(
            "unterminated quoted text",
            SYNTAX,
            place,
            hint="End it with ', and write a quote inside it as ''.",
        )
    if text.startswith("/*", place):
        return StatementError("unterminated comment", SYNTAX, place, hint="End it with */.")
    where = f'at or near "{found}"' if found else "at the end of the statement"
    return StatementError(f"syntax error {where}", SYNTAX, place, hint=_hint(found, expected))


def _found(text: str, place: int) -> str:
    """Return the word, the number or the character at a place."""
    end = place
    while end < len(text) and (text[end].isalnum() or text[end] in "_$"):
        end += 1
    return text[place : max(end, place + 1)].strip()[:40]


def _hint(found: str, expected: set[str]) -> str:
    keywords = sorted(expected - _SAID.keys())
    near = difflib.get_close_matches(found.upper(), keywords, n=1, cutoff=0.7)
    if near and found.upper() != near[0]:
        return f"Did you mean {near[0]}?"
    if expected <= {"CREATE", "CANCEL"}:
        return f"A statement is {_FORM}, or CANCEL TASK 'name or id'."
    if found.upper() == "LOCATION" and "COMMA" in expected:
        return "LOCATION stands before OPTIONS."
    if found == '"' and expected & {"WORD", "STRING"}:
        return "Names and texts stand in single quotes."
    if "STRING" in expected and "LSQB" in expected and found.replace("_", "a").isalnum():
        return f"A text stands in single quotes: '{found}'."
    if expected == {"STRING", "LPAR"}:
        return "Name the task in single quotes: CANCEL TASK 'name or id'."
    if found.upper() in ("TYPE", "LOCATION", "OPTIONS", "SYSTEM", "CLUSTER", "NODE"):
        quoted = f" A name that is a keyword stands in single quotes: '{found}'."
    else:
        quoted = ""
    said = sorted(_SAID.get(name, name) for name in expected)
    return f"Expected {' or '.join(said)}.{quoted}"
