"""``text/csv`` with parameters: the service follows ``header`` and ``charset``, and says what it read."""

from __future__ import annotations

import httpx2
import orjson
import pytest


@pytest.mark.parametrize(
    ("media_type", "query", "body", "rows"),
    [
        ("text/csv; header=absent", "", b"1,2\n3,4\n", [[1, 2], [3, 4]]),
        ('text/csv;charset="windows-1252";header=present', "", b"a,b\n1,\x80\n", [[1, "\u20ac"]]),
        ("Text/CSV; Charset=UTF-16; Header=Absent", "", "x,y\n".encode("utf-16"), [["x", "y"]]),
        ("text/csv; header=absent", "?header=yes", b"a,b\n1,2\n", [[1, 2]]),
        ("text/csv; charset=utf-16", "?encoding=cp1252", b"a,b\n1,\xe9\n", [[1, "\u00e9"]]),
    ],
)
async def test_parameters_of_the_media_type_are_followed_unless_the_query_says_else(
    admin: httpx2.AsyncClient, media_type: str, query: str, body: bytes, rows: list[list[object]]
) -> None:
    headers = {"Content-Type": media_type}
    response = await admin.post(f"/tables/written/rows{query}", content=body, headers=headers)
    done = orjson.loads(response.text.splitlines()[-1])
    assert (done["event"], done["rows_added"]) == ("done", len(rows)), done
    found = await admin.post("/query", json={"query": "FROM written"})
    assert found.json()["data"] == rows


async def test_an_empty_body_of_ndjson_is_no_rows_and_one_of_csv_is_refused(
    admin: httpx2.AsyncClient,
) -> None:
    await admin.post("/query", json={"query": "CREATE TABLE written AS SELECT 1 AS a"})
    url = "/tables/written/rows?mode=replace"
    csv = await admin.post(url, content=b"", headers={"Content-Type": "text/csv"})
    assert "is empty" in csv.text
    assert (await admin.post("/query", json={"query": "FROM written"})).json()["data"] == [[1]]
    lines = await admin.post(url, content=b"", headers={"Content-Type": "application/x-ndjson"})
    assert orjson.loads(lines.text.splitlines()[-1])["rows_removed"] == 1
    assert (await admin.post("/query", json={"query": "FROM written"})).json()["data"] == []
