"""Web archives in every container: the rows of an archive are those of its index; flaws are told."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from chronoduck.errors import LoadError
from chronoduck.transfer.detect import FileFormat
from tests.bare_captures import BareTable

warcio = pytest.importorskip("warcio")
zstd = pytest.importorskip(
    "compression.zstd" if __import__("sys").version_info >= (3, 14) else "backports.zstd"
)

# The writer of the library leaves files in memory to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PAGE = b"<html><title>A page</title></html>"
FIELDS = {
    "url": "warc-target-uri",
    "mime": "http:content-type",
    "status": "http:status",
    "digest": "warc-payload-digest",
    "length": "length",
    "offset": "offset",
    "filename": "filename",
}


@pytest.fixture
def table(tmp_path: Path) -> BareTable:
    return BareTable(tmp_path)


def archive(*, is_gzip: bool = False, pages: int = 4) -> bytes:
    """Return a crawl: pages, a revisit, a resource, metadata, and what is no capture."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    out = io.BytesIO()
    writer = WARCWriter(out, gzip=is_gzip)

    def write(
        url: str, kind: str, payload: bytes, type_: str | None, day: int, **more: Any
    ) -> None:
        http = None
        if kind in ("response", "revisit"):
            http = StatusAndHeaders("200 OK", [("Content-Type", type_ or "")], protocol="HTTP/1.1")
        record = writer.create_warc_record(
            url,
            kind,
            payload=io.BytesIO(payload),
            http_headers=http,
            warc_content_type="" if http else type_ or "",
            warc_headers_dict={"WARC-Date": f"2026-01-{day:02d}T03:04:05Z", **more},
        )
        writer.write_record(record)

    writer.write_record(writer.create_warcinfo_record("x.warc.gz", {"software": "test"}))
    for n in range(1, pages + 1):
        write(
            f"https://www.example.org/Page/{n}/?b=2&a=ü",
            "response",
            PAGE * n,
            "text/html; charset=utf-8",
            n,
        )
    write(
        "http://example.org/again",
        "revisit",
        b"",
        "text/html",
        11,
        **{"WARC-Payload-Digest": "sha1:" + "A" * 32},
    )
    write("http://example.org/image.png", "resource", b"PNG", "image/png", 12)
    write("metadata://example.org/list.txt", "metadata", b"a list", "text/plain", 13)
    write("http://example.org/about", "metadata", b"a: b\r\n", "application/warc-fields", 14)
    return out.getvalue()


def index(data: bytes, name: str) -> list[dict[str, str]]:
    """Return what the library's own indexer says of an archive."""
    from warcio.indexer import Indexer

    out = io.StringIO()
    indexer = Indexer([*FIELDS.values(), "warc-date", "warc-type", "content-type"], [], "-")
    indexer.process_one(io.BytesIO(data), out, name)
    entries = []
    for line in out.getvalue().splitlines():
        entry = json.loads(line)
        kind, own = entry["warc-type"], entry.get("content-type")
        if kind in ("response", "revisit", "resource") or (
            kind == "metadata" and own == "text/plain"
        ):
            fields = {new: entry[old] for new, old in FIELDS.items() if old in entry}
            if kind == "revisit":
                fields["mime"] = "warc/revisit"
            fields.setdefault("mime", own)
            fields["timestamp"] = "".join(filter(str.isdigit, entry["warc-date"]))
            entries.append(fields)
    return entries


def as_cdxj(entries: Iterable[dict[str, str]]) -> str:
    return "".join(f"- {each['timestamp']} {json.dumps(each)}\n" for each in entries)


def as_cdx(entries: Iterable[dict[str, str]]) -> str:
    names = ("timestamp", "url", "mime", "status", "digest", "length", "offset", "filename")
    rows = "".join(
        " ".join(
            ["-", *(each.get(name, "-").split(";")[0].removeprefix("sha1:") for name in names)]
        )
        + "\n"
        for each in entries
    )
    return " CDX N b a m s k S V g\n" + rows


def as_cdx_without(entries: Iterable[dict[str, str]]) -> str:
    """Return an index that says as little as an index may: no digest, length, type or status."""
    return " CDX N b a\n" + "".join(f"- {each['timestamp']} {each['url']}\n" for each in entries)


@pytest.mark.parametrize("is_gzip", [True, False])
@pytest.mark.parametrize("form", [as_cdxj, as_cdx, as_cdx_without])
def test_an_archive_and_its_index_give_the_same_rows_in_any_order(
    tmp_path: Path, form: Any, is_gzip: bool
) -> None:
    data = archive(is_gzip=is_gzip)
    text = form(index(data, "x.warc.gz"))
    tables = []
    for files in ([data], [data, text], [text, data], [text, data, text], [text]):
        table = BareTable(tmp_path)
        for file in files:
            loaded = table.load(file, "x.warc.gz")
            assert (loaded.flaw, loaded.rejects) == (None, [])
        tables.append(table.rows())
    assert len(tables[0]) == 7
    assert tables[1] == tables[2] == tables[3] == tables[0]
    if form is not as_cdx_without:
        assert tables[4] == tables[0]


