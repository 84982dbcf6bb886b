"""Loading files of captures and of other things, on a real service."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import LoadError
from chronoduck.transfer import FileFormat, LoadSummary, RejectedLine
from tests.spreadsheets import ods, xlsx

EXAMPLES = Path(__file__).parents[3] / "examples" / "data"
SHARED = Path(__file__).parents[4] / "shared" / "data" / "cdx"

CDX11 = """ CDX N b a m s k r M S V g
org,iana)/ 20140126200624 http://www.iana.org/ text/html 200 OSSA - - 2258 334 iana.warc.gz
org,iana)/about 20140126200626 http://www.iana.org/about warc/revisit - OSSB - - 553 1 iana.warc.gz
"""
CDX9 = """ CDX N b a m s k r V g
org,iana)/ 20140126200624 http://www.iana.org/ text/html 200 OSSA - 334 iana.warc.gz
"""
CDXJ = """!meta {"generator": "x"}
org,iana)/ 20140126200624 {"url": "http://www.iana.org/", "mime": "text/html", "status": "200", \
"digest": "OSSA", "length": "2258"}
"""
CDX_JSON = """[["urlkey","timestamp","original","mimetype","statuscode","digest","length"],
["org,iana)/","20140126200624","http://www.iana.org/","text/html","200","OSSA","2258"]]
"""


async def load(
    service: DuckDBService,
    data: bytes | str,
    name: str = "test.cdx",
    table: str = "pages_analytics",
    file_format: FileFormat = FileFormat.AUTO,
) -> tuple[LoadSummary, list[RejectedLine]]:
    loader = (await service.parts()).loader
    source = io.BytesIO(data.encode() if isinstance(data, str) else data)
    rejects, summary = [], None
    async for event in loader.load(source, name=name, table=table, file_format=file_format):
        if isinstance(event, RejectedLine):
            rejects.append(event)
        elif isinstance(event, LoadSummary):
            summary = event
    assert summary is not None
    assert list(service.spool_directory.iterdir()) == []
    return summary, rejects


async def rows(service: DuckDBService, sql: str) -> list[tuple[object, ...]]:
    return (await service.execute_query(sql)).data


@pytest.mark.parametrize(
    ("text", "length"), [(CDX11, 2258), (CDX9, None), (CDXJ, 2258), (CDX_JSON, 2258)]
)
async def test_every_form_of_capture_gives_the_same_row(
    service: DuckDBService, text: str, length: int | None
) -> None:
    await load(service, text)
    assert await rows(
        service,
        "SELECT url, urlkey, domain, tld, captured_at::VARCHAR, status_code, mime_type, "
        "content_length, digest, source FROM pages_analytics WHERE digest = 'OSSA'",
    ) == [
        (
            "http://www.iana.org/",
            "org,iana)/",
            "iana.org",
            "org",
            "2014-01-26 20:06:24",
            200,
            "text/html",
            length,
            "OSSA",
            "test.cdx",
        )
    ]


async def test_a_dash_is_null(service: DuckDBService) -> None:
    await load(service, CDX11)
    assert await rows(
        service, "SELECT status_code, mime_type FROM pages_analytics WHERE digest = 'OSSB'"
    ) == [(None, "warc/revisit")]


async def test_loading_twice_adds_nothing(service: DuckDBService) -> None:
    first, _ = await load(service, CDX11)
    second, _ = await load(service, CDX11, name="other.cdx")
    assert (first.rows_added, first.duplicates) == (2, 0)
    assert (second.rows_added, second.duplicates) == (0, 2)


async def test_duplicates_within_a_file_are_added_once(service: DuckDBService) -> None:
    summary, _ = await load(service, CDX11 + CDX11)
    assert (summary.rows_added, summary.duplicates, summary.rejected) == (2, 2, 0)


async def test_a_missing_digest_does_not_hide_a_duplicate(service: DuckDBService) -> None:
    line = " CDX N b a m s k r M S V g\norg,iana)/ 20140126200624 http://a/ - - - - - - - -\n"
    await load(service, line)
    summary, _ = await load(service, line)
    assert (summary.rows_added, summary.duplicates) == (0, 1)


async def test_malformed_lines_are_told_with_number_and_reason(service: DuckDBService) -> None:
    broken = CDX11 + (
        "too few fields\n"
        "org,iana)/x 20149999000000 http://x/ text/html 200 D - - 1 2 f\n"
        "org,iana)/y 20140126200626 http://y/ text/html twohundred D - - 1 2 f\n"
        "org,iana)/z 20140126200626 http://z/ text/html 200 D - - big 2 f\n"
        "- 20140126200626 - text/html 200 D - - 1 2 f\n"
    )
    summary, rejects = await load(service, broken)
    assert [reject.line_number for reject in rejects] == [4, 5, 6, 7, 8]
    assert [reject.reason.split()[0] for reject in rejects] == [
        "expected",
        "invalid",
        "invalid",
        "invalid",
        "no",
    ]
    assert rejects[0].text == "too few fields"
    assert summary.rejected == 5
    assert summary.rows_added == 2


async def test_an_invalid_object_in_cdxj_is_rejected(service: DuckDBService) -> None:
    summary, rejects = await load(service, CDXJ + "org,iana)/ 20140126200624 {broken\n")
    assert (summary.rows_added, len(rejects)) == (1, 1)
    assert rejects[0].line_number == 3


@pytest.mark.parametrize("short", ["2014", "201401", "20140126", "2014012620", "201401262006"])
async def test_short_timestamps_mean_their_first_moment(service: DuckDBService, short: str) -> None:
    await load(
        service,
        f"org,iana)/ {short} http://a/ text/html 200 D 1\n",
        file_format=FileFormat.CDX,
    )
    full = short + "00000101000000"[len(short) :]
    assert await rows(
        service, "SELECT strftime(captured_at, '%Y%m%d%H%M%S') FROM pages_analytics"
    ) == [(full,)]


async def test_a_url_key_is_made_where_the_file_has_none(service: DuckDBService) -> None:
    await load(
        service,
        '[["timestamp","original"],\n'
        '["20240101000000","https://user@WWW.Example.COM:8080/Path?Q=1#frag"],\n'
        '["20240101000000","http://example.com?q=1"],\n'
        '["20240101000000","http://example.com"]]',
    )
    assert await rows(service, "SELECT urlkey, domain, tld FROM pages_analytics ORDER BY 1") == [
        ("com,example)/", "example.com", "com"),
        ("com,example)/?q=1", "example.com", "com"),
        ("com,example:8080)/path?q=1", "example.com", "com"),
    ]


async def test_odd_hosts_are_kept_apart(service: DuckDBService) -> None:
    urls = [
        "http://p.org:8080/x",
        "http://p.org/x",
        "http://1.2.3.4/x",
        "http://[::1]:80/x",
        "filedesc://a-b.arc",
    ]
    lines = "".join(f"- 20140126200624 {url} text/html 200 SAME 1\n" for url in urls)
    summary, _ = await load(service, lines, file_format=FileFormat.CDX)
    assert summary.rows_added == len(urls)
    found = await rows(service, "SELECT url, urlkey, domain, tld FROM pages_analytics")
    assert {row[0]: row[1:] for row in found} == {
        "http://p.org:8080/x": ("org,p:8080)/x", "p.org", "org"),
        "http://p.org/x": ("org,p)/x", "p.org", "org"),
        "http://1.2.3.4/x": ("4,3,2,1)/x", "1.2.3.4", None),
        "http://[::1]:80/x": ("::1)/x", "[::1]", None),
        "filedesc://a-b.arc": ("filedesc://a-b.arc", None, None),
    }


@pytest.mark.parametrize("number", ["1e2", "20.6", "-5", "1_0", "0x1"])
async def test_only_digits_are_numbers(service: DuckDBService, number: str) -> None:
    line = "org,iana)/ 20140126200624 http://a/ text/html {} D {}\n"
    summary, rejects = await load(service, line.format(number, 1) + line.format(200, number))
    assert (summary.rows_added, len(rejects)) == (0, 2)


async def test_two_loads_at_once_add_a_capture_once(service: DuckDBService) -> None:
    text = " CDX N b a m s k r M S V g\n" + "".join(
        f"org,iana)/{n} 20140126200624 http://a/{n} text/html 200 D - - 1 2 f\n"
        for n in range(5000)
    )
    results = await asyncio.gather(*(load_unchecked(service, text) for _ in range(3)))
    assert sum(summary.rows_added for summary in results) == 5000
    assert await rows(service, "SELECT count(*) FROM pages") == [(5000,)]


async def load_unchecked(service: DuckDBService, text: str) -> LoadSummary:
    loader = (await service.parts()).loader
    events = [event async for event in loader.load(io.BytesIO(text.encode()), name="x.cdx")]
    assert isinstance(events[-1], LoadSummary)
    return events[-1]


async def test_a_second_header_with_other_columns_is_told(service: DuckDBService) -> None:
    summary, rejects = await load(service, CDX11 + CDX11 + CDX9)
    assert [reject.reason for reject in rejects] == [
        "invalid timestamp CDX",
        "expected 11 fields, found 9",
    ]
    assert summary.rows_added == 2


async def test_a_servers_empty_answer_is_no_error(service: DuckDBService) -> None:
    for text in ("[]", "[[]]\n"):
        summary, _ = await load(service, text)
        assert summary.rows_added == 0


async def test_language_and_title_are_kept_where_the_index_has_them(
    service: DuckDBService,
) -> None:
    await load(
        service,
        'org,iana)/ 20140126200624 {"url": "http://a/", "languages": "deu,eng", "title": "A"}\n',
    )
    assert await rows(service, "SELECT language, title FROM pages") == [("deu", "A")]


@pytest.mark.parametrize("name", ["x.csv", "x.json"])
async def test_a_broken_line_in_another_file_loads_nothing_and_names_the_file(
    service: DuckDBService, name: str
) -> None:
    data = {"x.csv": b"id,n\n1,2\n3,4,5\n", "x.json": b'{"a":1}\n{broken\n'}[name]
    with pytest.raises(LoadError) as caught:
        await load(service, data, name=name, table="t")
    assert str(service.spool_directory) not in caught.value.detail
    assert await rows(service, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 't'") == [
        (0,)
    ]


async def test_server_json_on_one_line_is_understood(service: DuckDBService) -> None:
    text = '[["timestamp","original"],["20240101000000","http://a/],["], ["20240102000000","http://c/"]]'
    summary, rejects = await load(service, text)
    assert (summary.rows_added, rejects) == (2, [])
    assert ("http://a/],[",) in await rows(service, "SELECT url FROM pages_analytics")


async def test_gzip_zstd_and_line_ends_of_windows_are_understood(service: DuckDBService) -> None:
    lines = CDX11.splitlines(keepends=True)
    members = gzip.compress(lines[0].encode()) + gzip.compress("".join(lines[1:]).encode())
    summary, _ = await load(service, members)
    assert summary.rows_added == 2
    zst = pa.compress(CDX11.replace("\n", "\r\n").encode(), codec="zstd", asbytes=True)
    summary, rejects = await load(service, zst)
    assert (summary.duplicates, rejects) == (2, [])


async def test_a_gzip_file_cut_in_the_middle_is_an_error(service: DuckDBService) -> None:
    data = gzip.compress((CDX11 * 2000).encode())
    with pytest.raises(LoadError, match=r"cannot be read|ends in the middle"):
        await load(service, data[: len(data) // 2])


async def test_bytes_that_are_no_text_do_not_stop_a_load(service: DuckDBService) -> None:
    data = CDX11.encode().replace(b"about", b"\xff\x00ab")
    summary, _ = await load(service, data)
    assert summary.rows_added == 2


async def test_a_line_of_two_megabytes_is_a_capture_still(service: DuckDBService) -> None:
    line = f"org,iana)/ 20140126200624 http://a/{'x' * 2_000_000} text/html 200 D 1\n"
    summary, _ = await load(service, line)
    assert summary.rows_added == 1


@pytest.mark.parametrize("data", [b"", b"  \n", b"hello world\n", b"BZh91AY"])
async def test_what_is_no_file_of_captures_is_refused(service: DuckDBService, data: bytes) -> None:
    with pytest.raises(LoadError) as caught:
        await load(service, data)
    assert "test.cdx" in caught.value.detail


async def test_a_header_without_a_date_is_refused(service: DuckDBService) -> None:
    with pytest.raises(LoadError, match="header"):
        await load(service, " CDX N a m\norg,iana)/ http://a text/html\n")


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
async def test_other_files_go_into_any_table(service: DuckDBService, kind: str) -> None:
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), sink)
        data = sink.getvalue()
    else:
        data = {"csv": b"a,b\n1,x\n2,y\n", "json": b'{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n'}[kind]
    for _ in range(2):
        summary, _ = await load(service, data, name=f"file.{kind}", table="my table")
        assert summary.rows_added == 2
    assert await rows(service, 'SELECT a, b FROM "my table" ORDER BY a') == [
        (1, "x"),
        (1, "x"),
        (2, "y"),
        (2, "y"),
    ]


async def test_a_file_that_does_not_fit_its_table_changes_nothing(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (a INTEGER)")
    with pytest.raises(LoadError, match="other"):
        await load(service, b"other\n1\n", name="x.csv", table="t")
    assert await rows(service, "SELECT count(*) FROM t") == [(0,)]


async def test_a_table_name_is_never_sql(service: DuckDBService) -> None:
    await load(service, b"a\n1\n", name="x.csv", table='t"; DROP TABLE pages; --')
    assert len(await rows(service, "SHOW TABLES")) == 1
    with pytest.raises(LoadError, match="table name"):
        await load(service, b"a\n1\n", name="x.csv", table="a.b.c")


async def test_captures_do_not_go_into_another_table(service: DuckDBService) -> None:
    with pytest.raises(LoadError, match="pages_analytics"):
        await load(service, CDX11, table="other")


async def test_the_examples_load_completely(service: DuckDBService) -> None:
    for file in sorted(EXAMPLES.iterdir()):
        if file.suffix == ".md" or file.name.startswith("LICENSE"):
            continue
        summary, rejects = await load(service, file.read_bytes(), name=file.name)
        assert rejects == []
        assert summary.rows_added + summary.duplicates > 0
    domains = dict(
        await rows(service, "SELECT domain, count(*) FROM pages GROUP BY 1 ORDER BY 2 DESC")
    )
    assert domains["example.com"] > 10_000
    assert domains["twitter.com"] > 1_400


@pytest.mark.skipif(
    not SHARED.exists() and not os.environ.get("CI"), reason="the shared captures are not here"
)
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("iana.cdx", 171),
        ("iana.cdxj", 171),
        ("archive-it-sfpl.cdx", 67),
        ("sandcrawler.cdx", 20),
        ("rud.is.cdx", 9),
        ("live-20120312.cdx.gz", 16_837),
        ("twitter-user.cdx-api.json", 37),
        ("bad.cdx", 4),
        ("dupes.cdx", 12),
    ],
)
async def test_real_files_of_every_kind_load_without_a_loss(
    service: DuckDBService, name: str, count: int
) -> None:
    summary, rejects = await load(service, (SHARED / name).read_bytes(), name=name)
    assert rejects == []
    assert summary.rows_added + summary.duplicates == count


@pytest.mark.parametrize("file_format", [FileFormat.AUTO, FileFormat.ODS])
async def test_a_spreadsheet_is_read_by_its_content(
    service: DuckDBService, file_format: FileFormat
) -> None:
    await load(service, ods([["n"], ["A"]]), "prices.ods", "sheets", file_format)
    await load(service, xlsx({"One": [["n"], ["B"]]}), "prices.xlsx", "sheets")
    assert await rows(service, "FROM sheets ORDER BY n") == [("A",), ("B",)]
