"""Public sample archives against the indexes that their own projects made of them, in any order."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from chronoduck.errors import LoadError
from tests.bare_captures import BareTable, Loaded

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


WACZ = ARCHIVES / "pywb-waczs-valid_example_1.wacz"
INNER = "example-collection.warc"
_OF_TOOLS = (
    'com,example)/ 20201007212236 {"url": "http://www.example.com/", "mime": "text/html", "status": '
    '"200", "digest": "%sWJM2KPM4GF3QK2BISVUH2ASX64NOUY7L", "length": "1293", "offset": "845", '
    '"filename": "example-collection.warc"}\n'
)
TOOLS = {
    "cdxj-indexer 1.5.0": _OF_TOOLS % "sha1:",
    "pywb 2.10.0, cdxj": _OF_TOOLS % "",
    "pywb 2.10.0, cdx": " CDX N b a m s k r M S V g\ncom,example)/ 20201007212236 http://www.example.com/"
    " text/html 200 WJM2KPM4GF3QK2BISVUH2ASX64NOUY7L - - 1293 845 example-collection.warc\n",
}
"""What these programs print of the archive in the sample WACZ."""


def without_index(data: bytes) -> bytes:
    """Return a WACZ with its archives alone."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(out, "w") as other:
        for name in whole.namelist():
            if not name.startswith("indexes/"):
                other.writestr(name, whole.read(name))
    return out.getvalue()


@pytest.mark.skipif(
    not ARCHIVES.exists() and not os.environ.get("CI"), reason="the shared archives are not here"
)
def test_a_wacz_and_all_that_is_in_it_are_the_same_captures(tmp_path: Path) -> None:
    with zipfile.ZipFile(WACZ) as whole:
        archive, index = whole.read(f"archive/{INNER}"), whole.read("indexes/index.cdx.gz")
    data = WACZ.read_bytes()
    files: dict[str, tuple[bytes | str, str]] = {
        "the WACZ": (data, WACZ.name),
        "without its index": (without_index(data), WACZ.name),
        "its archive": (archive, INNER),
        "its index": (index, "index.cdx.gz"),
        **{tool: (text, "index") for tool, text in TOOLS.items()},
    }
    want = (
        "http://www.example.com/", "com,example)/", "example.com", "com", "2020-10-07 21:22:36", 200,
        "text/html", 1293, "WJM2KPM4GF3QK2BISVUH2ASX64NOUY7L", INNER, 845, None, None,
    )  # fmt: skip
    for first in files:
        table = BareTable(tmp_path)
        assert (first, table.load(*files[first])) == (first, Loaded(new=1))
        for second in files:
            again = table.load(*files[second])
            assert (first, second, again) == (first, second, Loaded(known=1))
        assert (first, table.rows()) == (first, [want])
        table.connection.close()


@pytest.mark.skipif(
    not ARCHIVES.exists() and not os.environ.get("CI"), reason="the shared archives are not here"
)
def test_the_sample_that_is_no_valid_wacz_is_refused(tmp_path: Path) -> None:
    data = (ARCHIVES / "pywb-waczs-invalid_example_1.wacz").read_bytes()
    with pytest.raises(LoadError, match="neither archives"):
        BareTable(tmp_path).load(data, "invalid_example_1.wacz")


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
