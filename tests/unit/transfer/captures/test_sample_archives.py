"""Public sample archives against the indexes that their own projects made of them, in any order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bare_captures import BareTable

pytest.importorskip("warcio")

ARCHIVES = Path(__file__).parents[5] / "shared" / "data" / "archives"
PAIRS = [
    ("pywb-warcs-iana.warc.gz", "pywb-cdxj-iana.cdxj", 171),
    ("pywb-warcs-iana.warc.gz", "pywb-cdx-iana.cdx", 171),
    ("pywb-warcs-dupes.warc.gz", "pywb-cdx-dupes.cdx", 12),
    ("pywb-warcs-example.warc.gz", "pywb-cdxj-example.cdxj", 3),
    ("pywb-warcs-example.warc.gz", "pywb-cdxj-example-no-digest.cdxj", 3),
    ("pywb-warcs-example2.warc.gz", "pywb-cdxj-example2.cdxj", 1),
    ("pywb-warcs-post-test.warc.gz", "pywb-cdxj-post-test.cdxj", 3),
    ("pywb-warcs-httpbin-resource.warc.gz", "pywb-cdx-httpbin-resource.cdxj", 1),
]


@pytest.mark.skipif(
    not ARCHIVES.exists() and not os.environ.get("CI"), reason="the shared archives are not here"
)
@pytest.mark.parametrize(("archive", "index", "count"), PAIRS)
def test_an_archive_and_its_index_are_the_same_captures(
    tmp_path: Path, archive: str, index: str, count: int
) -> None:
    name = archive.removeprefix("pywb-warcs-")  # as the index has it
    files = [(ARCHIVES / each).read_bytes() for each in (archive, index)]
    tables = []
    for order in (files, files[::-1]):
        table = BareTable(tmp_path)
        loaded = [table.load(data, name) for data in order]
        assert [(each.rejects, each.flaw) for each in loaded] == [([], None)] * 2
        assert (loaded[0].new, loaded[1].new) == (count, 0)
        tables.append(table.rows("* EXCLUDE (created_at)"))
    assert tables[0] == tables[1]


ROWS = {
    "bad.arc": 2,  # three records, two of them of one moment
    "example-bad-non-chunked.warc.gz": 2,
    "example-bad.warc.gz.bad": 3,
    "example-digest.warc": 0,
    "example-iana.org-chunked.warc": 1,
    "example-resource.warc.gz": 1,
    "example-space-in-target-uri.warc.gz": 1,
    "example-space-in-url.arc": 0,  # its only record lacks 12 bytes at its end
    "example-trunc.warc": 1,
    "example-wget-bad-target-uri.warc.gz": 4,
    "example-wrong-chunks.warc.gz": 1,
    "example.arc": 1,
    "example.arc.gz": 1,
    "example.warc": 2,
    "example.warc.gz": 2,
    "post-test.warc.gz": 3,
}
"""Captures of warcio's samples, as cdxj-indexer counts those that it can read."""


@pytest.mark.skipif(
    not ARCHIVES.exists() and not os.environ.get("CI"), reason="the shared archives are not here"
)
def test_an_archive_that_is_loaded_again_adds_and_changes_nothing(tmp_path: Path) -> None:
    for name, count in ROWS.items():
        data = (ARCHIVES / f"warcio-{name}").read_bytes()
        table = BareTable(tmp_path)
        assert (name, table.load(data, name).new) == (name, count)
        before = table.rows("*")
        again = table.load(data, name)
        assert (name, again.new, again.filled) == (name, 0, 0)
        assert table.rows("*") == before
        table.connection.close()