def test_a_revisit_stays_a_revisit(table: BareTable) -> None:
    table.load(archive())
    found = table.execute("SELECT count(*) FROM pages_analytics WHERE mime_type = 'warc/revisit'")
    assert found == [(1,)]


def test_the_place_in_the_file_cuts_out_the_record(table: BareTable) -> None:
    for is_gzip in (True, False):
        data = archive(is_gzip=is_gzip)
        table.execute("DELETE FROM pages_analytics")
        table.load(data, "y.warc")
        for offset, length, name in table.rows('"offset", content_length, filename'):
            assert name == "y.warc"
            record = data[offset : offset + length]  # type: ignore[operator]
            assert (gzip.decompress(record) if is_gzip else record).startswith(b"WARC/1.0\r\n")


def test_one_gzip_member_around_an_archive_is_gzip_too(table: BareTable) -> None:
    loaded = table.load(gzip.compress(archive()))
    assert (loaded.new, loaded.flaw, loaded.rejects) == (7, None, [])
    assert table.rows('DISTINCT "offset"') == [(None,)]


def plain_records(data: bytes) -> list[bytes]:
    parts = data.split(b"WARC/1.0\r\n")[1:]
    return [b"WARC/1.0\r\n" + part for part in parts]


@pytest.mark.parametrize(
    "kind", ["frames", "one frame", "dictionary", "compressed dictionary", "skippable"]
)
def test_zstandard_is_read(table: BareTable, kind: str) -> None:
    plain = archive()
    records = plain_records(plain)
    assert b"".join(records) == plain
    if kind == "one frame":
        data = zstd.compress(plain)
    elif "dictionary" in kind:
        trained = zstd.train_dict([bytes(each) for each in records for _ in range(40)], 4_000)
        content = (
            trained.dict_content if kind == "dictionary" else zstd.compress(trained.dict_content)
        )
        frame = b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content
        data = frame + b"".join(zstd.compress(each, zstd_dict=trained) for each in records)
    else:
        begin = b"\x50\x2a\x4d\x18\x04\0\0\0abcd" if kind == "skippable" else b""
        data = begin + b"".join(map(zstd.compress, records))
    loaded = table.load(data, "x.warc.zst")
    assert (loaded.new, loaded.flaw, loaded.rejects) == (7, None, [])
    offsets = [offset for (offset,) in table.rows('"offset"')]
    if kind == "one frame":
        assert set(offsets) == {None}
    else:
        assert all(data[offset : offset + 4] == b"\x28\xb5\x2f\xfd" for offset in offsets)  # type: ignore[operator]


ARC = (
    "filedesc://a.arc 0.0.0.0 20140216050221 text/plain 75\n"
    "1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
)


@pytest.mark.parametrize("is_gzip", [True, False])
def test_arc_is_read(table: BareTable, is_gzip: bool) -> None:
    body = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\n\r\n<p>hi"
    parts = [
        ARC,
        f"http://example.org/A b 192.0.2.1 20140216050221 text/html {len(body)}\n{body}\n",
        f"http://example.org/c 192.0.2.1 2014021605 text/html {len(body)}\n{body}\n",
        "dns:example.org 192.0.2.1 20140216050221 text/dns 3\nabc\n",
    ]
    parts[0] = ARC.replace("75", str(len(ARC) - ARC.index("\n") - 1))
    data = b"".join((gzip.compress(each.encode()) if is_gzip else each.encode()) for each in parts)
    loaded = table.load(data, "a.arc")
    assert (loaded.new, loaded.rejects, loaded.flaw) == (3, [], None)
    assert table.rows("url, urlkey, captured_at::VARCHAR, status_code, mime_type, digest") == [
        ("dns:example.org", "dns:example.org", "2014-02-16 05:02:21", None, "text/dns",
         sha1(b"abc")),
        ("http://example.org/A b", "org,example)/a%20b", "2014-02-16 05:02:21", 200, "text/html",
         sha1(b"<p>hi")),
        ("http://example.org/c", "org,example)/c", "2014-02-16 05:00:00", 200, "text/html",
         sha1(b"<p>hi")),
    ]  # fmt: skip
    assert all(place is not None for (place,) in table.rows('"offset"'))


def sha1(data: bytes) -> str:
    return base64.b32encode(hashlib.sha1(data).digest()).decode()


