"""Indexes in every form that archives and their tools write: fields, dates, keys, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from chronoduck.errors import LoadError
from tests.bare_captures import BareTable

DIGEST = "B2LTWWPUOYAH7UIPQ7ZUPQ4VMBSVC36A"
HEX = "0e973b59f476007fd10f87f347c3956065516fc0"  # the same bytes
HEADER = " CDX N b a m s k r M S V g\n"


@pytest.fixture
def table(tmp_path: Path) -> BareTable:
    return BareTable(tmp_path)


def cdxj(**fields: str) -> str:
    date = fields.pop("date", "20200102030405")
    shown = ", ".join(f'"{name}": "{value}"' for name, value in fields.items())
    return f"org,example)/a {date} {{{shown}}}\n"


@pytest.mark.parametrize(
    "digest",
    [
        DIGEST,
        f"sha1:{DIGEST}",
        f"SHA1:{DIGEST}",
        f"sha1:{DIGEST.lower()}",
        HEX,
        f"sha1:{HEX}",
        HEX.upper(),
    ],
)
def test_a_digest_has_one_form(table: BareTable, digest: str) -> None:
    table.load(cdxj(url="http://example.org/a", digest=digest))
    assert table.rows("digest") == [(DIGEST,)]
    assert table.load(cdxj(url="http://example.org/a", digest=DIGEST)).known == 1


@pytest.mark.parametrize("digest", ["sha-256:aa", "md5:abc", "D1", "sha256:0e97"])
def test_other_digests_stay_as_they_are(table: BareTable, digest: str) -> None:
    table.load(cdxj(url="http://example.org/a", digest=digest))
    assert table.rows("digest") == [(digest,)]


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("2020", "2020-01-01 00:00:00"),
        ("202003", "2020-03-01 00:00:00"),
        ("20200304", "2020-03-04 00:00:00"),
        ("2020030405", "2020-03-04 05:00:00"),
        ("202003040506", "2020-03-04 05:06:00"),
        ("20200304050607", "2020-03-04 05:06:07"),
        ("202003040506078", "2020-03-04 05:06:07"),
        ("20200304050607891", "2020-03-04 05:06:07"),
        ("20200304050607891234567", "2020-03-04 05:06:07"),
        ("2020-03", "2020-03-01 00:00:00"),
        ("2020-03-04", "2020-03-04 00:00:00"),
        ("2020-03-04T05:06Z", "2020-03-04 05:06:00"),
        ("2020-03-04T05:06:07Z", "2020-03-04 05:06:07"),
        ("2020-03-04T05:06:07.123456789Z", "2020-03-04 05:06:07"),
    ],
)
def test_dates_of_every_length_are_read(table: BareTable, date: str, moment: str) -> None:
    loaded = table.load(
        HEADER.replace("k r M S V g", "k") + f"k {date} http://example.org/a - - D\n"
    )
    assert loaded.rejects == []
    assert table.rows("captured_at::VARCHAR") == [(moment,)]
    if date.isdecimal():
        assert table.load(cdxj(url="http://example.org/a", date=date, digest="D")).known == 1


@pytest.mark.parametrize(
    "date", ["202", "20201", "20201301", "20200800241623", "2020-1-2", "tomorrow", "-"]
)
def test_other_dates_are_rejected_and_named(table: BareTable, date: str) -> None:
    loaded = table.load(
        HEADER.replace("k r M S V g", "k") + f"k {date} http://example.org/a - - D\n"
    )
    assert [each.reason for each in loaded.rejects] == [f"invalid timestamp {date}"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("text/html; charset=utf-8", "text/html"),
        ("text/html;charset=utf-8", "text/html"),
        ("text/html charset=utf-8", "text/html"),
        ("Text/HTML", "text/html"),
        (" text/html", "text/html"),
        ("warc/revisit", "warc/revisit"),
        ("-", None),
        ("", None),
    ],
)
def test_a_media_type_is_without_parameters(table: BareTable, given: str, kept: str | None) -> None:
    table.load(cdxj(url="http://example.org/a", mime=given))
    assert table.rows("mime_type") == [(kept,)]


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ";", "|"])
@pytest.mark.parametrize("begin", ["", "\ufeff", "\r\n"])
def test_fields_follow_the_letters_of_the_header(
    table: BareTable, delimiter: str, begin: str
) -> None:
    letters = ["", "CDX", *"AbeamskrMtSvg"]
    values = [
        *(
            "example.org/A.html",
            "20010424210551",
            "192.0.2.1",
            "example.org:80/A.html",
            "text/html",
        ),
        *("200", "D1", "-", "-", "Title", "5750", "77", "a.arc"),
    ]
    text = begin + delimiter.join(letters) + "\r\n" + delimiter.join(values) + "\r\n"
    loaded = table.load(text)
    assert (loaded.new, loaded.rejects) == (1, [])
    assert table.rows() == [
        (
            *("example.org:80/A.html", "org,example)/a.html", "example.org", "org"),
            *("2001-04-24 21:05:51", 200, "text/html", 5750, "D1", "a.arc", 77, "Title", None),
        )
    ]


def test_a_canonized_url_alone_is_url_and_key(table: BareTable) -> None:
    table.load(" CDX A b m\nwww.example.org/A.html 20010424210551 text/html\n")
    assert table.rows("url, urlkey, domain") == [
        ("www.example.org/A.html", "org,example)/a.html", "example.org")
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_key(table: BareTable) -> None:
    table.load(f"\ufefforg,example)/a 20200102030405 - text/html 200 {DIGEST} 1\n")
    assert table.rows("urlkey, url") == [("org,example)/a", "http://example.org/a")]


def test_a_csv_with_a_column_called_cdx_is_no_cdx(table: BareTable) -> None:
    with pytest.raises(LoadError, match="is not CDX"):
        table.load("CDX,name\n1,2\n")


def test_the_key_is_made_of_the_url_whatever_the_index_says(table: BareTable) -> None:
    for key in (
        "org,example)/dir",
        "org,example)/dir/",
        "example.org/dir",
        "http://example.org/dir/",
        "-",
    ):
        table.load(f"{key} 20200102030405 http://example.org/dir/ text/html 200 {DIGEST} 303\n")
    assert table.rows("urlkey") == [("org,example)/dir",)]


def test_a_key_counts_where_there_is_no_url(table: BareTable) -> None:
    table.load(
        f"org,example)/a?b 20200102030405 - text/html 200 {DIGEST} 303\n"
        f"gov,epa)/ 20200102030405 some/not/even/url text/html 200 {DIGEST} 303\n"
    )
    assert table.rows("urlkey, url, domain") == [
        ("gov,epa)/", "some/not/even/url", "epa.gov"),
        ("org,example)/a?b", "http://example.org/a?b", "example.org"),
    ]


def test_openwayback_s_own_cdxj_is_read(table: BareTable) -> None:
    table.load(
        "!OpenWayback-CDXJ 1.0\n"
        '(org,example,)/> 2015-09-03T13:27:52Z response {"uri":"http://example.org/","hsc":200,'
        f'"mct":"text/html","sha":"sha1:{DIGEST}","rle":9}}\n'
    )
    assert table.rows("urlkey, captured_at::VARCHAR, status_code, mime_type, digest") == [
        ("org,example)/", "2015-09-03 13:27:52", 200, "text/html", DIGEST)
    ]


@pytest.mark.parametrize(
    "text",
    [
        (
            '[["urlkey","timestamp","original"],\n["org,example)/","20020120142510","http://example.org/"],\n'
            '[],\n["org%2Cexample%29%2F+20020120142511"]]'
        ),
        (
            '[["urlkey","timestamp","original"],["org,example)/","20020120142510","http://example.org/"],'
            '[],["org%2Cexample%29%2F+20020120142511"]]'
        ),
        (
            "org,example)/ 20020120142510 http://example.org/ text/html 200 D 1\n\n"
            "org%2Cexample%29%2F+20020120142511\n"
        ),
    ],
)
def test_a_resume_key_is_reported_and_is_no_bad_line(table: BareTable, text: str) -> None:
    loaded = table.load(text)
    assert (loaded.new, loaded.rejects) == (1, [])
    assert loaded.resume_key == "org%2Cexample%29%2F+20020120142511"


@pytest.mark.parametrize(
    ("text", "indexed"),
    [
        (
            (
                '!meta 0 {"format": "cdxj-gzip-1.0", "filename": "index.cdx.gz"}\n'
                'org,example)/ 20140127171200 {"offset": 0, "length": 1234, "filename": "index.cdx.gz"}\n'
            ),
            "index.cdx.gz",
        ),
        (
            'org,example)/ 20140127171200 {"offset": 0, "length": 1234, "filename": "b.cdxj"}\n',
            "b.cdxj",
        ),
        ("com,example)/ 20140127171200\tzipnum\t0\t275\t1\n", "zipnum"),
        ("com,example)/ 20140127171200\tcdx-00000.gz\t0\t188224\t1\n", "cdx-00000.gz"),
        ('!meta 0 {"format": "cdxj-gzip-1.0"}\n', "another index"),
    ],
)
def test_a_secondary_index_is_refused_by_name(table: BareTable, text: str, indexed: str) -> None:
    with pytest.raises(LoadError, match="x is a secondary index") as caught:
        table.load(text)
    assert indexed in caught.value.detail


@pytest.mark.parametrize("is_compressed", [True, False])
@pytest.mark.parametrize("lines", [10, 4_000, 200_000])
def test_whole_lines_before_a_cut_are_kept(
    table: BareTable, lines: int, is_compressed: bool
) -> None:
    line = "org,example)/{0} 20200102030405 http://example.org/{0} text/html 200 D 1\n"
    text = "".join(line.format(n) for n in range(lines)).encode()
    data = gzip.compress(text, 1)[:-40] if is_compressed else text
    loaded = table.load(data)
    if not is_compressed:
        assert (loaded.new, loaded.flaw) == (lines, None)
        return
    assert isinstance(loaded.flaw, EOFError)
    assert lines * 0.9 - 8 <= loaded.new < lines
    assert loaded.rejects == []
    assert table.rows("count(*), max(urlkey)")[0][0] == loaded.new


def test_a_missing_digest_hides_no_duplicate_and_is_filled_in(table: BareTable) -> None:
    bare = "org,example)/a 20200102030405 http://example.org/a - - - -\n"
    full = cdxj(
        url="http://example.org/a",
        mime="text/html",
        status="200",
        digest=f"sha1:{DIGEST}",
        length="303",
        offset="7",
        filename="a.warc.gz",
    )
    assert table.load(bare).new == 1
    loaded = table.load(full)
    assert (loaded.new, loaded.known, loaded.filled) == (0, 1, 1)
    filled = table.rows()
    assert table.load(bare).filled == 0
    other = BareTable(table._directory)
    other.load(full)
    other.load(bare)
    assert other.rows() == filled


def test_of_a_capture_twice_in_a_file_the_first_place_counts_and_is_completed(
    table: BareTable,
) -> None:
    text = (
        f"{HEADER}"
        f"- 20200102030405 http://a.org/ - - {DIGEST} - - 9 1000 a.warc.gz\n"
        f"- 20200102030405 http://a.org/ text/html 200 {DIGEST} - - 9 900 a.warc.gz\n"
        f"- 20200102030405 http://a.org/ - 404 {HEX} - - - - -\n"
        f"- 20200102030405 http://b.org/ - - {DIGEST} - - 7 1 a.warc.gz\n"
    )
    loaded = table.load(text)
    assert (loaded.new, loaded.known, loaded.rejects) == (2, 2, [])
    columns = 'url, mime_type, status_code, content_length, "offset"'
    rows = table.rows(columns)
    assert rows == [
        ("http://a.org/", "text/html", 200, 9, 900),
        ("http://b.org/", None, None, 7, 1),
    ]
    again = table.load(text)
    assert (again.new, again.known, again.filled) == (0, 4, 0)
    assert table.rows(columns) == rows


def test_lines_of_nine_letters_with_spaces_and_with_nothing_in_them(table: BareTable) -> None:
    text = (
        " CDX N b a m s k r V g\n"
        "org,example)/a 20200304 http://example.org/a text/html 200 D1 - 77 a.arc.gz\n"
        "org,example)/b 20200305 http://example.org/b c text/html 200 D2 - 78 a.arc.gz\n"
        "org,example)/c 20200306 http://example.org/c - - - - - -\n"
        "- - - - - - - - -\n"
    )
    loaded = table.load(text)
    assert [each.line_number for each in loaded.rejects] == [3, 5]
    columns = "url, captured_at::VARCHAR, mime_type, status_code, digest, filename"
    columns += ', "offset", content_length'
    assert table.rows(columns) == [
        ("http://example.org/a", "2020-03-04 00:00:00", "text/html", 200, "D1", "a.arc.gz", 77, None),
        ("http://example.org/c", "2020-03-06 00:00:00", None, None, None, None, None, None),
    ]  # fmt: skip
