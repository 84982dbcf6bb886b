"""Known dirt in indexes is repaired on request, marked and counted; all else stays a malformed line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.transfer.captures.repair import repaired_line
from chronoduck.transfer.detect import Detected, FileFormat
from tests.bare_captures import BareTable

HEADER = " CDX N b a m s k r M S V g\n"
COLUMNS = (
    "urlkey, url, strftime(captured_at, '%Y%m%d%H%M%S'), mime_type, status_code, content_length, "
    "repaired"
)


@pytest.fixture
def table(tmp_path: Path) -> BareTable:
    return BareTable(tmp_path)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (
            "org,example)/a 20000800241623 http://example.org/a text/html 200 D - - 1 2 f",
            (
                "org,example)/a",
                "http://example.org/a",
                "20000824162300",
                "text/html",
                200,
                1,
                "date 20000800241623",
            ),
        ),
        (
            "org,example)/a 20210231120000 http://example.org/a text/html 200 D - - 1 2 f",
            (
                "org,example)/a",
                "http://example.org/a",
                "20210228120000",
                "text/html",
                200,
                1,
                "date 20210231120000",
            ),
        ),
        (
            "org,example)/a 20211399256199 http://example.org/a text/html 200 D - - 1 2 f",
            (
                "org,example)/a",
                "http://example.org/a",
                "20211231235959",
                "text/html",
                200,
                1,
                "date 20211399256199",
            ),
        ),
        (
            "org,example)/a 20200102030405 http://example.org/a text/html html> D - - big 2 f",
            (
                "org,example)/a",
                "http://example.org/a",
                "20200102030405",
                "text/html",
                None,
                None,
                "status html>, length big",
            ),
        ),
        (
            "org,example)/a 20200102030405 http://example.org/a text/html 200OK D - - 1 2 f",
            (
                "org,example)/a",
                "http://example.org/a",
                "20200102030405",
                "text/html",
                200,
                1,
                "status 200OK",
            ),
        ),
        (
            "org,example)/a b c 20200102030405 http://example.org/a b c text/html 200 D - - 1 2 f",
            (
                "org,example)/a%20b%20c",
                "http://example.org/a%20b%20c",
                "20200102030405",
                "text/html",
                200,
                1,
                "spaces",
            ),
        ),
        (
            "org,example)/a 20200102030405 http://example.org/a text/html charset=utf-8 200 D - - 1 2 f",
            (
                "org,example)/a",
                "http://example.org/a",
                "20200102030405",
                "text/html",
                200,
                1,
                "spaces",
            ),
        ),
    ],
)
def test_known_dirt_is_repaired_and_marked(
    table: BareTable, line: str, row: tuple[object, ...]
) -> None:
    text = f"{HEADER}{line}\n"
    assert [each.line_number for each in table.load(text).rejects] == [2]
    loaded = table.load(text, repairs=True)
    assert (loaded.new, loaded.repaired, loaded.rejects) == (1, 1, [])
    assert table.rows(COLUMNS) == [row]
    assert table.load(text, repairs=True).known == 1


def test_every_form_of_index_is_repaired(table: BareTable) -> None:
    fields = {"url": "http://example.org/a", "status": "=", "digest": "sha1:D1"}
    texts = [
        f"org,example)/a 20210231120000 {json.dumps(fields)}\n",
        json.dumps({"urlkey": "org,example)/a", "timestamp": "20210231120000", **fields}) + "\n",
        (
            '[["timestamp","original","statuscode","digest"],\n'
            '["20210231120000","http://example.org/a","=","D1"]]\n'
        ),
    ]
    for text in texts:
        assert table.load(text, repairs=True).repaired == 1
    assert table.rows("repaired, status_code, digest") == [
        ("date 20210231120000, status =", None, "D1")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "too few",
        "k tomorrow http://a/ - - D - - 1 2 f",
        "- 20200102030405 - text/html 2x D - - 1 2 f",
        "k 0000 u - - D - - 1 2 f",
    ],
)
def test_what_would_be_a_guess_stays_malformed(table: BareTable, line: str) -> None:
    good = "org,example)/a 20200102030405 http://example.org/a text/html 200 D - - 1 2 f"
    loaded = table.load(f"{HEADER}{line}\n{good}\n", repairs=True)
    assert (loaded.new, loaded.repaired) == (1, 0)
    assert [each.text for each in loaded.rejects] == [line]


def test_good_lines_are_not_marked(table: BareTable) -> None:
    table.load(f"{HEADER}org,example)/a 2020 http://example.org/a - - - - - - - -\n", repairs=True)
    assert table.rows("repaired") == [(None,)]


@given(st.text(alphabet='0123456789 -/:abc{}[]",%\u0663', max_size=80))
def test_no_line_is_too_odd_to_be_looked_at(line: str) -> None:
    for detected in (
        Detected(FileFormat.CDX, ("urlkey", "timestamp", "original", "mimetype", "statuscode")),
        Detected(FileFormat.CDX_JSON, ("timestamp", "original")),
        Detected(FileFormat.CDXJ),
    ):
        made = repaired_line(line, 1, detected)
        assert made is None or json.loads(made)["repaired"]


def test_spaces_in_the_key_of_an_object_line_are_repaired(table: BareTable) -> None:
    text = (
        'file:///a/Markey Cover.jpg 20150302105133 {"url":"file:///a/Markey Cover.jpg","length":"7"}\n'
        'com,a)/ 20150302104602 {"url":"http://a.com/"}\n'
    )
    loaded = table.load(text, repairs=True)
    assert (loaded.new, loaded.repaired, loaded.rejects) == (2, 1, [])
    assert table.rows("url, captured_at::VARCHAR, content_length, repaired") == [
        ("file:///a/Markey Cover.jpg", "2015-03-02 10:51:33", 7, "spaces"),
        ("http://a.com/", "2015-03-02 10:46:02", None, None),
    ]