def wacz(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as whole:
        for name, content in files.items():
            whole.writestr(name, content)
    return out.getvalue()


def test_a_wacz_is_read_by_its_index_or_by_its_archives(tmp_path: Path) -> None:
    data = archive(is_gzip=True)
    lines = as_cdxj(index(data, "x.warc.gz")).encode()
    common = {"datapackage.json": b"{}", "archive/x.warc.gz": data, "pages/pages.jsonl": b"{}"}
    found = []
    for more in (
        {},
        {"indexes/index.cdx.gz": gzip.compress(lines), "indexes/index.idx": b"!meta 0 {}"},
        {"indexes/index.cdxj": lines.rstrip(b"\n"), "indexes/more.cdxj": lines},
    ):
        table = BareTable(tmp_path)
        loaded = table.load(wacz({**common, **more}), "x.wacz")
        assert (loaded.new, loaded.flaw, loaded.rejects) == (7, None, [])
        found.append(table.rows())
    assert found[0] == found[1] == found[2]


def test_a_wacz_without_captures_is_refused(table: BareTable) -> None:
    with pytest.raises(LoadError, match="neither archives"):
        table.load(wacz({"datapackage.json": b"{}", "data/archive/test.txt": b"x"}), "x.wacz")


def test_a_list_of_members_that_would_fill_the_memory_is_not_read(table: BareTable) -> None:
    name = "indexes/" + "x" * 65_000
    data = wacz({f"{name}{number}.cdx": b"" for number in range(70)})
    with pytest.raises(LoadError, match="the list of its files has"):
        table.load(data, "x.wacz")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_members_are_compressed_as_a_wacz_has_them(table: BareTable, method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as whole:
        whole.writestr("indexes/index.cdx", b" CDX N b a\n")
    data = bytearray(out.getvalue())
    if method == zipfile.ZIP_LZMA:  # it says that it needs 4 GB of memory
        at = data.index(b"\x09\x04\x05\x00") + 5
        data[at : at + 4] = b"\xff" * 4
    with pytest.raises(LoadError, match="no WACZ may use"):
        table.load(bytes(data), "x.wacz")


@pytest.mark.parametrize("where", ["record", "http"])
@pytest.mark.parametrize("line", [b"X: y\r\n", b" y\r\n"])
def test_headers_that_would_fill_the_memory_are_a_flaw_of_their_record(
    table: BareTable, where: str, line: bytes
) -> None:
    records = plain_records(archive())
    before = b"Content-Type: application/http" if where == "record" else b"Content-Type: text/html"
    more = b"X: y\r\n" + line * (1_000_000 // len(line))
    at = next(i for i, each in enumerate(records) if b"WARC-Type: response" in each)
    if where == "http":
        length = int(records[at].partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        records[at] = records[at].replace(
            b"Length: %d" % length, b"Length: %d" % (length + len(more))
        )
    records[at] = records[at].replace(before, more + before)
    loaded = table.load(b"".join(map(gzip.compress, records)))
    assert (loaded.new, loaded.flaw) == (6, None)
    assert [each.line_number for each in loaded.rejects] == [at + 1]


# --- flaws ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_gzip", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.77, 0.999])
def test_whole_records_before_a_cut_are_kept_and_the_cut_is_told(
    table: BareTable, share: float, is_gzip: bool
) -> None:
    data = archive(is_gzip=is_gzip, pages=8)
    cut = int(len(data) * share)
    entries = index(data, "x.warc")
    whole = sum(int(each["offset"]) + int(each["length"]) <= cut for each in entries)
    loaded = table.load(data[:cut], "x.warc")
    assert isinstance(loaded.flaw, OSError | EOFError)
    assert loaded.new == whole > 0


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_damage_is_told_and_what_is_before_it_kept(table: BareTable, share: float) -> None:
    data = bytearray(archive(is_gzip=True, pages=8))
    middle = int(len(data) * share)
    data[middle : middle + 40] = bytes(40)
    loaded = table.load(bytes(data), "x.warc")
    assert isinstance(loaded.flaw, OSError)
    entries = index(archive(is_gzip=True, pages=8), "x.warc")
    assert loaded.new >= sum(int(each["offset"]) + int(each["length"]) < middle for each in entries)


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            b"WARC-Target-URI: http://example.org/again\r\n",
            b"",
            "the revisit record has no WARC-Target-URI",
        ),
        (
            b"2026-01-03T03:04:05Z",
            b"2026-13-03T03:04:05Z",
            "invalid timestamp 2026-13-03T03:04:05Z",
        ),
    ],
)
def test_an_odd_record_is_counted_and_the_others_are_loaded(
    table: BareTable, old: bytes, new: bytes, reason: str
) -> None:
    loaded = table.load(replaced(archive(), old, new))
    assert (loaded.new, loaded.flaw) == (6, None)
    assert [each.reason for each in loaded.rejects] == [reason]
    assert loaded.rejects[0].line_number in (4, 6)


@pytest.mark.parametrize("is_gzip", [True, False])
def test_what_is_no_record_is_counted_and_skipped(table: BareTable, is_gzip: bool) -> None:
    records = plain_records(archive())
    records.insert(3, b"<!doctype html>\r\nnot a record\r\n\r\n")
    records[1] = records[1].replace(b"Content-Length: ", b"Content-Length: x")
    data = b"".join(gzip.compress(each) if is_gzip else each for each in records)
    loaded = table.load(data)
    assert (loaded.new, loaded.flaw) == (6, None)
    assert [each.line_number for each in loaded.rejects] == [2, 4]


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("2000-11-02T08:07Z", "2000-11-02 08:07:00"),
        ("2000-11-02", "2000-11-02 00:00:00"),
        ("2000", "2000-01-01 00:00:00"),
        ("2000-11-02T08:07:06.123456789Z", "2000-11-02 08:07:06"),
        ("2000-11-02T08:07:06+01:00", "2000-11-02 07:07:06"),
    ],
)
def test_dates_of_warc_are_read_at_every_length(table: BareTable, date: str, moment: str) -> None:
    loaded = table.load(replaced(archive(), b"2026-01-12T03:04:05Z", date.encode()))
    assert (loaded.new, loaded.rejects) == (7, [])
    assert table.rows("captured_at::VARCHAR")[0] == (moment,)


