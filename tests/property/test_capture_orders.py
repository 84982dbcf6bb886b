"""Archives, indexes and rows of the same captures, in any order and pieces, give the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronoduck.transfer.captures.table_rows import add_captures
from chronoduck.transfer.table_columns import columns_of
from tests.bare_captures import BareTable

HEADER = " CDX N b a m s k S V g\n"
FIELDS = ["url", "captured_at", "mime_type", "status_code", "digest", "content_length"]


class Capture(NamedTuple):
    """What a source knows of a capture."""

    page: int
    digest: str | None
    status: int | None
    length: int | None

    @property
    def mime_type(self) -> str | None:
        return None if self.status is None else f"text/x-{self.status}-{self.length}"

    def line(self) -> str:
        facts = [self.mime_type or "unk", self.status, self.digest, self.length]
        place = [None, None] if self.digest is None else [7, "a.warc.gz"]
        start = ["-", 20200102030405, f"http://a.org/{self.page}"]
        return " ".join("-" if each is None else str(each) for each in start + facts + place) + "\n"

    def row(self) -> str:
        values = (self.mime_type, self.status, self.digest, self.length)
        texts = ", ".join("NULL" if each is None else f"'{each}'" for each in values)
        return f"('http://a.org/{self.page}', '2020-01-02 03:04:05', {texts})"


def without_digest(capture: Capture) -> Capture:
    return capture._replace(digest=None)


def date_alone(capture: Capture) -> Capture:
    return Capture(capture.page, None, None, None)


TRUE_CAPTURES = st.lists(
    st.builds(
        Capture,
        st.integers(0, 1),
        st.sampled_from("ABC"),
        st.sampled_from([200, 301]),
        st.sampled_from([5, 9]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda capture: (capture.page, capture.digest),
)


@st.composite
def loads(draw: st.DrawFn) -> list[tuple[bool, list[Capture]]]:
    """Draw loads, each of an index (True) or of rows, with some views of some captures."""
    captures = draw(TRUE_CAPTURES)
    views = st.sampled_from([Capture._make, without_digest, date_alone])
    seen = [view(each) for each in captures for view in draw(st.lists(views, max_size=3))]
    seen = draw(st.permutations(seen))
    ends = sorted(draw(st.lists(st.integers(0, len(seen)), max_size=3)))
    pieces = [seen[a:b] for a, b in zip([0, *ends], [*ends, len(seen)], strict=True)]
    return [(draw(st.booleans()), piece) for piece in pieces if piece]


def rows_of(seen: set[Capture]) -> set[Capture]:
    """Return what there is to be told apart: a view adds nothing that a fuller one of its kind has."""
    return {
        capture
        for capture in seen
        if not any(
            other != capture
            and other.page == capture.page
            and capture.digest is None
            and (other.digest is not None or capture.status is None)
            and capture.status in (None, other.status)
            and capture.length in (None, other.length)
            for other in seen
        )
    }


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(loads=loads())
def test_the_order_and_the_pieces_make_no_difference(
    loads: list[tuple[bool, list[Capture]]], tmp_path: Path
) -> None:
    table = BareTable(tmp_path)
    columns = columns_of(table, "pages_analytics")
    names = ", ".join(FIELDS)

    def load(is_index: bool, piece: list[Capture]) -> int:
        if is_index:
            return table.load(HEADER + "".join(each.line() for each in piece)).new
        types = {column.name: column.type for column in columns}
        typed = ", ".join(f"{name}::{types[name]} AS {name}" for name in FIELDS)
        rows = (
            f"SELECT {typed} FROM (VALUES {', '.join(each.row() for each in piece)}) AS _({names})"
        )
        return add_captures(table, rows, columns, FIELDS)[0]

    added = sum(load(is_index, piece) for is_index, piece in loads)
    seen = {capture for _, piece in loads for capture in piece}
    found = table.rows(
        "split_part(url, '/', -1)::INT, digest, status_code, content_length, mime_type"
    )
    of_an_index = {capture for is_index, piece in loads if is_index for capture in piece}
    want = [
        (*capture, capture.mime_type or ("unk" if capture in of_an_index else None))
        for capture in rows_of(seen)
    ]
    assert sorted(found, key=str) == sorted(want, key=str)
    assert added == len(want)
    before = table.rows("*")
    assert [load(is_index, piece) for is_index, piece in loads] == [0] * len(loads)
    assert table.rows("*") == before
    table.connection.close()
