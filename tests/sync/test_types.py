"""Every type of PostgreSQL arrives as what it was, or the sync says how it does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.postgres import SourceDatabase
from tests.sync.running import MakeService, run_sync

pytestmark = pytest.mark.slow

# Column, its type, the value as PostgreSQL reads it, its type and text in DuckDB.
TYPES = [
    ("bool", "true", "BOOLEAN", "true"),
    ("int2", "-32768", "SMALLINT", "-32768"),
    ("int4", "2147483647", "INTEGER", "2147483647"),
    ("int8", "-9223372036854775808", "BIGINT", "-9223372036854775808"),
    ("oid", "4294967295", "BIGINT", "4294967295"),
    ("float4", "1.5", "FLOAT", "1.5"),
    ("float8", "0.1", "DOUBLE", "0.1"),
    ("float8", "NaN", "DOUBLE", "nan"),
    ("float8", "-Infinity", "DOUBLE", "-inf"),
    ("numeric(38,10)", "1234567890123456789012345678.0123456789", "DECIMAL(38,10)", None),
    ("numeric(5)", "-99999", "DECIMAL(5,0)", "-99999"),
    ("numeric", "1" * 60 + "." + "3" * 40, "VARCHAR", None),
    ("numeric(50,2)", "9" * 48 + ".25", "VARCHAR", None),
    ("numeric", "NaN", "VARCHAR", "nan"),
    ("text", "tëxt 🦆", "VARCHAR", None),
    ("varchar(10)", "v", "VARCHAR", "v"),
    ("char(4)", "c", "VARCHAR", "c   "),
    ("name", "nm", "VARCHAR", "nm"),
    ('"char"', "x", "VARCHAR", "x"),
    ("bytea", "\\x00ff41", "BLOB", "\\x00\\xFFA"),
    ("date", "2024-02-29", "DATE", "2024-02-29"),
    ("date", "infinity", "DATE", "infinity"),
    ("date", "-infinity", "DATE", "-infinity"),
    ("date", "4713-01-01 BC", "DATE", "4713-01-01 (BC)"),
    ("date", "5874897-12-31", "DATE", "5874897-12-31"),
    ("time", "23:59:59.999999", "TIME", "23:59:59.999999"),
    ("time", "24:00:00", "TIME", "24:00:00"),
    ("timetz", "12:34:56+02", "VARCHAR", "12:34:56+02"),
    ("timestamp", "2024-02-29 12:34:56.123456", "TIMESTAMP", None),
    ("timestamp", "infinity", "TIMESTAMP", "infinity"),
    ("timestamp", "-infinity", "TIMESTAMP", "-infinity"),
    ("timestamp", "4713-01-01 BC", "TIMESTAMP", "4713-01-01 (BC) 00:00:00"),
    (
        "timestamptz",
        "2024-02-29 12:34:56.123456+05:30",
        "TIMESTAMP WITH TIME ZONE",
        "2024-02-29 07:04:56.123456+00",
    ),
    ("timestamptz", "infinity", "TIMESTAMP WITH TIME ZONE", "infinity"),
    ("timestamptz", "-infinity", "TIMESTAMP WITH TIME ZONE", "-infinity"),
    ("interval", "1 mon -2 days 03:04:05.000006", "INTERVAL", "1 month -2 days 03:04:05.000006"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "UUID", None),
    ("json", '{"b":  1, "a": [2]}', "JSON", None),
    ("jsonb", '{"a": [2]}', "JSON", None),
    ("inet", "192.168.0.1/24", "VARCHAR", None),
    ("inet", "::1", "VARCHAR", None),
    ("cidr", "10.0.0.0/8", "VARCHAR", None),
    ("macaddr", "08:00:2b:01:02:03", "VARCHAR", None),
    ("mood", "it's ok", "VARCHAR", None),
    ("few", "7", "INTEGER", "7"),
    ("price", "12.50", "DECIMAL(8,2)", "12.50"),
    ("pair", "(1,x)", "VARCHAR", None),
    ("int4range", "[1,5)", "VARCHAR", None),
    ("money", "$12.34", "VARCHAR", None),
    ("xml", "<a/>", "VARCHAR", None),
    ("bit(3)", "101", "VARCHAR", None),
    ("point", "(1,2)", "VARCHAR", None),
    ("tsvector", "'a' 'b'", "VARCHAR", None),
    ("int4[]", "{1,NULL,3}", "INTEGER[]", "[1, NULL, 3]"),
    ("int4[]", "{}", "INTEGER[]", "[]"),
    ("text[]", '{a,"b, c",NULL}', "VARCHAR[]", "[a, 'b, c', NULL]"),
    ("numeric(9,2)[]", "{1.25,2.50}", "VARCHAR[]", "[1.25, 2.50]"),
    ("date[]", "{2024-01-01,infinity}", "DATE[]", "[2024-01-01, infinity]"),
    ("jsonb[]", '{"{\\"a\\": 1}"}', "JSON[]", None),
    ("uuid[]", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "UUID[]", None),
    ("mood[]", '{sad,"it\'s ok"}', "VARCHAR[]", None),
    ("inet[]", "{10.0.0.1}", "VARCHAR[]", "[10.0.0.1/32]"),
]
SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
CREATE DOMAIN few AS int CHECK (value < 10);
CREATE DOMAIN price AS numeric(8,2);
CREATE TYPE pair AS (a int, b text);
"""


