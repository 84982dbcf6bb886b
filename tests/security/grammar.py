"""Random statements: DuckDB's grammar with names that mean something, and the corpora shaken."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from tests.security.corpus import CORPORA, MUTATIONS, benign, filled, hostile, statements, writes

TABLES = ("users", "harmless_view", "evil_view", "v3", "numbers", "main.users", "test.main.users",
    '"users"', "nowhere", "data.csv", "'x.csv'", '"a/b"', "information_schema.tables", "q", "t")  # fmt: skip
COLUMNS = (
    "id",
    "name",
    "u.id",
    "t.name",
    '"id"',
    "rowid",
    "x",
    "json",
    "*",
    "u.*",
    "COLUMNS('i.*')",
)
LITERALS = ("1", "0", "-1", "NULL", "true", "'x'", "'a.b'", "1.5", "1e3", "99999999999", "[1, 2]",
    "{'a': 1}", "MAP {'a': 1}", "DATE '2024-01-01'", "INTERVAL 1 DAY", "$1", "?", "$a", "'{\"a\": 1}'",
    "$$x$$", "0x1F", "''", "'\u00e9'", "[]")  # fmt: skip
FUNCTIONS = ("lower", "length", "abs", "coalesce", "nullif", "list_value", "struct_pack", "md5",
    "list_sum", "range", "repeat", "lpad", "json_extract", "date_trunc", "concat", "split_part",
    "count", "sum", "max", "list", "string_agg", "first", "histogram", "typeof", "version", "random",
    "now", "unnest", "regexp_replace", "strftime", "greatest", "fan_out", "bomb_macro", "evil_scalar",
    "harmless_until_two_arguments", "no_such_function", "current_setting", "nextval", "setseed",
    "getenv", "read_text", "query", "write_log", "sleep_ms", "error", "stats", "hash")  # fmt: skip
FROM_FUNCTIONS = ("range", "generate_series", "unnest", "json_each", "json_tree", "repeat",
    "duckdb_tables", "duckdb_functions", "test_all_types", "summary", "read_text", "read_csv", "glob",
    "query", "query_table", "duckdb_settings", "duckdb_secrets", "enable_logging", "evil_macro",
    "pragma_version", "histogram", "checkpoint")  # fmt: skip
BINARY = ("+", "-", "*", "/", "//", "%", "||", "=", "<>", "<", ">=", "AND", "OR", "->", "->>", "**",
    "LIKE", "ILIKE", "IS DISTINCT FROM", "^@", "&", "<<", "COLLATE", "::", ".", "IN", "GLOB")  # fmt: skip
TYPES = ("INTEGER", "VARCHAR", "DOUBLE", "JSON", "INTEGER[]", "STRUCT(a INTEGER)", "DECIMAL(10, 2)")


class Grammar:
    """Writes one statement after the other from dice."""

    def __init__(self, seed: int, places: dict[str, object]) -> None:
        self._dice = random.Random(seed)
        corpora = [sql for part in benign().values() for sql in part]
        corpora += statements(CORPORA / "benign_writes" / "writers.sql")
        corpora += [sql for sql in hostile() + writes() if len(sql) < 2_000]
        self._corpora = [filled(sql, places) for sql in corpora]
        self._expressions: list[Callable[[int], str]] = [
            self._call, self._call, self._binary, self._binary, self._case, self._cast, self._lambda,
            self._list, self._window, self._subquery, self._between, self._literal, self._column,
            self._brackets,
        ]  # fmt: skip

    def statements(self, count: int) -> Iterator[str]:
        """Yield that many statements."""
        for _ in range(count):
            choice = self._dice.random()
            if choice < 0.45:
                yield self._statement()
            elif choice < 0.8:
                yield self._shaken(self._dice.choice(self._corpora))
            elif choice < 0.97:
                text = self._dice.choice(self._corpora)
                for mutation in self._dice.sample(MUTATIONS, self._dice.randint(1, 3)):
                    text = mutation(text, self._dice)[:50_000]
                yield text
            else:
                yield self._noise()

    def _pick(self, items: tuple[str, ...]) -> str:
        return self._dice.choice(items)

    def _statement(self) -> str:
        dice = self._dice
        query = self._query(dice.randint(1, 4))
        table = self._pick(TABLES)
        forms = (
            query, query, query, query, query, query,
            f"EXPLAIN {query}", f"EXPLAIN ANALYZE {query}", f"DESCRIBE {query}", f"SUMMARIZE {query}",
            f"INSERT INTO {table} {query}", f"CREATE TABLE z{dice.randint(0, 9)} AS {query}",
            f"CREATE OR REPLACE VIEW z AS {query}", f"CREATE OR REPLACE MACRO zm(x) AS {self._expression(2)}",
            f"UPDATE {table} SET name = {self._expression(2)} WHERE {self._expression(2)}",
            f"DELETE FROM {table} WHERE {self._expression(2)} RETURNING *",
            f"MERGE INTO {table} USING ({query}) q ON {self._expression(1)} WHEN MATCHED THEN DELETE",
            f"PIVOT {table} ON {self._column(0)} USING {self._call(1)}",
            f"COPY ({query}) TO '/tmp/chronoduck-fuzz.csv'", f"CALL {self._pick(FROM_FUNCTIONS)}()",
            f"{query}; {query}",
        )  # fmt: skip
        return dice.choice(forms)

    def _query(self, depth: int) -> str:
        dice = self._dice
        if depth <= 0:
            return dice.choice(("SELECT 1", "FROM users", "VALUES (1)", "TABLE users"))
        columns = ", ".join(self._expression(depth - 1) for _ in range(dice.randint(1, 3)))
        text = f"SELECT {'DISTINCT ' * (dice.random() < 0.1)}{columns} FROM {self._relation(depth)}"
        if dice.random() < 0.4:
            text += f" WHERE {self._expression(depth - 1)}"
        if dice.random() < 0.2:
            text += f" GROUP BY {dice.choice(('ALL', self._expression(1), 'ROLLUP (id, name)'))}"
        if dice.random() < 0.1:
            text += f" QUALIFY {self._window(1)} = 1"
        if dice.random() < 0.2:
            text += f" ORDER BY {dice.choice(('ALL', self._expression(1)))}"
        if dice.random() < 0.3:
            text += f" LIMIT {dice.randint(0, 20)}"
        if dice.random() < 0.15:
            text = f"WITH q{' AS NOT MATERIALIZED' if dice.random() < 0.3 else ' AS'} ({self._query(depth - 1)}) {text}"
        if dice.random() < 0.1:
            text += (
                f" {dice.choice(('UNION ALL', 'EXCEPT', 'UNION BY NAME'))} {self._query(depth - 1)}"
            )
        return text

    def _relation(self, depth: int) -> str:
        dice = self._dice
        choice = dice.random()
        if choice < 0.5:
            return f"{self._pick(TABLES)} {dice.choice(('u', 't', 'AS t', ''))}"
        if choice < 0.65:
            arguments = ", ".join(self._expression(0) for _ in range(dice.randint(0, 2)))
            return f"{self._pick(FROM_FUNCTIONS)}({arguments}) t"
        if choice < 0.8:
            return f"({self._query(depth - 1)}) t"
        join = dice.choice(
            ("JOIN", "LEFT JOIN", "CROSS JOIN", "ASOF JOIN", "POSITIONAL JOIN", "SEMI JOIN")
        )
        condition = (
            "" if join in ("CROSS JOIN", "POSITIONAL JOIN") else f" ON {self._expression(1)}"
        )
        return f"{self._relation(depth - 1)} {join} {self._relation(0 if depth < 2 else depth - 1)}{condition}"

    def _expression(self, depth: int) -> str:
        if depth <= 0:
            return self._dice.choice((self._literal, self._column))(0)
        return self._dice.choice(self._expressions)(depth)

    def _call(self, depth: int) -> str:
        name = self._pick(FUNCTIONS)
        prefix = "main." if self._dice.random() < 0.05 else ""
        if self._dice.random() < 0.05:
            name = f'"{name}"'
        count = self._dice.randint(0, 3)
        return f"{prefix}{name}({', '.join(self._expression(depth - 1) for _ in range(count))})"

    def _binary(self, depth: int) -> str:
        operator = self._pick(BINARY)
        right = self._expression(depth - 1)
        if operator in ("::",):
            right = self._pick(TYPES)
        elif operator == "IN":
            right = f"({right}, {self._expression(0)})"
        elif operator == ".":
            right = self._call(depth - 1)
        return f"{self._expression(depth - 1)} {operator} {right}"

    def _case(self, depth: int) -> str:
        inner = [self._expression(depth - 1) for _ in range(3)]
        return f"CASE WHEN {inner[0]} THEN {inner[1]} ELSE {inner[2]} END"

    def _cast(self, depth: int) -> str:
        word = self._dice.choice(("CAST", "TRY_CAST"))
        return f"{word}({self._expression(depth - 1)} AS {self._pick(TYPES)})"

    def _lambda(self, depth: int) -> str:
        arrow = self._dice.choice(("x -> ", "lambda x: "))
        return (
            f"list_transform({self._expression(depth - 1)}, {arrow}{self._expression(depth - 1)})"
        )

    def _list(self, depth: int) -> str:
        inner = self._expression(depth - 1)
        return self._dice.choice((f"[{inner}]", f"[{inner} FOR x IN [1, 2] IF x > 1]", f"({inner})[1]",
            f"{{'a': {inner}}}", f"ARRAY({self._query(depth - 1)})"))  # fmt: skip

    def _window(self, depth: int) -> str:
        return f"{self._pick(FUNCTIONS)}({self._expression(depth - 1)}) OVER (PARTITION BY {self._expression(0)})"

    def _subquery(self, depth: int) -> str:
        word = self._dice.choice(("", "EXISTS ", "1 IN ", "1 = ANY "))
        return f"{word}({self._query(depth - 1)})"

    def _between(self, depth: int) -> str:
        inner = [self._expression(depth - 1) for _ in range(3)]
        return f"{inner[0]} BETWEEN {inner[1]} AND {inner[2]}"

    def _literal(self, depth: int) -> str:
        return self._pick(LITERALS)

    def _column(self, depth: int) -> str:
        return self._pick(COLUMNS)

    def _brackets(self, depth: int) -> str:
        return f"({self._expression(depth - 1)})"

    def _shaken(self, text: str) -> str:
        """Return a text with some of its words dropped, doubled, swapped or taken from another."""
        dice = self._dice
        words = re.split(r"(\s+|[(),;])", text)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(words))
            change = dice.random()
            if change < 0.25:
                words[at] = ""
            elif change < 0.45:
                words.insert(at, words[dice.randrange(len(words))])
            elif change < 0.65:
                other = dice.randrange(len(words))
                words[at], words[other] = words[other], words[at]
            elif change < 0.85:
                other_words = re.split(r"(\s+|[(),;])", dice.choice(self._corpora))
                words[at] = dice.choice(other_words)
            else:
                words[at] = dice.choice(('"', "'", "$$", "--", "/*", "*/", "\x00", "\ufeff", "\u00a0",
                    ";", "(", ")", "\\", "U&'x'", "E'\\''", "\U0001f986", "#1", "@x", "::", ":="))  # fmt: skip
        return "".join(words)

    def _noise(self) -> str:
        dice = self._dice
        alphabet = "selct fromwhi*(),.;:'\"$?-/\\[]{}|&<>=+%!~^#@1234567890\n\t\x00\u00e9\u00a0"
        return "".join(dice.choice(alphabet) for _ in range(dice.randint(0, 80)))
