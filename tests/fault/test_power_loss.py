"""Power cuts at any moment of a recorded run: what was acknowledged is there, and the service starts.

``CHRONODUCK_POWER_CUTS`` sets how many cuts each file system has (16), ``CHRONODUCK_POWER_SEED`` which.
"""

from __future__ import annotations

import filecmp
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fault.after_power_cut import Found, check_database, check_files, check_replica
from tests.fault.power_cut import Chance, Cut, Disk, Kind, Names, Record, build_recorder
from tests.fault.recorded_service import Recording, record_service, rows_of, settings_of
from tests.server import Server

pytestmark = pytest.mark.slow
CUTS = int(os.environ.get("CHRONODUCK_POWER_CUTS", "16"))
SEED = int(os.environ.get("CHRONODUCK_POWER_SEED", "20261128"))
SECONDS = 3.0
"""How long the service writes at least."""
_NAME_CHANCES = (Chance.NOTHING, Chance.EVERYTHING, Chance.FIRST, Chance.SECTORS)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A run of the service; its files are moved away, to ``recorded``."""
    if shutil.which("gcc") is None:
        if os.environ.get("CI"):
            pytest.fail("gcc is not installed")
        pytest.skip("needs gcc")
    directory = tmp_path_factory.mktemp("power")
    root = directory / "disk"
    record = Record(directory / "record", root, build_recorder(directory))
    recorded = record_service(root, record, SECONDS)
    root.rename(directory / "recorded")
    return recorded


def disk_of(recording: Recording, names: Names) -> Disk:
    return Disk(recording.root, recording.inode, recording.entries, names)


def positions_in_checkpoints(recording: Recording) -> list[int]:
    """Return the places where a checkpoint has overwritten blocks, which are not synced yet."""
    database = next(
        entry.inode
        for entry in recording.entries
        if entry.kind is Kind.CREATE and entry.first.endswith(b"/test.db")
    )
    places, seen, is_again = [], set(), False
    for index, entry in enumerate(recording.entries):
        if entry.inode == database and entry.kind is Kind.WRITE and len(entry.first) > 4096:
            is_again = is_again or entry.number in seen
            seen.add(entry.number)
        elif entry.inode == database and entry.kind is Kind.SYNC_BEGIN:
            places += [index] if is_again else []
            is_again = False
    return places


def cuts_of(recording: Recording, names: Names, count: int) -> Iterator[Cut]:
    """Choose power cuts: anywhere, right after answers, and in the middle of checkpoints."""
    luck = random.Random(f"{SEED} {names}")
    answers = [at + 1 for at in recording.answers.sent.values()]
    places = (range(len(recording.entries) + 1), answers, positions_in_checkpoints(recording))
    for position in sorted(luck.choice(luck.choice(places)) for _ in range(count)):
        chances = luck.choice(list(Chance)), luck.choice(_NAME_CHANCES)
        yield Cut(position, names, *chances, luck.getrandbits(32))


def test_the_record_holds_every_change(recording: Recording, tmp_path: Path) -> None:
    disk = disk_of(recording, Names.STRICT)
    disk.read(len(recording.entries))
    copy, original = tmp_path / "copy", recording.root.with_name("recorded")
    disk.leave(copy, Cut(0, Names.STRICT, Chance.EVERYTHING, Chance.EVERYTHING, 0))
    files = [path.relative_to(original) for path in original.rglob("*") if path.is_file()]
    assert [path.relative_to(copy) for path in copy.rglob("*") if path.is_file()] != []
    assert {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()} == set(files)
    _, different, unread = filecmp.cmpfiles(copy, original, files, shallow=False)  # type: ignore[type-var]
    assert [path.suffix for path in different] == [".boot"], "the machine booted again"
    assert unread == []


@pytest.mark.parametrize("names", Names)
def test_a_power_cut_loses_nothing_that_was_acknowledged(
    recording: Recording, names: Names
) -> None:
    disk = disk_of(recording, names)
    figures: Counter[str] = Counter()
    wrong = []
    for number, cut in enumerate(cuts_of(recording, names, CUTS)):
        disk.read(cut.position)
        disk.leave(recording.root, cut)
        found = Found()
        check_files(recording, cut.position, found)
        if number % 4 == 0:
            check_replica(recording, cut.position, found)
        check_database(recording, cut.position, found)
        figures += found.figures
        wrong += [(cut, sentence) for sentence in found.wrong]
    print(f"{names.value}: {CUTS} power cuts, {dict(figures)}")
    assert wrong == []
    assert figures["acknowledged"] > CUTS
    assert figures["restores"] > CUTS // 8


@pytest.mark.parametrize(
    ("names", "ignored"), [(Names.JOURNAL, "test.db.wal"), (Names.STRICT, ".")]
)
def test_a_sync_that_does_nothing_is_noticed(
    recording: Recording, names: Names, ignored: str
) -> None:
    disk = disk_of(recording, names)
    disk.ignores = lambda name: name == ignored
    found = Found()
    plain = [name for name in recording.answers.sent if name.startswith("plain-")]
    for position in [recording.answers.sent[name] + 1 for name in plain[-4:]]:
        disk.read(position)
        disk.leave(recording.root, Cut(position, names, Chance.NOTHING, Chance.NOTHING, 1))
        check_database(recording, position, found)
    assert found.figures["lost"] + found.figures["failed starts"] > 0, found.figures


def test_a_block_that_a_checkpoint_overwrites_survives_only_by_its_copy(
    recording: Recording,
) -> None:
    disk = disk_of(recording, Names.JOURNAL)
    refused = 0
    for position in positions_in_checkpoints(recording):
        if refused:
            break
        disk.read(position)
        cut = Cut(position, Names.JOURNAL, Chance.SECTORS, Chance.EVERYTHING, position)
        for has_copy in (True, False):
            disk.leave(recording.root, cut)
            if not has_copy:
                (recording.root / "test.db.metadata").unlink()
            found = Found()
            check_database(recording, position, found)
            if has_copy:
                assert found.wrong == []
            refused += found.figures["failed starts"]
    assert refused, "no checkpoint overwrote a block that the one before it uses"


@pytest.mark.parametrize("names", Names)
def test_the_whole_service_starts_after_a_power_cut(recording: Recording, names: Names) -> None:
    answers = recording.answers
    [last] = answers.before(len(recording.entries), "compact-")
    position = answers.sent[f"compact-{last}"] + 1
    disk = disk_of(recording, names)
    disk.read(position)
    disk.leave(recording.root, Cut(position, names, Chance.PAGES, Chance.NOTHING, SEED))
    with Server(recording.root, **settings_of(recording.root)) as server:
        rows = dict(map(tuple, server.query("SELECT a, count(*) FROM t GROUP BY a")))
        told = [int(number) for number in answers.before(position, "plain-")]
        assert [number for number in told if rows.get(number) != rows_of(number)] == []
        with server.client() as client:
            keyed = answers.before(position, "keyed-")[-1]
            again = client.post(
                "/tables/u/rows",
                content=f'{{"a":{keyed},"b":"keyed"}}\n',
                headers={"Content-Type": "application/x-ndjson", "Idempotency-Key": f"k{keyed}"},
            )
            assert again.status_code == 200, again.text
            for job in answers.before(position, "statement-"):
                assert client.get(f"/jobs/{job}/result").status_code == 200
            assert len(client.get("/backups").json()["backups"]) == 1
        assert server.query(f"SELECT count(*) FROM u WHERE a = {keyed}") == [[1]]
        asked = httpx2.post(
            f"{server.url}/api/v1/duckdb/query",
            json={"query": "SELECT 1"},
            headers={"Authorization": f"Bearer {recording.key}"},
        )
        assert asked.status_code == 200, asked.text
