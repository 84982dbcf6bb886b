"""While an index is built anew, every search sees the whole old one or the whole new one."""

from __future__ import annotations

import threading

import pytest

from chronoduck.transfer.schema import SCHEMA_STATEMENTS
from tests.export.running import MakeService, run_export
from tests.meilisearch import Meilisearch

pytestmark = pytest.mark.slow
ROWS = 100_000
PAGES = """
INSERT INTO pages_analytics
       (url, urlkey, domain, captured_at, status_code, mime_type, content_length, title)
SELECT 'https://site' || i % 997 || '.example/page/' || i, 'example,site' || i % 997 || ')/page/' || i,
       'site' || i % 997 || '.example', TIMESTAMP '2024-01-01' + i * INTERVAL '1 min', 200, 'text/html',
       i, 'edition one'
FROM range(100000) r(i)
"""
TEXT = """
[index.items]
meilisearch = "search"
index = "INDEX"
query = "SELECT url, domain, captured_at, status_code, title FROM pages_analytics"
key = ["url", "captured_at"]
id = "hash"
[index.items.settings]
searchableAttributes = ["title", "url"]
"""


async def test_a_hundred_thousand_captures_are_swapped_under_the_searchers(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    seen: set[tuple[int, tuple[str, ...]]] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            answer = search.client.post(f"/indexes/{index}/search", json={"q": "", "limit": 50})
            assert answer.status_code == 200, answer.text
            told = answer.json()
            count = search.count(index)
            seen.add((count, tuple(sorted({hit["title"] for hit in told["hits"]}))))

    async with make_service(TEXT, "batch_size = 1_000_000\n") as service:
        for statement in SCHEMA_STATEMENTS:
            await service.execute_query(statement)
        await service.execute_query(PAGES)
        first = await run_export(service)
        assert first["documents"] == ROWS
        await service.execute_query("UPDATE pages_analytics SET title = 'edition two'")
        searcher = threading.Thread(target=look)
        searcher.start()
        try:
            second = await run_export(service)
        finally:
            stop.set()
            searcher.join()
    assert second["documents"] == ROWS
    assert (ROWS, ("edition one",)) in seen
    assert seen <= {(ROWS, ("edition one",)), (ROWS, ("edition two",))}
    assert {each["title"] for each in search.documents(index)} == {"edition two"}
    assert search.count(f"{index}_new") == -1
