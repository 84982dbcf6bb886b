"""The corpora: statements from files, generated bombs, and their mutations."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

CORPORA = Path(__file__).parent / "corpora"
# Functions of DuckDB itself that 1.5 makes of macros.
MACROS_OF_1_5 = ("round_even({}, 1)", "fmod({}, 2)") if duckdb.__version__ < "2" else ()
FOR_EVERYBODY = ("files", "network", "settings", "session", "tricks", "memory", "places")
_CALL = re.compile(r"\b([a-z]\w*_\w+|glob|query)\s*\(", re.IGNORECASE)
_QUERY = re.compile(r"\s*\(*\s*(?:select|from|with|values|table)\b", re.IGNORECASE)
_PIECES = re.compile(
    r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$|\$x\$.*?\$x\$|\s+)", re.DOTALL
)

_CARRIERS = (
    "SELECT * FROM ({}) q",
    "WITH q AS ({}) FROM q",
    "WITH q AS NOT MATERIALIZED ({}) SELECT count(*) FROM q",
    "SELECT (SELECT count(*) FROM ({}) q)",
    "SELECT 1 WHERE EXISTS ({})",
    "SELECT 1 FROM users WHERE id IN ({})",
    "SELECT CASE WHEN EXISTS ({}) THEN 1 END",
    "SELECT list_transform([1], x -> (SELECT count(*) FROM ({}) q))",
    "SELECT * FROM users, LATERAL ({}) q",
    "{0} UNION ALL {0}",
    "EXPLAIN {}",
    "EXPLAIN ANALYZE {}",
    "DESCRIBE {}",
    "SUMMARIZE {}",
    "FROM (FROM (FROM ({})))",
    "SELECT * FROM users ORDER BY (SELECT count(*) FROM ({}) q)",
    "CREATE TABLE zz AS {}",
    "CREATE OR REPLACE TEMP TABLE zz AS ({})",
    "CREATE VIEW zz AS {}",
    "CREATE MACRO zz() AS TABLE {}",
    "CREATE MACRO zz(a) AS (SELECT count(*) FROM ({}) q)",
    "INSERT INTO users {}",
    "INSERT INTO users SELECT 1, 'x' WHERE EXISTS ({})",
    "UPDATE users SET name = 'x' WHERE EXISTS ({})",
    "UPDATE users SET name = q.x FROM ({}) q(x)",
    "DELETE FROM users WHERE EXISTS ({})",
    "DELETE FROM users USING ({}) q",
    "MERGE INTO users USING ({}) q ON true WHEN MATCHED THEN DELETE",
)


def statements(path: Path) -> list[str]:
    """Return the statements of a corpus file: one a line."""
    lines = path.read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("--")]


def filled(statement: str, places: dict[str, object]) -> str:
    """Return the statement with the names of places put in."""
    for name, place in places.items():
        statement = statement.replace("{" + name + "}", str(place))
    return statement.replace("{{", "{").replace("}}", "}")


def hostile() -> list[str]:
    """Return the statements that nobody may run."""
    found = []
    for name in FOR_EVERYBODY:
        found += statements(CORPORA / "hostile" / f"{name}.sql")
    return found + list(bombs())


def writes() -> list[str]:
    """Return what readers may not run and writers may."""
    return statements(CORPORA / "hostile" / "writes.sql")


def benign() -> dict[str, list[str]]:
    """Return the statements that every reader may run, by file."""
    return {path.stem: statements(path) for path in sorted((CORPORA / "benign").glob("*.sql"))}


def _outside_quotes(statement: str) -> list[str]:
    return _PIECES.split(statement)


def _case(statement: str, dice: random.Random) -> str:
    return "".join(
        piece
        if piece[:1] in ("'", '"', "$")
        else "".join(dice.choice((letter.upper(), letter.lower())) for letter in piece)
        for piece in _outside_quotes(statement)
    )


def _comments(statement: str, dice: random.Random) -> str:
    spaces = (" /* ' */ ", "\n", "\t", ' -- "\n', "\r\n", " /**/ ", "\f", "  ")
    return "".join(
        dice.choice(spaces) if piece.isspace() else piece for piece in _outside_quotes(statement)
    )


def _unicode_spaces(statement: str, dice: random.Random) -> str:
    spaces = ("\u00a0", "\u2003", "\u3000", " ", "\u202f")
    return "".join(
        dice.choice(spaces) if piece.isspace() else piece for piece in _outside_quotes(statement)
    )


def _quoted_calls(statement: str, dice: random.Random) -> str:
    return _CALL.sub(lambda match: f'"{match[1]}"(', statement)


def _qualified_calls(statement: str, dice: random.Random) -> str:
    prefix = dice.choice(("main.", "system.main.", '"system"."main".', "system.", "MAIN . "))
    return _CALL.sub(lambda match: f"{prefix}{match[1]}(", statement)


def _spaced_calls(statement: str, dice: random.Random) -> str:
    return _CALL.sub(lambda match: f"{match[1]} /* ( */ \n(", statement)


def _carried(statement: str, dice: random.Random) -> str:
    if _QUERY.match(statement) is None:
        return statement + " ;"
    return dice.choice(_CARRIERS).format(statement)


def _carried_twice(statement: str, dice: random.Random) -> str:
    return _carried(_carried(statement, dice), dice)


def _padded(statement: str, dice: random.Random) -> str:
    return dice.choice((";{}", "{};", "/* {{ */ {}", "-- x\n{}", "\ufeff{}", "  {}\n\n;")).format(
        statement
    )


MUTATIONS = (
    _case,
    _comments,
    _unicode_spaces,
    _quoted_calls,
    _qualified_calls,
    _spaced_calls,
    _carried,
    _carried_twice,
    _padded,
)


def mutated(corpus: list[str], each: int, seed: int) -> Iterator[str]:
    """Yield ``each`` mutations of every statement, the same ones for the same seed."""
    dice = random.Random(seed)
    for statement in corpus:
        for mutation in dice.sample(MUTATIONS, each):
            yield mutation(statement, dice)


def bombs() -> Iterator[str]:
    """Yield statements that DuckDB would plan or parse for minutes, or never."""
    for depth in (14, 30, 200):
        yield "SELECT a" + "->'x'" * depth + " FROM (SELECT '{}'::JSON AS a)"
        yield f"SELECT {'nullif(' * depth}1{', 2)' * depth}"
        yield f"SELECT {'(' * depth}1{' BETWEEN 1 AND 2)' * depth}"
        yield f"SELECT {'split_part(' * depth}'x'{', 1, 1)' * depth}"
        yield f"SELECT {'(SELECT ' * depth}1{')' * depth}"
        yield f"SELECT {'fan_out(' * depth}1{')' * depth}"
        lambdas = "".join(f"list_transform([1], x{i} -> " for i in range(depth))
        yield f"SELECT {lambdas}1{')' * depth}"
        comprehensions = "1"
        for index in range(depth):
            comprehensions = f"[{comprehensions} for x{index} in [1]]"
        yield f"SELECT {comprehensions}"
        ctes = ", ".join(
            f"c{i} AS NOT MATERIALIZED (SELECT x.a FROM c{i - 1} x JOIN c{i - 1} y USING (a))"
            for i in range(1, depth)
        )
        yield f"WITH c0 AS NOT MATERIALIZED (SELECT 1 AS a), {ctes} FROM c{depth - 1}"
        exists = "SELECT 1"
        for index in range(depth):
            exists = f"SELECT 1 FROM users u{index} WHERE EXISTS ({exists})"
        yield exists
    yield "SELECT 1 FROM users WHERE " + " AND ".join(f"id <> {i}" for i in range(8_000))
    yield "SELECT 1 FROM users WHERE " + " OR ".join(f"id = {i}" for i in range(8_000))
    yield "DELETE FROM users WHERE " + " OR ".join(f"id = {i}" for i in range(8_000))
    yield "SELECT 1 FROM " + ", ".join(f"users u{i}" for i in range(300))
    yield "SELECT 1 FROM users u0 " + " ".join(
        f"JOIN users u{i} ON u{i}.id = u{i - 1}.id" for i in range(1, 300)
    )
    yield " UNION ALL ".join(["SELECT id FROM users"] * 3_000)
    yield " UNION ".join(["SELECT 1"] * 3_000)
    yield "SELECT " + ", ".join("*" for _ in range(1_000)) + " FROM users"
    yield "SELECT " + ", ".join(f"{i}" for i in range(18_000))
    yield "SELECT " + "(" * 20_000 + "1" + ")" * 20_000
    yield "SELECT " + "NOT " * 20_000 + "true"
    yield "SELECT " + "- " * 30_000 + "1"
    yield "SELECT " + "[" * 20_000 + "]" * 20_000
    yield "SELECT " + "CASE WHEN true THEN " * 3_000 + "1" + " END" * 3_000
    yield "FROM (" * 10_000 + "SELECT 1" + ")" * 10_000
    yield "SELECT 1" + "::INTEGER" * 8_000
    yield "SELECT '" + "x" * 200_000 + "'"
    yield "SELECT 1 -- " + "x" * 200_000
    yield "SELECT " + " + ".join(["1"] * 20_000)
    yield "SELECT " + " || ".join(["'x'"] * 10_000)
    entries = ", ".join(str(i) for i in range(300))
    yield f"FROM (PIVOT users ON id IN ({entries}), name IN ({entries}) USING count(*))"
    yield "SELECT " + ", ".join(["wide.*"] * 60) + " FROM users AS wide"
    yield "UPDATE users SET name = " + "nullif(" * 20 + "name" + ", 'x')" * 20
    yield "INSERT INTO users SELECT " + "nullif(" * 20 + "1" + ", 2)" * 20 + ", 'x'"
    yield "CREATE MACRO zz(a) AS " + "fan_out(" * 20 + "a" + ")" * 20
    yield "CREATE TABLE zz (a INTEGER DEFAULT (" + "nullif(" * 20 + "1" + ", 2)" * 20 + "))"
    yield "CREATE INDEX zz ON users ((" + "nullif(" * 20 + "id" + ", 2)" * 20 + "))"
    stars = "FROM users"
    for _ in range(16):
        stars = f"SELECT *, * FROM ({stars})"
    yield stars
    ctes = ", ".join(f"c{i} AS (SELECT * FROM c{i - 1} x, c{i - 1} y)" for i in range(1, 16))
    yield f"WITH c0 AS (FROM users), {ctes} FROM c15"
    yield "SELECT " + ", ".join(f"count(DISTINCT id + {i})" for i in range(1_000)) + " FROM users"
    yield (
        "SELECT "
        + ", ".join(f"sum(id) OVER (ORDER BY id + {i})" for i in range(1_000))
        + " FROM users"
    )
    for depth in (12, 16, 30):
        yield (
            "SELECT id + id AS x0"
            + "".join(f", x{i - 1} + x{i - 1} AS x{i}" for i in range(1, depth))
            + " FROM users"
        )
        yield (
            "SELECT id + id AS x0"
            + "".join(f", x{i - 1} + x{i - 1} AS x{i}" for i in range(1, 8))
            + f" FROM users WHERE {' + '.join(['x7'] * 100)} > {depth}"
        )
        columns = "".join(f", x{i} INTEGER AS (x{i - 1} + x{i - 1})" for i in range(1, depth))
        yield f"CREATE TABLE zz (a INTEGER, x0 INTEGER AS (a + a){columns})"
        for form in (
            "({} NOT BETWEEN 1 AND 2)",
            "({} NOT IN (1, 2))",
            "array_to_string([{}], ',')",
            *MACROS_OF_1_5,
        ):
            nested = "id"
            for _ in range(depth):
                nested = form.format(nested)
            yield f"SELECT {nested} FROM users"
    yield "SELECT repeat('x', $1)"
    yield "SELECT range(?)"
    yield "SELECT id FROM users WHERE name = nested_views.name FROM nested_views"
    yield "SELECT count(*) FROM view_of_views"
