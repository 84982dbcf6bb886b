"""Data is read as the patterns that once read it would: rows of CDX JSON and lines of CDX.

The patterns are here for comparison alone: users' texts meet no backtracking engine any more.
"""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from chronoduck.transfer import chunks
from chronoduck.transfer.captures.heads import behind_date

ROW_BOUNDARY = re.compile(rb"(?<=[^\\]\")\s*\]\s*,\s*\[(\s*\]\s*,\s*\[)?(?=\s*\")")
CDX_LINE = re.compile(r"^\S+ \d{4,23} ")

PIECES = [b'"', b"]", b",", b"[", b" ", b"\n", b"\\", b"a", b'"],["', b'" ]\t,\v[ "', b"\xa0"]
JSON = st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join)


def read(blocks: list[bytes], *, formerly: bool) -> bytes:
    """Return what a chunk would hold, as ``line_chunks`` joins blocks."""
    whole, rest = b"", b""
    for block in blocks:
        data = rest + block
        if formerly:
            data = ROW_BOUNDARY.sub(lambda m: b"],\n[],\n[" if m.group(1) else b"],\n[", data)
        else:
            data = chunks._rows_on_lines(data, max(rest.rfind(b'"') - 1, 0))
        end = data.rfind(b"\n") + 1
        whole, rest = whole + data[:end], data[end:]
    return whole + rest


@settings(max_examples=400, deadline=None)
@given(st.lists(JSON, max_size=5))
def test_rows_of_cdx_json(blocks: list[bytes]) -> None:
    assert read(blocks, formerly=False) == read(blocks, formerly=True)


SIGNS = st.sampled_from("a1٣² {\t\u2003\x1c\n") | st.characters()
LINES = st.builds(
    "{}{}{}{}{}".format,
    st.text(SIGNS, max_size=3) | st.just("com,example)/"),
    st.sampled_from([" ", "  ", "\t"]),
    st.sampled_from(["2024", "20240101000000", "202401010000001", "123", "٢٠٢٤", "²²²²"]),
    st.sampled_from([" ", "", "\n"]),
    st.sampled_from(["{", "https://example.com", ""]),
)


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_lines_of_cdx(line: str) -> None:
    assert (behind_date(line) is not None) == bool(CDX_LINE.match(line))