NOTED = {
    *("numeric", "numeric(50,2)", "timetz", "pair", "int4range", "money", "xml", "bit(3)"),
    *("point", "tsvector", "numeric(9,2)[]"),
}
FULL = 'source = "platform"\nmode = "full"\n'


CAPTURED = 'source = "platform"\nmode = "cdc"\nkey = ["id"]\n'


def fill(source: SourceDatabase) -> None:
    columns = ", ".join(f"c{index} {row[0]}" for index, row in enumerate(TYPES))
    values = ", ".join("'" + row[1].replace("'", "''") + "'" for row in TYPES)
    source.sql(
        f"{SETUP}; CREATE TABLE every (id int PRIMARY KEY, {columns});"
        f"INSERT INTO every VALUES (1, {values}); INSERT INTO every (id) VALUES (2);"
    )


async def test_every_type_arrives_whole_and_what_is_kept_as_text_is_said(
    source: SourceDatabase, make_service: MakeService
) -> None:
    fill(source)
    text = f'[sync.every]\n{FULL}table = "every"\ntarget = "every"'
    async with make_service(text) as service:
        job = await run_sync(service, "every")
        described = (await service.execute_query("DESCRIBE every")).data
        assert [row[1] for row in described[1:]] == [row[2] for row in TYPES]
        texts = ", ".join(f"c{index}::VARCHAR" for index in range(len(TYPES)))
        query = f"SELECT {texts} FROM every ORDER BY id"
        rows = (await service.execute_query(query)).data
        expected = [row[1] if row[3] is None else row[3] for row in TYPES]
        for index, row in enumerate(TYPES):
            if row[0] in ("jsonb[]", "mood[]", "uuid[]"):
                continue  # how a list is written depends on DuckDB's version
            assert rows[0][index] == expected[index], row
        assert all(value is None for value in rows[1])
        said = " ".join(job["notes"])
        for index, row in enumerate(TYPES):
            is_said = f"c{index} (" in said
            assert is_said == (row[0] in NOTED), row


