"""Which statements make something that the next statement would not find."""

from __future__ import annotations

import pytest

from chronoduck.errors import StatementRefusedError
from chronoduck.sql.rules.temporary import refuse_temporary


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMP TABLE x AS SELECT 1",
        "create or replace temporary table x (a int)",
        "CREATE /* a */ TEMP -- b\n TABLE x (a int)",
        "CREATE TEMP TABLE IF NOT EXISTS x (a int)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "CREATE TEMP RECURSIVE VIEW x (a) AS SELECT 1",
        "CREATE TEMP MACRO x() AS 1",
        "CREATE TEMPORARY FUNCTION x() AS 1",
        "CREATE TEMP SEQUENCE x",
        "CREATE TEMP TYPE x AS INTEGER",
        "CREATE VIEW temp.x AS SELECT 1",
        "CREATE VIEW IF NOT EXISTS temp.main.x AS SELECT 1",
        'CREATE MACRO "TEMP".x() AS 1',
        "CREATE SCHEMA temp.x",
    ],
)
def test_temporary_objects_are_refused(sql: str) -> None:
    with pytest.raises(StatementRefusedError, match="temporary") as refused:
        refuse_temporary("create", sql)
    assert refused.value.rule == "temporary"
    assert "POST batch" in str(refused.value.hint)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE temp (a int)",
        "CREATE TABLE temporary AS SELECT 1 AS temp",
        "CREATE TABLE x AS SELECT temp.a FROM temp",
        "CREATE TABLE IF NOT EXISTS temp (a int)",
        "CREATE VIEW x AS SELECT 1 AS temp -- TEMP",
        "CREATE TABLE main.temp (a int)",
        "CREATE INDEX i ON temp (a)",
    ],
)
def test_others_are_not(sql: str) -> None:
    refuse_temporary("create", sql)
