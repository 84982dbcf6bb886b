"""Web archives and their metadata: what an index of them would say, and broken ones told."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import LoadError
from chronoduck.transfer import LoadSummary, RejectedLine

warcio = pytest.importorskip("warcio")

# The writer of the library leaves files in memory to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PAGE = b"<html><title>A page</title></html>"


def archive(*, gzip: bool = True, pages: int = 3) -> bytes:
    """Return an archive made by the library that most crawlers in Python use."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    out = io.BytesIO()
    writer = WARCWriter(out, gzip=gzip)
    writer.write_record(writer.create_warcinfo_record("x.warc.gz", {"software": "test"}))
    for number in range(pages):
        http = StatusAndHeaders(
            "200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1"
        )
        url = f"https://www.example.org/page/{number}?q=ü"
        response = writer.create_warc_record(
            url,
            "response",
            payload=io.BytesIO(PAGE * (number + 1)),
            http_headers=http,
            warc_headers_dict={"WARC-Date": f"2026-01-02T03:04:0{number}Z"},
        )
        writer.write_request_response_pair(
            writer.create_warc_record(
                url,
                "request",
                http_headers=StatusAndHeaders("GET / HTTP/1.1", [], is_http_request=True),
            ),
            response,
        )
    return out.getvalue()


def metadata() -> bytes:
    """Return a WAT file with two records, as Common Crawl writes them."""
    from warcio.warcwriter import WARCWriter

    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    for kind in ("request", "response"):
        envelope = {
            "Container": {"Gzip-Metadata": {"Deflate-Length": "1234"}},
            "Envelope": {
                "WARC-Header-Metadata": {
                    "WARC-Type": kind,
                    "WARC-Target-URI": "http://example.com/a",
                    "WARC-Date": "2026-01-02T03:04:05Z",
                    "WARC-Payload-Digest": "sha1:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
                },
                "Payload-Metadata": {
                    "HTTP-Response-Metadata": {
                        "Response-Message": {"Status": "404"},
                        "Headers": {"Content-type": "text/html;charset=x"},
                        "HTML-Metadata": {"Head": {"Title": "Gone"}},
                    }
                },
            },
        }
        payload = io.BytesIO(json.dumps(envelope).encode())
        writer.write_record(
            writer.create_warc_record(
                "http://example.com/a", "metadata", payload, warc_content_type="application/json"
            )
        )
    return out.getvalue()


async def load(service: DuckDBService, data: bytes) -> tuple[LoadSummary, list[RejectedLine]]:
    rejected: list[RejectedLine] = []
    loader = (await service.parts()).loader
    async for event in loader.load(io.BytesIO(data), name="x.warc.gz"):
        if isinstance(event, RejectedLine):
            rejected.append(event)
    assert isinstance(event, LoadSummary)
    return event, rejected


async def rows(service: DuckDBService, columns: str) -> list[tuple[Any, ...]]:
    found = await service.execute_query(f"SELECT {columns} FROM pages_analytics ORDER BY url")
    return found.data


@pytest.mark.parametrize("gzip", [True, False])
async def test_responses_become_captures_once(service: DuckDBService, gzip: bool) -> None:
    data = archive(gzip=gzip)
    summary, rejected = await load(service, data)
    assert (summary.rows_added, rejected) == (3, [])
    found = await rows(
        service,
        "url, urlkey, strftime(captured_at, '%Y%m%d%H%M%S'), status_code, mime_type, "
        "content_length, length(digest)",
    )
    lengths = [row[5] for row in found]
    assert found == [
        (
            f"https://www.example.org/page/{n}?q=ü",
            f"org,example)/page/{n}?q=%c3%bc",
            f"2026010203040{n}",
            200,
            "text/html",
            lengths[n],
            32,
        )
        for n in range(3)
    ]
    # As an index says it: what the record takes in the file, so that it can be cut out of it.
    assert all(100 < length < len(data) for length in lengths)
    assert (await load(service, data))[0].rows_added == 0


async def test_an_index_of_another_program_says_the_same(service: DuckDBService) -> None:
    from warcio.indexer import Indexer

    data, out = archive(), io.StringIO()
    indexer = Indexer(["warc-type", "offset", "length"], [], "-")
    iterator = warcio.archiveiterator.ArchiveIterator(io.BytesIO(data), no_record_parse=True)
    for record in iterator:
        indexer.process_index_entry(iterator, record, "x", out)
    entries = [json.loads(line) for line in out.getvalue().splitlines()]
    lengths = [int(each["length"]) for each in entries if each["warc-type"] == "response"]
    await load(service, data)
    assert [row[0] for row in await rows(service, "content_length")] == lengths


async def test_metadata_of_common_crawl_tells_of_its_responses(service: DuckDBService) -> None:
    summary, rejected = await load(service, metadata())
    assert (summary.rows_added, rejected) == (1, [])
    assert await rows(service, "url, status_code, mime_type, content_length, digest, title") == [
        ("http://example.com/a", 404, "text/html", 1234, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "Gone")
    ]


async def test_an_archive_without_captures_is_no_error(service: DuckDBService) -> None:
    summary, _ = await load(service, archive(pages=0))
    assert summary.rows_added == 0


async def test_a_cut_is_told_after_the_whole_records_were_loaded(service: DuckDBService) -> None:
    with pytest.raises(LoadError, match=r"x\.warc\.gz ends in the middle: record \d+: the file"):
        await load(service, archive(pages=8, gzip=False)[:-700])
    assert len(await rows(service, "url")) in (6, 7)