async def test_what_the_log_brings_is_what_a_full_sync_brings(
    source: SourceDatabase, make_service: MakeService
) -> None:
    """Rows that are inserted, updated and have another key later, of every type."""
    fill(source)
    source.sql(
        "ALTER ROLE reader REPLICATION; CREATE PUBLICATION chronoduck_captured FOR TABLE every"
    )
    text = (
        f'[sync.whole]\n{FULL}table = "every"\ntarget = "whole"\n'
        f'[sync.captured]\n{CAPTURED}table = "every"\ntarget = "captured"\n'
    )
    names = [f"c{index}" for index in range(len(TYPES))]
    async with make_service(text) as service:
        await run_sync(service, "captured")
        listed = ", ".join(names)
        for number, name in enumerate(names):
            source.sql(
                f"INSERT INTO every (id, {name}) SELECT {10 + number}, {name} FROM every WHERE id = 1"
            )
        source.sql(f"INSERT INTO every (id, {listed}) SELECT 3, {listed} FROM every WHERE id = 1")
        source.sql("UPDATE every SET id = 4 WHERE id = 1")
        source.sql(
            f"UPDATE every e SET ({listed}) = (SELECT {listed} FROM every WHERE id = 4) WHERE id = 2"
        )
        ended = await run_sync(service, "captured")
        assert (ended["added"], ended["changed"], ended["deleted"]) == (2 + len(names), 1, 1)
        assert "whole table" not in " ".join(ended["notes"])
        await run_sync(service, "whole")
        described = [
            (await service.execute_query(f"DESCRIBE {name}")).data for name in ("whole", "captured")
        ]
        assert described[0] == described[1]
        texts = "SELECT id, COLUMNS(* EXCLUDE id)::VARCHAR FROM"
        for one, other in (("whole", "captured"), ("captured", "whole")):
            different = f"{texts} {one} EXCEPT ALL {texts} {other}"
            assert (await service.execute_query(different)).data == []


async def test_lists_hold_their_values(source: SourceDatabase, make_service: MakeService) -> None:
    lists = {row[0]: f"c{index}" for index, row in enumerate(TYPES) if row[0].endswith("[]")}
    fill(source)
    text = f'[sync.every]\n{FULL}table = "every"\ntarget = "every"'
    async with make_service(text) as service:
        await run_sync(service, "every")
        query = (
            f"SELECT {lists['mood[]']}[2], {lists['uuid[]']}[1]::VARCHAR, "
            f"{lists['jsonb[]']}[1]->>'$.a' FROM every WHERE id = 1"
        )
        row = (await service.execute_query(query)).data[0]
        assert tuple(row) == ("it's ok", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "1")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("numeric(8,2)", "NaN", "NaN"),
        ("int4[]", "{{1,2},{3,4}}", "column v holds an array of more than one dimension"),
        ("interval", "3000000:00:00", "overflow"),
        ("timestamp", "294260-01-01", "cannot hold"),
    ],
)
async def test_a_value_that_cannot_be_held_stops_the_sync_and_text_takes_it(
    source: SourceDatabase, make_service: MakeService, kind: str, value: str, words: str
) -> None:
    source.sql(f"DROP TABLE IF EXISTS odd; CREATE TABLE odd (v {kind})")
    source.sql(f"INSERT INTO odd VALUES ('{value}')")
    text = f'[sync.odd]\n{FULL}table = "odd"\ntarget = "odd"\n'
    async with make_service(text) as service:
        failed: Any = await run_sync(service, "odd", expect="failed")
        assert words.lower() in failed["detail"].lower()
        assert failed["hint"]
        assert (await service.execute_query("SHOW TABLES")).data == []
    async with make_service(text + 'types = { v = "VARCHAR" }') as service:
        await run_sync(service, "odd")
        assert (await service.execute_query("SELECT v FROM odd")).data[0][0].lower() in (
            value.lower(),
            f"{value} 00:00:00",
        )


async def test_numbers_of_any_size_become_numbers_where_that_is_asked_for(
    source: SourceDatabase, make_service: MakeService
) -> None:
    source.sql("CREATE TABLE amounts (a numeric, b numeric)")
    source.sql("INSERT INTO amounts VALUES (1.255, 1.255)")
    text = f'[sync.amounts]\n{FULL}table = "amounts"\ntarget = "amounts"\n'
    async with make_service(text + 'types = { a = "DECIMAL(18,2)", b = "DOUBLE" }') as service:
        job = await run_sync(service, "amounts")
        row = (await service.execute_query("SELECT a::VARCHAR, b FROM amounts")).data[0]
        assert tuple(row) == ("1.26", 1.255)
        assert "rounded to 2 digits" in " ".join(job["notes"])