@pytest.mark.parametrize(
    ("header", "type_"),
    [(b"text/css charset=utf-8", "text/css"), (b"TEXT/CSS;a=b", "text/css"), (b"", None)],
)
def test_the_media_type_ends_at_a_space_or_semicolon(
    table: BareTable, header: bytes, type_: str | None
) -> None:
    record = plain_records(archive())[1]
    head, _, body = record.partition(b"text/html; charset=utf-8")
    old = len(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + PAGE)
    head = head.replace(
        b"Content-Length: %d" % old, b"Content-Length: %d" % (old - 24 + len(header))
    )
    loaded = table.load(head + header + body)
    assert (loaded.new, loaded.flaw) == (1, None)
    assert table.rows("mime_type") == [(type_,)]


def test_an_archive_is_no_csv(table: BareTable) -> None:
    with pytest.raises(LoadError, match="is a web archive, not csv"):
        table.load(archive(), "x.warc", FileFormat.CSV)


@pytest.mark.parametrize(("payload", "end"), [(b"x", b"\r\n"), (b"x\r\n", b"")])
def test_one_line_end_behind_a_record_is_enough(
    table: BareTable, payload: bytes, end: bytes
) -> None:
    content = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + payload
    record = (
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2020-01-02T03:04:05Z\r\n"
        b"WARC-Target-URI: http://%s.org/\r\nContent-Type: application/http\r\n"
        b"Content-Length: %d\r\n\r\n%s%s"
    )
    loaded = table.load(
        b"".join(record % (name, len(content), content, end) for name in (b"a", b"b")), "x.warc"
    )
    assert (loaded.new, loaded.rejects, loaded.flaw) == (2, [], None)


@pytest.mark.parametrize("is_gzip", [True, False])
@pytest.mark.parametrize("wrong", [-5, 30])
def test_a_length_that_is_wrong_costs_one_record_at_most(
    table: BareTable, wrong: int, is_gzip: bool
) -> None:
    records = plain_records(archive())
    head, mark, rest = records[2].partition(b"Content-Length: ")
    length, end, rest = rest.partition(b"\r\n")
    records[2] = head + mark + str(int(length) + wrong).encode() + end + rest
    loaded = table.load(b"".join(gzip.compress(each) if is_gzip else each for each in records))
    assert loaded.flaw is None
    assert loaded.new >= 6
    assert loaded.new == 7 or loaded.rejects


def test_headers_over_several_lines_and_without_a_date(table: BareTable) -> None:
    records = plain_records(archive())
    records[1] = replaced(records[1], b"\r\nWARC-Date", b"\r\nX-Long: a\r\n b\r\n\tc\r\nWARC-Date")
    date = records[2][records[2].index(b"WARC-Date") :].partition(b"\r\n")[0] + b"\r\n"
    records[2] = replaced(records[2], date, b"")
    loaded = table.load(b"".join(records))
    assert (loaded.new, loaded.flaw, len(loaded.rejects)) == (6, None, 1)
    assert loaded.rejects[0].line_number == 3
