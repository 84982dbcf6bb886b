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
