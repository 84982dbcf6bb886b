"""``examples/export.toml`` does what its comments say, with captures that were loaded from a file."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tests.export.running import MakeService, run_export
from tests.meilisearch import Meilisearch

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_pages_and_domains_can_be_searched(
    search: Meilisearch, index: str, make_service: MakeService
) -> None:
    text = (EXAMPLES / "export.toml").read_text()
    text = text[text.index("[index.pages]") :].replace(
        "[index.pages]\n", '[index.pages]\nindex = "INDEX"\n'
    )
    text = text.replace("[index.domains]\n", '[index.domains]\nindex = "INDEX-domains"\n')
    domains = f"{index}-domains"
    async with make_service(text) as service:
        capture = EXAMPLES / "data" / "twitter-labels.cdx"
        with capture.open("rb") as file:
            loader = (await service.parts()).loader
            [_ async for _ in loader.load(file, name=capture.name)]
        try:
            pages = await run_export(service, "pages")
            counted = await run_export(service, "domains")
            rows = await service.execute_query(
                "SELECT count(DISTINCT url) FILTER (status_code = 200), count(DISTINCT domain) "
                "FROM pages_analytics"
            )
            assert rows.data == [(pages["documents"], counted["documents"])]
            hit = search.documents(index)[0]
            assert hit["id"] == hashlib.sha256(hit["url"].encode()).hexdigest()
            assert isinstance(hit["captured_at"], float)
            hit = search.documents(domains)[0]
            decoded = base64.urlsafe_b64decode(hit["id"] + "=" * (-len(hit["id"]) % 4)).decode()
            assert decoded == hit["domain"]
            assert hit["page_count"] > 0
        finally:
            search.wait(search.client.delete(f"/indexes/{domains}"))
