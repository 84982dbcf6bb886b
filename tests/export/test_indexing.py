"""An index is what the query's rows are: at first, after changes, after deletes, built anew."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta, tzinfo
from typing import Any, Self

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.export.meilisearch import indexing
from tests.export.running import MakeService, run_export
from tests.meilisearch import Meilisearch

pytestmark = pytest.mark.slow

HEAD = '\n[index.items]\nmeilisearch = "search"\nindex = "INDEX"\nkey = "id"\n'
QUERY = 'query = "SELECT * FROM items"\n'
REBUILD = HEAD + QUERY
CHANGES = REBUILD + 'mode = "changes"\ncursor = "updated_at"\noverlap = "0s"\n'
TABLE = "CREATE TABLE items (id BIGINT, v VARCHAR, updated_at TIMESTAMP, is_deleted BOOLEAN)"


async def fill(service: DuckDBService, rows: int = 100) -> None:
    await service.execute_query(TABLE)
    await service.execute_query(
        f"INSERT INTO items SELECT i, 'v' || i, TIMESTAMP '2024-01-01' + i * INTERVAL '1 h', false "
        f"FROM range(1, {rows + 1}) r(i)"
    )


def held(search: Meilisearch, index: str) -> dict[str, Any]:
    """Return what the documents say of ``v``, by id."""
    return {str(each["id"]): each["v"] for each in search.documents(index)}


async def expected(service: DuckDBService, where: str = "true") -> dict[str, Any]:
    found = await service.execute_query(f"SELECT id, v FROM items WHERE {where}")
    return {str(key): value for key, value in found.data}


async def test_the_first_run_makes_the_index_with_its_key_and_settings(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    settings = '[index.items.settings]\nsearchableAttributes = ["v"]\nsortableAttributes = ["id"]\n'
    async with make_service(REBUILD + settings) as service:
        await fill(service)
        facts = await run_export(service)
        assert (facts["how"], facts["sent"], facts["documents"]) == ("rebuild", 100, 100)
        assert held(search, index) == await expected(service)
        assert search.count(f"{index}_new") == -1
        described = search.client.get(f"/indexes/{index}").json()
        assert described["primaryKey"] == "id"
        told = search.client.get(f"/indexes/{index}/settings").json()
        assert told["searchableAttributes"] == ["v"]
        assert told["sortableAttributes"] == ["id"]


async def test_changes_send_only_what_changed_since_the_last_run(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    async with make_service(CHANGES) as service:
        await fill(service)
        first = await run_export(service)
        assert (first["how"], first["sent"]) == ("rebuild", 100)
        await service.execute_query(
            "UPDATE items SET v = 'changed', updated_at = TIMESTAMP '2024-06-01' WHERE id <= 10"
        )
        await service.execute_query("INSERT INTO items VALUES (101, 'x', '2024-06-02', false)")
        second = await run_export(service)
        assert (second["how"], second["sent"], second["documents"]) == ("changes", 12, 101)
        assert held(search, index) == await expected(service)
        third = await run_export(service)
        assert third["sent"] == 1  # the row of the watermark is sent again, which does no harm


async def test_rows_without_a_time_and_of_the_future_hide_nothing(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    async with make_service(CHANGES) as service:
        await fill(service, 10)
        await service.execute_query("INSERT INTO items VALUES (50, 'future', '2999-01-01', false)")
        await service.execute_query("INSERT INTO items VALUES (51, 'ever', 'infinity', false)")
        await service.execute_query("INSERT INTO items VALUES (52, 'never', NULL, false)")
        await run_export(service)
        await service.execute_query(
            "INSERT INTO items VALUES (60, 'now', now() AT TIME ZONE 'UTC', false)"
        )
        await service.execute_query("UPDATE items SET v = 'changed' WHERE id > 50")
        await run_export(service)
        assert held(search, index) == await expected(service)


async def test_a_clock_that_was_ahead_in_an_earlier_run_hides_no_change(
    search: Meilisearch, index: str, make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(days=2)

    insert = "INSERT INTO items VALUES ({}, 'new', now() AT TIME ZONE 'UTC', false)"
    async with make_service(CHANGES) as service:
        await fill(service, 10)
        await service.execute_query("INSERT INTO items VALUES (50, 'future', '2999-01-01', false)")
        with monkeypatch.context() as clock:
            clock.setattr(indexing, "datetime", Ahead)
            await run_export(service)
        for number in (61, 62):
            await service.execute_query(insert.format(number))
            facts = await run_export(service)
            assert held(search, index) == await expected(service)
            assert bool(facts["notes"]) is (number == 61)


async def test_deletes_are_found_by_the_keys_and_so_are_documents_that_are_missing(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    async with make_service(CHANGES + 'deletes = "key-diff"\n') as service:
        await fill(service)
        await run_export(service)
        await service.execute_query("DELETE FROM items WHERE id % 2 = 0")
        # Long before the watermark: the cursor does not tell of it.
        await service.execute_query("INSERT INTO items VALUES (500, 'old', '2001-01-01', false)")
        search.wait(search.client.post(f"/indexes/{index}/documents/delete-batch", json=["1", "3"]))
        facts = await run_export(service)
        assert facts["deleted"] == 50
        assert "missing" in facts["notes"][0]
        assert held(search, index) == await expected(service)
        await service.execute_query("DELETE FROM items")
        assert (await run_export(service))["documents"] == 0


async def test_rows_that_are_marked_as_deleted_go(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    text = CHANGES + 'deleted = "is_deleted"\ndeletes = "key-diff"\n'
    async with make_service(text) as service:
        await fill(service)
        await service.execute_query("UPDATE items SET is_deleted = true WHERE id <= 5")
        first = await run_export(service)
        assert first["documents"] == 95
        assert all("is_deleted" not in each for each in search.documents(index))
        await service.execute_query(
            "UPDATE items SET is_deleted = NULL, updated_at = '2024-06-01' WHERE id = 1"
        )
        await service.execute_query(
            "UPDATE items SET is_deleted = true, updated_at = '2024-06-01' WHERE id > 90"
        )
        facts = await run_export(service)
        assert (facts["sent"], facts["deleted"]) == (1, 10)
        assert held(search, index) == await expected(service, "is_deleted IS NOT true")


async def test_another_declaration_a_lost_index_and_a_wish_build_it_anew(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    async with make_service(CHANGES) as service:
        await fill(service)
        await run_export(service)
        assert (await run_export(service, rebuild=True))["how"] == "rebuild"
        assert (await run_export(service))["how"] == "changes"
        search.wait(search.client.delete(f"/indexes/{index}"))
        assert (await run_export(service))["how"] == "rebuild"
    other = CHANGES + '[index.items.settings]\nsearchableAttributes = ["v"]\n'
    async with make_service(other) as service:
        assert (await run_export(service))["how"] == "rebuild"
        assert search.count(f"{index}_new") == -1


async def test_a_query_without_rows_is_an_empty_index(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    async with make_service(CHANGES + 'deletes = "key-diff"\n') as service:
        await service.execute_query(TABLE)
        await run_export(service)
        assert search.count(index) == 0
        assert (await run_export(service))["sent"] == 0
        await service.execute_query("INSERT INTO items VALUES (1, 'x', '2024-01-01', false)")
        assert (await run_export(service))["sent"] == 1
        assert search.count(index) == 1


async def test_an_index_of_somebody_else_is_left_alone_unless_it_may_be_taken(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    search.wait(search.client.post(f"/indexes/{index}/documents", json=[{"id": 7, "v": "theirs"}]))
    async with make_service(REBUILD) as service:
        await fill(service)
        error = await run_export(service, expect="failed")
        assert error["code"] == "export_conflict"
        assert held(search, index) == {"7": "theirs"}
    async with make_service(REBUILD + "take_over = true\n") as service:
        await run_export(service)
        assert held(search, index) == await expected(service)


async def test_an_index_beside_it_of_somebody_else_is_left_alone(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    there = f"{index}_new"
    search.wait(search.client.post(f"/indexes/{there}/documents", json=[{"id": 7, "v": "theirs"}]))
    async with make_service(REBUILD) as service:
        await fill(service)
        error = await run_export(service, expect="failed")
        assert error["code"] == "export_conflict"
        assert there in error["detail"]
    assert held(search, there) == {"7": "theirs"}


@pytest.mark.parametrize("way", ["hash", "base64"])
async def test_keys_that_are_no_ids_are_hashed_or_encoded(
    search: Meilisearch, index: str, make_service: MakeService, way: str
) -> None:
    text = (
        '\n[index.items]\nmeilisearch = "search"\nindex = "INDEX"\nkey = "url"\n'
        f'id = "{way}"\n'
        "query = \"SELECT 'https://example.org/?q=é&p=' || i AS url, i FROM range(3) r(i)\"\n"
    )
    async with make_service(text) as service:
        await run_export(service)
    found = {each["id"]: each["url"] for each in search.documents(index)}
    for key, url in found.items():
        if way == "hash":
            assert key == hashlib.sha256(url.encode()).hexdigest()
        else:
            assert base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)).decode() == url
    assert len(found) == 3


async def test_a_key_of_several_columns_is_one_id(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    text = (
        '\n[index.items]\nmeilisearch = "search"\nindex = "INDEX"\nkey = ["a", "b"]\nid = "base64"\n'
        "query = \"SELECT * FROM (VALUES ('x', 'yz'), ('xy', 'z'), ('\\\"', '')) t(a, b)\"\n"
    )
    async with make_service(text) as service:
        assert (await run_export(service))["documents"] == 3
    for each in search.documents(index):
        decoded = base64.urlsafe_b64decode(each["id"] + "=" * (-len(each["id"]) % 4)).decode()
        assert decoded.startswith("[")


@pytest.mark.parametrize("times", ["text", "epoch"])
@pytest.mark.parametrize(
    ("key", "text"),
    [("DATE '2024-02-29'", "2024-02-29"), ("7::DECIMAL(5,0)", "7"), ("true", "true"), ("-7", "-7")],
)
async def test_a_key_that_is_the_id_is_one_whatever_its_type(
    search: Meilisearch, index: str, make_service: MakeService, times: str, key: str, text: str
) -> None:
    declared = HEAD + f'query = "SELECT {key} AS id"\ntimes = "{times}"\n'
    async with make_service(declared) as service:
        await run_export(service)
    assert [str(each["id"]) for each in search.documents(index)] == [text]


VALUES = """
SELECT 1 AS id, 'NaN'::DOUBLE AS nan, '-Infinity'::FLOAT AS inf, 1.5::DOUBLE AS number,
       9007199254740993 AS big, 170141183460469231731687303715884105727::HUGEINT AS huge,
       12.50::DECIMAL(8,2) AS price, DATE '2024-02-29' AS day, TIMESTAMP '2024-02-29 12:30:00.25' AS at,
       TIMESTAMPTZ '2024-02-29 12:30:00+02' AS zoned, '\\xDE\\xAD'::BLOB AS blob, NULL AS nothing,
       true AS flag, ['a', NULL] AS tags, {'lat': 1.5, 'lng': 2} AS _geo,
       'a' || chr(0) || chr(10) || '"é' AS text, '00000000-0000-0000-0000-000000000001'::UUID AS uuid,
       '{"a": [1, {"b": null}]}'::JSON AS json, INTERVAL '1 day' AS span
