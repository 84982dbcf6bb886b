"""A file that is set aside never takes the place of one that was set aside before."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from chronoduck.engine.offline import (
    Way,
    finish_placing,
    free_name,
    free_suffix,
    open_by_ways,
    place_database,
    rename_aside,
    side_files,
)
from chronoduck.engine.offline import aside as names
from chronoduck.engine.replacing import set_aside
from tests.damaged_wal import make_unreplayable


class StoppedClock(datetime):
    """One second, whatever happens: a quick machine, or a clock that was set back."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        """Return the same time each time."""
        return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "datetime", StoppedClock)


def test_databases_set_aside_in_one_second_are_all_kept(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    kept: dict[Path, bytes] = {}
    for number in range(4):
        for path in (database, *side_files(database)[: number % 3]):
            path.write_bytes(f"{path.name} {number}".encode())
        before = [path.read_bytes() for path in (database, *side_files(database)[: number % 3])]
        kept.update(zip(set_aside(database, "corrupt"), before, strict=True))
    assert len(kept) == 4 + 0 + 1 + 2 + 0
    assert {path: path.read_bytes() for path in kept} == kept
    # The files of one database have one suffix.
    assert (tmp_path / "a.db.corrupt-20260101T000000Z-3").read_bytes() == b"a.db 2"
    assert (tmp_path / "a.db.wal.corrupt-20260101T000000Z-3").read_bytes() == b"a.db.wal 2"


def test_shortened_twice_in_one_second_everything_that_was_left_out_is_kept(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    kept: dict[Path, bytes] = {}
    for number in range(2):
        database.unlink(missing_ok=True)
        make_unreplayable(database, number, 1)
        opening = open_by_ways(
            database, "it failed", checkpoint=False, may_shorten=True, is_original=True
        )
        assert opening.way is Way.SHORTENED
        assert opening.rest is not None
        found = (opening.rest, *opening.set_aside)
        assert not kept.keys() & set(found)
        kept.update((path, path.read_bytes()) for path in found)
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_kill_between_the_reservation_and_the_rename_is_carried_on(tmp_path: Path) -> None:
    path, target = tmp_path / "a", tmp_path / "a.corrupt-1"
    path.write_bytes(b"data")
    target.touch()
    assert rename_aside(path, target) == target
    assert target.read_bytes() == b"data"
    assert not path.exists()


def test_a_name_that_was_taken_meanwhile_gets_a_number(tmp_path: Path) -> None:
    database, new = tmp_path / "a.db", tmp_path / "new.db"
    database.write_bytes(b"old")
    new.write_bytes(b"new")
    wal = side_files(database)[0]
    wal.write_bytes(b"wal")
    (tmp_path / "a.db.wal.old").write_bytes(b"older")
    place_database(new, database, "old")
    finish_placing(database)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.db": b"new",
        "a.db.old": b"old",
        "a.db.wal.old": b"older",
        "a.db.wal.old-2": b"wal",
    }


def test_a_broken_link_counts_as_taken(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    (tmp_path / "a.db.wal.corrupt-20260101T000000Z").symlink_to(tmp_path / "nowhere")
    assert free_suffix(database, "corrupt") == "corrupt-20260101T000000Z-2"
    (tmp_path / "a.rescue-20260101T000000Z.db").symlink_to(tmp_path / "nowhere")
    assert free_name(tmp_path / "a", "rescue", ".db").name == "a.rescue-20260101T000000Z-2.db"
