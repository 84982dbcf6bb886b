"""The log's messages: keys of what a snapshot shows, and an error for whatever is not understood."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.sync import SyncSourceError
from chronoduck.sync.pgoutput import Changes, Snapshot, read_lsn, write_lsn

TABLE, OTHER = 16387, 16390
ALL = Snapshot(1_000, 1_000, frozenset())
COMMIT = b"C" + bytes(25)


def begin(xid: int = 733, lsn: int = 0x192C1E8) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, 0, xid)


def relation(*columns: str, key: tuple[str, ...] = ("id",), identity: str = "d") -> bytes:
    described = b"".join(
        bytes([name in key]) + name.encode() + b"\0" + struct.pack(">Ii", 20, -1)
        for name in columns
    )
    head = struct.pack(">I", TABLE) + b"public\0t\0" + identity.encode()
    return b"R" + head + struct.pack(">h", len(columns)) + described


def row(*values: str | None) -> bytes:
    parts = [
        b"n" if value is None else b"u" if value == "?" else
        b"t" + struct.pack(">i", len(value.encode())) + value.encode()
        for value in values
    ]  # fmt: skip
    return struct.pack(">h", len(values)) + b"".join(parts)


def change(kind: str, *rows: tuple[str, bytes], table: int = TABLE) -> bytes:
    told = b"".join(part.encode() + each for part, each in rows)
    return kind.encode() + struct.pack(">I", table) + told


def taken(*messages: bytes, snapshot: Snapshot = ALL, key: tuple[str, ...] = ("id",)) -> Changes:
    changes = Changes(frozenset([TABLE]), key, snapshot)
    for message in messages:
        changes.take(message)
    return changes


def test_what_a_server_of_version_15_sent_is_understood() -> None:
    found = taken(
        b"B\x00\x00\x00\x00\x01\x92\xc38\x00\x03\x04\x11\x83P\x90\x1a\x00\x00\x02\xdf",
        b"R\x00\x00@\x03public\x00t\x00d\x00\x01\x01id\x00\x00\x00\x00\x14\xff\xff\xff\xff",
        b"I\x00\x00@\x03N\x00\x01t\x00\x00\x00\x011",
        b"U\x00\x00@\x03K\x00\x01t\x00\x00\x00\x011N\x00\x01t\x00\x00\x00\x012",
        b"D\x00\x00@\x03K\x00\x01t\x00\x00\x00\x017",
        b"C\x00\x00\x00\x00\x00\x01\x92\xc38\x00\x00\x00\x00\x01\x92\xc3h\x00\x03\x04\x11\x83P\x90\x1a",
    )
    assert found.keys == {("1",), ("2",), ("7",)}
    assert found.first_hidden is None
    assert found.why_whole is None
    truncation = b"T\x00\x00\x00\x01\x00\x00\x00@\x03"
    assert taken(begin(), truncation).why_whole == "the table was truncated"
    assert taken(begin(), truncation.replace(b"\x03", b"\x09")).why_whole is None


def test_transactions_that_the_snapshot_does_not_show_are_left_for_later() -> None:
    snapshot = Snapshot.of("700:740:710,733")
    described = relation("id")
    found = taken(
        *(begin(733, 50), described, change("I", ("N", row("1"))), COMMIT),
        *(begin(720, 60), change("I", ("N", row("2"))), COMMIT),
        *(begin(741, 70), change("I", ("N", row("3"))), b"T" + struct.pack(">iBI", 1, 0, TABLE)),
        snapshot=snapshot,
    )
    assert found.keys == {("2",)}
    assert found.first_hidden == 50
    assert found.why_whole is None


def test_a_row_whose_key_the_log_does_not_tell_is_not_guessed() -> None:
    wide = relation("id", "v", key=("id", "v"), identity="f")
    kept = taken(begin(), wide, change("U", ("O", row("1", "x")), ("N", row("?", "y"))))
    assert kept.keys == {("1",)}
    lost = taken(begin(), relation("id", "v"), change("U", ("N", row("?", "y"))))
    assert lost.why_whole
    assert taken(begin(), relation("id", "v", key=("v",))).why_whole
    assert taken(begin(), relation("v", key=("v",))).why_whole
    empty = taken(begin(), wide, change("D", ("O", row(None, "x"))))
    assert empty.why_whole


def test_changes_of_other_tables_are_passed_over() -> None:
    found = taken(begin(), relation("id"), change("I", ("N", row("1")), table=OTHER))
    assert (found.keys, found.count) == (set(), 0)


VALID = [
    begin(),
    relation("id", "v"),
    change("I", ("N", row("1", "a"))),
    change("U", ("K", row("1", None)), ("N", row("2", "?"))),
    change("D", ("K", row("1", None))),
]


@pytest.mark.parametrize("message", VALID, ids=lambda each: chr(each[0]))
def test_a_message_that_ends_early_is_an_error(message: bytes) -> None:
    for size in range(1, len(message)):
        with pytest.raises(SyncSourceError):
            taken(begin(), relation("id", "v"), message[:size])


@pytest.mark.parametrize(
    "message",
    [
        b"S\x00\x00\x00\x01",
        change("I", ("O", row("1"))),
        change("U", ("K", row("1"))),
        change("I", ("X", row("1"))),
        change("D", ("N", row("1"))),
        change("D"),
        b"I" + struct.pack(">I", TABLE) + b"N\x00\x01q",
        b"I" + struct.pack(">I", TABLE) + b"N\x00\x01t\xff\xff\xff\xff",
    ],
)
def test_what_is_not_of_version_1_is_an_error(message: bytes) -> None:
    with pytest.raises(SyncSourceError, match="not understood"):
        taken(begin(), relation("id"), message)


@given(st.binary(max_size=40))
def test_noise_is_an_error_or_changes_nothing_else(noise: bytes) -> None:
    changes = taken(begin(), relation("id"))
    try:
        changes.take(noise)
    except SyncSourceError:
        return
    assert noise[:1] in b"BCIMORTUYD"


@given(
    st.integers(3, 1 << 50),
    st.integers(0, 5_000),
    st.sets(st.integers(0, 5_000), max_size=5),
    st.integers(-1_000_000, 1_000_000),
)
def test_numbers_of_transactions_are_told_apart_over_every_wrap(
    xmin: int, width: int, running: set[int], distance: int
) -> None:
    shown = Snapshot(xmin, xmin + width, frozenset(xmin + each for each in running if each < width))
    xid = max(3, xmin + distance)
    expected = xid < xmin or (xid < shown.xmax and xid not in shown.running)
    assert shown.shows(xid & 0xFFFFFFFF) is expected


@given(st.integers(0, (1 << 64) - 1))
def test_places_of_the_log_are_written_as_they_are_read(lsn: int) -> None:
    assert read_lsn(write_lsn(lsn)) == lsn
