"""Random programs of DDL, DML and transactions, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fuzz.program import BULK_ROWS, Effect, Life, Program, Step

__all__ = ["generate"]

_COLUMNS = (
    "VARCHAR DEFAULT 'x'",
    "VARCHAR",
    "INTEGER DEFAULT 7",
    "INTEGER DEFAULT (2 + 3)",
    "TIMESTAMP DEFAULT now()",
    "TIMESTAMP DEFAULT current_localtimestamp()",
    "UUID DEFAULT uuid()",
    "DOUBLE DEFAULT random()",
    "DECIMAL(18, 3) DEFAULT 1.5",
    "VARCHAR DEFAULT upper('abc')",
    "VARCHAR CHECK (length({c}) < 100)",
    "INTEGER CHECK ({c} > -1)",
    "VARCHAR COLLATE NOCASE DEFAULT 'Q'",
    "STRUCT(a INTEGER, b VARCHAR) DEFAULT {{'a': 1, 'b': 'x'}}",
    "INTEGER[] DEFAULT [1, 2]",
    "MAP(VARCHAR, INTEGER)",
    "DATE DEFAULT DATE '2020-01-01'",
    "HUGEINT DEFAULT 5",
    "BLOB",
    "TIMESTAMPTZ DEFAULT now()",
    "BOOLEAN NOT NULL DEFAULT true",
    "BIGINT GENERATED ALWAYS AS (n + 1)",
    "VARCHAR GENERATED ALWAYS AS (lower('A' || id))",
    "JSON DEFAULT '{{}}'",
)
_VALUES = {"VARCHAR": "'v' || i", "INTEGER": "(i % 1000)::INTEGER", "DOUBLE": "i / 7"}


@dataclass
class _Table:
    name: str
    has_key: bool
    columns: dict[str, str] = field(default_factory=dict)
    """Name and type of the columns besides ``id`` and ``n``."""
    indexes: list[str] = field(default_factory=list)


@dataclass
class _Side:
    """What one connection has made, as far as every statement succeeded."""

    number: int
    tables: list[_Table] = field(default_factory=list)
    schemas: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    sequences: list[str] = field(default_factory=list)
    macros: list[str] = field(default_factory=list)
    in_transaction: bool = False


class _Generator:
    def __init__(self, seed: int, *, is_new_engine: bool) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.is_new_engine = is_new_engine
        self.names = 0
        self.next_id = 1
        self.bulks = 0
        self.sides = [_Side(0), _Side(1)]

    def program(self) -> Program:
        storages = ["v1.0.0", "v1.5.0"] + (["v2.0.0"] if self.is_new_engine else [])
        lives = []
        for number in range(self.random.randint(1, 3)):
            steps = self._steps(self.random.randint(6, 20), is_first=number == 0)
            lives.append(Life(tuple(steps), is_killed=self.random.random() < 0.85))
            for side in self.sides:
                side.in_transaction = False
        return Program(self.seed, self.random.choice(storages), tuple(lives))

    def _steps(self, count: int, *, is_first: bool) -> list[Step]:
        steps: list[Step] = []
        if is_first:
            steps += self._create_table(self.sides[0])
            if self.random.random() < 0.6:
                steps.append(Step(0, "CHECKPOINT"))
        while len(steps) < count:
            side = self.sides[self.random.random() < 0.2]
            choices = _KINDS if side.tables else (_Generator._create_table,)
            steps += self.random.choice(choices)(self, side)
        return steps

    # --- names and small parts ------------------------------------------------------------------

    def _name(self, prefix: str, side: _Side) -> str:
        self.names += 1
        return f"{prefix}{side.number}_{self.names}"

    def _in_schema(self, name: str, side: _Side) -> str:
        if side.schemas and self.random.random() < 0.4:
            return f"{self.random.choice(side.schemas)}.{name}"
        return name

    def _ids(self, count: int) -> int:
        first = self.next_id
        self.next_id += count
        return first

    def _rows(self) -> int:
        share = self.random.random()
        if share < 0.08 and self.bulks < 2:
            self.bulks += 1
            return BULK_ROWS + self.random.choice([0, 1, 2120])
        return self.random.choice([1, 2, 3, 5, 700, 2048, 3000]) if share < 0.9 else 10_000

    def _column(self, side: _Side) -> tuple[str, str]:
        """Return a new column's name and what follows it."""
        name = self._name("c", side)
        share = self.random.random()
        if side.types and share < 0.15:
            return name, self.random.choice(side.types)
        if side.sequences and share < 0.25:
            return name, f"BIGINT DEFAULT nextval('{self.random.choice(side.sequences)}')"
        return name, self.random.choice(_COLUMNS).format(c=name)

    # --- tables ---------------------------------------------------------------------------------

    def _create_table(self, side: _Side) -> list[Step]:
        table = _Table(self._in_schema(self._name("t", side), side), self.random.random() < 0.4)
        parts = ["id BIGINT" + (" PRIMARY KEY" if table.has_key else ""), "n BIGINT"]
        for _ in range(self.random.randint(0, 3)):
            name, rest = self._column(side)
            table.columns[name] = rest.split()[0]
            parts.append(f"{name} {rest}")
        parents = [other for other in side.tables if other.has_key]
        if parents and self.random.random() < 0.2:
            parts.append(f"p BIGINT REFERENCES {self.random.choice(parents).name}(id)")
        if self.random.random() < 0.1:
            parts.append("UNIQUE (n, id)")
        side.tables.append(table)
        sql = f"CREATE TABLE {table.name} ({', '.join(parts)})"
        return [Step(side.number, sql, (Effect("create", table.name),))]

    def _create_table_as(self, side: _Side) -> list[Step]:
        source = self.random.choice(side.tables)
        table = _Table(self._in_schema(self._name("t", side), side), has_key=False)
        side.tables.append(table)
        return [
            Step(
                side.number,
                f"CREATE TABLE {table.name} AS SELECT id, n FROM {source.name}",
                (Effect("copy", table.name, other=source.name),),
            )
        ]

    def _replace_table(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        first, count = self._ids(count := self._rows()), count
        table.columns, table.indexes, table.has_key = {}, [], False
        return [
            Step(
                side.number,
                f"CREATE OR REPLACE TABLE {table.name} AS "
                f"SELECT i AS id, i % 97 AS n FROM range({first}, {first + count}) r(i)",
                (Effect("create", table.name), Effect("insert", table.name, first, count)),
            )
        ]

    def _drop_table(self, side: _Side) -> list[Step]:
        if len(side.tables) < 2 or self.random.random() < 0.5:
            return []
        table = side.tables.pop(self.random.randrange(len(side.tables)))
        return [Step(side.number, f"DROP TABLE {table.name}", (Effect("drop", table.name),))]

    def _rename_table(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        new = self._name("t", side)
        old, table.name = table.name, ".".join([*table.name.split(".")[:-1], new])
        return [
            Step(
                side.number,
                f"ALTER TABLE {old} RENAME TO {new}",
                (Effect("rename", old, other=table.name),),
            )
        ]

    def _alter(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        kind = self.random.choice([self._alter_columns, self._alter_column, self._alter_table])
        text = kind(side, table)
        return [Step(side.number, f"ALTER TABLE {table.name} {text}")] if text else []

    def _alter_columns(self, side: _Side, table: _Table) -> str:
        """Add, drop or rename a column."""
        kind = self.random.randrange(5)
        if kind <= 2 or not table.columns:
            name, rest = self._column(side)
            table.columns[name] = rest.split()[0]
            return f"ADD COLUMN {name} {rest}"
        column = self.random.choice(list(table.columns))
        old = table.columns.pop(column)
        if kind == 3:
            return f"DROP COLUMN {column}"
        name = self._name("c", side)
        table.columns[name] = old
        return f"RENAME COLUMN {column} TO {name}"

    def _alter_column(self, side: _Side, table: _Table) -> str:
        """Change the default or the type of a column."""
        column = self.random.choice([*table.columns, "n"])
        default = self.random.choice(["NULL", "3", "2 + 3", "abs(-4)"])
        texts = [
            f"ALTER {column} SET DEFAULT {default}",
            f"ALTER {column} DROP DEFAULT",
            f"ALTER {column} DROP NOT NULL",
            f"ALTER n SET DATA TYPE {self.random.choice(['HUGEINT', 'BIGINT', 'DECIMAL(18, 0)'])}",
        ]
        if column != "n":
            texts.append(f"ALTER {column} SET DATA TYPE VARCHAR USING upper({column}::VARCHAR)")
        if table.columns.get(column, "").startswith("STRUCT"):
            texts += [
                f"ADD COLUMN {column}.z INTEGER",
                f"RENAME {column}.b TO y",
                f"DROP COLUMN {column}.a",
            ]
        text = self.random.choice(texts)
        if " USING " in text:
            table.columns[column] = "VARCHAR"
        return text

    def _alter_table(self, side: _Side, table: _Table) -> str:
        """Add a constraint."""
        text = self.random.choice(
            ["ALTER n SET NOT NULL", "ADD PRIMARY KEY (id)", "ADD UNIQUE (id, n)"]
        )
        table.has_key = table.has_key or "PRIMARY" in text
        return text

    # --- rows -----------------------------------------------------------------------------------

    def _insert(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        count = self._rows()
        first = self._ids(count)
        names, values = ["id", "n"], ["i", "i % 97"]
        for name, kind in table.columns.items():
            if kind in _VALUES and self.random.random() < 0.6:
                names.append(name)
                values.append(_VALUES[kind])
        select = f"SELECT {', '.join(values)} FROM range({first}, {first + count}) r(i)"
        sql = f"INSERT INTO {table.name} ({', '.join(names)}) {select}"
        if count < 100 and self.random.random() < 0.3:
            sql += " RETURNING id"
        elif self.is_new_engine and self.random.random() < 0.1:
            sql = f"WITH d AS ({sql} RETURNING id) SELECT count(*) FROM d"
        return [Step(side.number, sql, (Effect("insert", table.name, first, count),))]

    def _upsert(self, side: _Side) -> list[Step]:
        keyed = [table for table in side.tables if table.has_key]
        if not keyed:
            return self._insert(side)
        table = self.random.choice(keyed)
        count = min(self._rows(), 3000)
        first = max(1, self.random.choice([self.next_id - count // 2 - 1, 1]))
        self.next_id = max(self.next_id, first + count)
        source = f"SELECT i AS id, i % 97 AS n FROM range({first}, {first + count}) r(i)"
        if self.random.random() < 0.5:
            sql = (
                f"INSERT INTO {table.name} (id, n) {source} "
                "ON CONFLICT (id) DO UPDATE SET n = n + 1000"
            )
        else:
            sql = (
                f"MERGE INTO {table.name} t USING ({source}) s ON t.id = s.id "
                "WHEN MATCHED THEN UPDATE SET n = t.n + 1000 "
                "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n)"
            )
        return [Step(side.number, sql, (Effect("upsert", table.name, first, count),))]

    def _update(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        divisor = self.random.choice([1, 2, 7, 100])
        rest = self.random.randrange(divisor)
        return [
            Step(
                side.number,
                f"UPDATE {table.name} SET n = n + 1 WHERE id % {divisor} = {rest}",
                (Effect("update", table.name, divisor, rest),),
            )
        ]

    def _update_column(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        names = [name for name, kind in table.columns.items() if kind == "VARCHAR"]
        if not names:
            return []
        name = self.random.choice(names)
        return [
            Step(side.number, f"UPDATE {table.name} SET {name} = 'u' || (id % 50) WHERE id % 3 = 0")
        ]

    def _delete(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        divisor = self.random.choice([1, 2, 7, 100])
        rest = self.random.randrange(divisor)
        return [
            Step(
                side.number,
                f"DELETE FROM {table.name} WHERE id % {divisor} = {rest}",
                (Effect("delete", table.name, divisor, rest),),
            )
        ]

    def _truncate(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        if self.random.random() < 0.6:
            return []
        return [
            Step(side.number, f"TRUNCATE {table.name}", (Effect("truncate", table.name),)),
        ]

    # --- other entries of the catalog -----------------------------------------------------------

    def _index(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        if table.indexes and self.random.random() < 0.3:
            return [Step(side.number, f"DROP INDEX {table.indexes.pop()}")]
        name = self._name("i", side)
        key = self.random.choice([*table.columns, "n", "id", "id, n", "(n + 1)", "(id % 10)"])
        unique = "UNIQUE " if key in ("id", "id, n") and self.random.random() < 0.5 else ""
        schema = "".join(f"{part}." for part in table.name.split(".")[:-1])
        table.indexes.append(f"{schema}{name}")
        return [Step(side.number, f"CREATE {unique}INDEX {name} ON {table.name} ({key})")]

    def _schema(self, side: _Side) -> list[Step]:
        name = self._name("s", side)
        side.schemas.append(name)
        return [Step(side.number, f"CREATE SCHEMA {name}")]

    def _type(self, side: _Side) -> list[Step]:
        if side.types and self.random.random() < 0.2:
            return [Step(side.number, f"DROP TYPE {side.types.pop()}")]
        name = self._in_schema(self._name("e", side), side)
        side.types.append(name)
        kind = self.random.choice(
            ["ENUM ('a', 'b', 'c')", "STRUCT(a INTEGER, b VARCHAR)", "INTEGER"]
        )
        return [Step(side.number, f"CREATE TYPE {name} AS {kind}")]

    def _view(self, side: _Side) -> list[Step]:
        if side.views and self.random.random() < 0.4:
            old = side.views.pop()
            if self.random.random() < 0.5:
                return [Step(side.number, f"DROP VIEW {old}")]
            new = self._name("v", side)
            side.views.append(new)
            return [Step(side.number, f"ALTER VIEW {old} RENAME TO {new}")]
        name = self._name("v", side)
        side.views.append(name)
        table = self.random.choice(side.tables).name
        return [Step(side.number, f"CREATE OR REPLACE VIEW {name} AS SELECT id FROM {table}")]

    def _macro(self, side: _Side) -> list[Step]:
        if side.macros and self.random.random() < 0.3:
            return [Step(side.number, f"DROP {side.macros.pop()}")]
        name = self._in_schema(self._name("m", side), side)
        if self.random.random() < 0.5:
            side.macros.append(f"MACRO {name}")
            return [Step(side.number, f"CREATE OR REPLACE MACRO {name}(x) AS x + 1")]
        side.macros.append(f"MACRO TABLE {name}")
        return [Step(side.number, f"CREATE MACRO {name}(x) AS TABLE SELECT x AS y")]

    def _sequence(self, side: _Side) -> list[Step]:
        if side.sequences and self.random.random() < 0.6:
            name = self.random.choice(side.sequences)
            if self.random.random() < 0.2:
                side.sequences.remove(name)
                return [Step(side.number, f"DROP SEQUENCE {name}")]
            return [Step(side.number, f"SELECT nextval('{name}')")]
        name = self._in_schema(self._name("q", side), side)
        side.sequences.append(name)
        return [Step(side.number, f"CREATE SEQUENCE {name} START 5 INCREMENT BY 3")]

    def _comment(self, side: _Side) -> list[Step]:
        table = self.random.choice(side.tables)
        what = [f"TABLE {table.name}", f"COLUMN {table.name}.n"]
        what += [f"VIEW {name}" for name in side.views[-1:]]
        what += [f"INDEX {name}" for name in table.indexes[-1:]]
        what += [f"SEQUENCE {name}" for name in side.sequences[-1:]]
        what += [f"TYPE {name}" for name in side.types[-1:]]
        return [Step(side.number, f"COMMENT ON {self.random.choice(what)} IS 'it''s'")]

    # --- transactions and checkpoints -----------------------------------------------------------

    def _begin(self, side: _Side) -> list[Step]:
        """Run some statements in a transaction, which may stay open until the process dies."""
        if side.in_transaction:
            return self._end(side)
        side.in_transaction = True
        steps = [Step(side.number, "BEGIN")]
        for _ in range(self.random.randint(1, 4)):
            steps += self.random.choice(_INSIDE)(self, side)
        return steps + (self._end(side) if self.random.random() < 0.8 else [])

    def _end(self, side: _Side) -> list[Step]:
        side.in_transaction = False
        return [Step(side.number, "COMMIT" if self.random.random() < 0.75 else "ROLLBACK")]

    def _checkpoint(self, side: _Side) -> list[Step]:
        text = self.random.choice(
            ["CHECKPOINT", "CHECKPOINT", "FORCE CHECKPOINT", "VACUUM", "ANALYZE"]
        )
        return [Step(side.number, text)]


_Kind = Callable[[_Generator, _Side], list[Step]]
_INSIDE: tuple[_Kind, ...] = (
    *[_Generator._insert] * 4,
    *[_Generator._alter] * 5,
    *[_Generator._update] * 2,
    _Generator._upsert,
    _Generator._update_column,
    _Generator._delete,
    _Generator._truncate,
    _Generator._create_table,
    _Generator._create_table_as,
    _Generator._replace_table,
    _Generator._drop_table,
    _Generator._rename_table,
    *[_Generator._index] * 2,
    _Generator._schema,
    _Generator._type,
    _Generator._view,
    _Generator._macro,
    _Generator._sequence,
    _Generator._comment,
)
_KINDS: tuple[_Kind, ...] = (*_INSIDE, *[_Generator._begin] * 4, *[_Generator._checkpoint] * 2)


def generate(seed: int, *, is_new_engine: bool) -> Program:
    """Return the program of a seed; ``is_new_engine``: DuckDB 2, with what only it knows."""
    return _Generator(seed, is_new_engine=is_new_engine).program()