"""


@pytest.mark.parametrize("times", ["text", "epoch"])
async def test_every_value_has_a_form_that_meilisearch_can_hold(
    search: Meilisearch, index: str, make_service: MakeService, times: str
) -> None:
    text = HEAD + f"query = '''{VALUES}'''\ntimes = \"{times}\"\n"
    async with make_service(text) as service:
        await run_export(service)
    document = search.documents(index)[0]
    moments = {name: document.pop(name) for name in ("day", "at", "zoned")}
    assert moments == (
        {
            "day": "2024-02-29",
            "at": "2024-02-29T12:30:00.25",
            "zoned": "2024-02-29T10:30:00+00:00",
        }
        if times == "text"
        else {"day": 1709164800.0, "at": 1709209800.25, "zoned": 1709202600.0}
    )
    assert document == {
        "id": 1, "nan": None, "inf": None, "number": 1.5, "big": "9007199254740993",
        "huge": "170141183460469231731687303715884105727", "price": 12.5, "blob": "3q0=", "nothing": None,
        "flag": True, "tags": ["a", None], "_geo": {"lat": 1.5, "lng": 2}, "text": 'a\x00\n"é',
        "uuid": "00000000-0000-0000-0000-000000000001", "json": {"a": [1, {"b": None}]}, "span": "1 day",
    }  # fmt: skip
