"""Backups of real files: what is written is what comes back, and damage is noticed."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyrage
import pytest

from chronoduck.backup.failures import BackupDamagedError, BackupNotFoundError
from chronoduck.backup.records import Backup
from chronoduck.backup.restore import restore_backup
from chronoduck.backup.shelf import Shelf
from chronoduck.backup.take import take_backup
from chronoduck.backup.verification import verify_backup
from chronoduck.engine.inspection import inspect_database
from chronoduck.engine.replacing import RestoreRefusedError
from chronoduck.errors import DatabaseFailedError, NotFoundError, SettingsError
from chronoduck.settings import BackupSettings, Settings


@pytest.fixture
def configure(make_settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., Settings]:
    """Return settings with a backup directory; the database holds a file and a log."""
    database = tmp_path / "data" / "test.db"
    database.parent.mkdir()
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "CREATE TYPE mood AS ENUM ('it''s', 'b'); CREATE SEQUENCE ids;"
            "CREATE TABLE pages (id INTEGER PRIMARY KEY, mood mood DEFAULT 'b',"
            " n BIGINT DEFAULT nextval('ids'));"
            "INSERT INTO pages (id) SELECT range FROM range(50000); CREATE TABLE users (name TEXT)"
        )
    # A log beside the file, as a crash leaves it.
    subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import duckdb, os, sys\n"
                f"c = duckdb.connect({str(database)!r}, config={{'wal_autocheckpoint': '1TB'}})\n"
                "c.execute(\"INSERT INTO users VALUES ('in the log')\"); os._exit(0)"
            ),
        ],
        check=True,
    )
    assert database.with_name("test.db.wal").stat().st_size

    def make(**overrides: Any) -> Settings:
        return make_settings(backup=BackupSettings(dir=tmp_path / "backups", **overrides))

    return make


def read_rows(path: Path) -> list[Any]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM pages), (SELECT max(n) FROM pages), "
            "(SELECT string_agg(name) FROM users)"
        ).fetchall()


EXPECTED = [(50000, 50000, "in the log")]


@pytest.mark.parametrize("kind", ["zst", "gz"])
def test_a_backup_comes_back_whole(
    kind: str, configure: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configure(format=kind)
    before = settings.database_path.read_bytes()
    steps: list[str] = []
    backup = take_backup(settings, on_progress=lambda what, done, total: steps.append(what))
    assert settings.database_path.read_bytes() == before
    assert list(dict.fromkeys(steps)) == ["copying", "verifying", "compressing", "reading again"]
    report = restore_backup(backup.path, tmp_path / "out.db", settings.backup, verify="full")
    assert report.inspection is not None
    assert report.inspection.rows == 50001
    assert read_rows(tmp_path / "out.db") == EXPECTED
    assert verify_backup(backup.path, settings.backup, tmp_path).rows == 50001
    assert not list(tmp_path.glob("backups/.working-*"))


def test_the_systems_tools_alone_restore_it(
    configure: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configure(format="gz")
    backup = take_backup(settings)
    latest = tmp_path / "backups" / "latest" / "test.db.gz"
    assert latest.resolve() == backup.path
    (tmp_path / "tool.db").write_bytes(gzip.decompress(latest.read_bytes()))
    assert read_rows(tmp_path / "tool.db") == EXPECTED
    line = backup.path.with_name(backup.path.name + ".sha256").read_text()
    assert line == f"{hashlib.sha256(backup.path.read_bytes()).hexdigest()}  {backup.path.name}\n"


def test_age_needs_its_key_to_restore(configure: Callable[..., Settings], tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    settings = configure(age_recipient=str(identity.to_public()))
    backup = take_backup(settings)
    assert backup.path.name.endswith(".db.zst.age")
    with pytest.raises(SettingsError, match="AGE_IDENTITY_FILE"):
        restore_backup(backup.path, tmp_path / "out.db", settings.backup)
    (tmp_path / "key.txt").write_text(f"# a comment\n{identity}\n")
    with_key = configure_key(settings, tmp_path / "key.txt")
    restore_backup(backup.path, tmp_path / "out.db", with_key)
    assert read_rows(tmp_path / "out.db") == EXPECTED
    (tmp_path / "key.txt").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    with pytest.raises(BackupDamagedError):
        restore_backup(backup.path, tmp_path / "other.db", with_key)
    assert not list(tmp_path.glob("*.restoring"))


def configure_key(settings: Settings, key: Path) -> BackupSettings:
    return settings.backup.model_copy(update={"age_identity_file": key})


def test_gpg_decrypts_it_by_the_guides_command(
    configure: Callable[..., Settings], tmp_path: Path
) -> None:
    if shutil.which("gpg") is None and "CI" not in os.environ:
        pytest.skip("gpg is not installed")
    (tmp_path / "passphrase").write_text("correct horse\n")
    settings = configure(gpg_passphrase_file=tmp_path / "passphrase", format="gz")
    backup = take_backup(settings)
    command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase-file"]
    plain = subprocess.run(
        [*command, str(tmp_path / "passphrase"), "--decrypt", str(backup.path)],
        capture_output=True,
        check=True,
    ).stdout
    (tmp_path / "tool.db").write_bytes(gzip.decompress(plain))
    assert read_rows(tmp_path / "tool.db") == EXPECTED
    restore_backup(backup.path, tmp_path / "out.db", settings.backup)
    assert read_rows(tmp_path / "out.db") == EXPECTED


def test_tables_come_back_with_types_defaults_and_keys(
    configure: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configure()
    backup = take_backup(settings, ["pages"])
    restore_backup(backup.path, tmp_path / "out.db", settings.backup, verify="full")
    with duckdb.connect(str(tmp_path / "out.db")) as connection:
        assert connection.execute("SELECT count(*), min(mood) FROM pages").fetchall() == [
            (50000, "b")
        ]
        with pytest.raises(duckdb.ConstraintException):
            connection.execute("INSERT INTO pages (id) VALUES (7)")
    with pytest.raises(NotFoundError, match="nothing_of_that_name"):
        take_backup(settings, ["nothing_of_that_name"])


def test_every_flipped_byte_is_noticed(configure: Callable[..., Settings], tmp_path: Path) -> None:
    settings = configure()
    backup = take_backup(settings)
    whole = backup.path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        backup.path.write_bytes(damaged)
        with pytest.raises(BackupDamagedError):
            verify_backup(backup.path, settings.backup, tmp_path)
    backup.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupDamagedError):
        restore_backup(backup.path, tmp_path / "out.db", settings.backup)
    assert not (tmp_path / "out.db").exists()


def test_a_restore_never_overwrites(configure: Callable[..., Settings], tmp_path: Path) -> None:
    settings = configure()
    backup = take_backup(settings)
    before = settings.database_path.read_bytes()
    with pytest.raises(RestoreRefusedError):
        restore_backup(backup.path, settings.database_path, settings.backup)
    settings.database_path.rename(tmp_path / "data" / "away.db")
    with pytest.raises(RestoreRefusedError, match=r"test\.db\.wal"):  # the leftover log
        restore_backup(backup.path, settings.database_path, settings.backup)
    (tmp_path / "data" / "away.db").rename(settings.database_path)
    assert settings.database_path.read_bytes() == before
    report = restore_backup(
        backup.path, settings.database_path, settings.backup, replace="replaced"
    )
    assert next(path.read_bytes() for path in report.set_aside) == before
    assert len(report.set_aside) == 2
    assert read_rows(settings.database_path) == EXPECTED


def test_a_damaged_database_is_not_backed_up(
    configure: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configure()
    with duckdb.connect(str(settings.database_path)) as connection:
        connection.execute("CHECKPOINT")
    data = bytearray(settings.database_path.read_bytes())
    for block in range(12288 + 1000, len(data), 262144):
        data[block] ^= 0xFF
    settings.database_path.write_bytes(data)
    with pytest.raises(Exception, match="cannot be"):
        take_backup(settings)
    shelf = Shelf.of(settings)
    assert shelf is not None
    assert shelf.list() == []
    assert not list(tmp_path.glob("backups/.working-*"))


def test_an_unknown_backup_is_not_found(configure: Callable[..., Settings]) -> None:
    shelf = Shelf.of(configure())
    assert shelf is not None
    with pytest.raises(BackupNotFoundError):
        shelf.find("latest")


def test_a_copy_of_a_busy_database_holds_a_prefix_of_its_transactions(
    configure: Callable[..., Settings], tmp_path: Path
) -> None:
    """Each backup of a file that another process writes holds whole transactions, none missing."""
    settings = configure()

    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import duckdb, sys\n"
                f"c = duckdb.connect({str(settings.database_path)!r}, "
                "config={'wal_autocheckpoint': '1TB'})\n"
                "c.execute('CREATE TABLE log (i BIGINT, twin BIGINT)')\n"
                "i = 0\n"
                "while True:\n"
                "    rows = 200_000 if i % 10 == 0 else 1\n"
                "    c.execute(f'INSERT INTO log SELECT {i}, {i} FROM range({rows})')\n"
                "    i += 1\n"
                "    if i == 15: print('go', flush=True)\n"
            ),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        backups: list[Backup] = [take_backup(settings) for _ in range(3)]
    finally:
        writer.kill()
        writer.communicate()
    seen = 0
    for number, backup in enumerate(backups):
        restore_backup(backup.path, tmp_path / f"{number}.db", settings.backup, verify="full")
        with duckdb.connect(str(tmp_path / f"{number}.db"), read_only=True) as connection:
            counts = connection.execute(
                "SELECT i, count(*) FROM log WHERE i = twin GROUP BY i ORDER BY i"
            ).fetchall()
        assert [i for i, _ in counts] == list(range(len(counts)))
        assert all(rows == (200_000 if i % 10 == 0 else 1) for i, rows in counts)
        assert len(counts) > seen
        seen = len(counts)
    assert inspect_database(tmp_path / "0.db", full=True).rows


_VALUES = {
    "a HUGEINT": "170141183460469231731687303715884105727",
    "b UHUGEINT[]": "[340282366920938463463374607431768211455]",
    "c STRUCT(x INTERVAL)": "{'x': INTERVAL '-1 month 3 days 00:00:00.000123'}",
    "d TIMETZ": "'12:00:00.123456+05:30'",
    "e ENUM('INTERVAL', 'HUGEINT')": "'INTERVAL'",
    "f TIMESTAMP_NS": "'2024-01-01 00:00:00.123456789'",
    "g UNION(num INTEGER, txt VARCHAR)": "'text'",
    "h MAP(VARCHAR, HUGEINT)": "MAP {'x': 2::HUGEINT ** 100}",
    "i DATE": "'-infinity'",
}


def test_tables_come_back_whatever_their_columns_are(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(backup=BackupSettings(dir=tmp_path / "backups"))
    settings.database_path.parent.mkdir()
    with duckdb.connect(str(settings.database_path)) as connection:
        connection.execute(
            "CREATE SCHEMA s; CREATE SEQUENCE s.numbers START 7;"
            f"CREATE TABLE Kinds ({', '.join(_VALUES)}, z BIGINT DEFAULT nextval('s.numbers'),"
            " twice HUGEINT GENERATED ALWAYS AS (a - 1));"
            f"INSERT INTO kinds VALUES ({', '.join(_VALUES.values())}, DEFAULT);"
            'CREATE TABLE "dotted.name" (id INTEGER PRIMARY KEY);'
            'INSERT INTO "dotted.name" VALUES (1);'
            "CREATE TABLE s.child (id INTEGER); INSERT INTO s.child VALUES (1)"
        )
        expected = connection.execute("FROM kinds").fetchall()
    # In any case and order, named twice, and after what they refer to.
    backup = take_backup(settings, ["s.child", "KINDS", "kinds", "dotted.name"])
    output = tmp_path / "out.db"
    restore_backup(backup.path, output, settings.backup, verify="full")
    assert output.stat().st_mode & 0o777 == 0o640
    with duckdb.connect(str(output)) as connection:
        assert connection.execute("FROM kinds").fetchall() == expected
        assert connection.execute("FROM s.child").fetchall() == [(1,)]


def test_tables_that_cannot_come_back_alone_are_refused_when_they_are_backed_up(
    configure: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configure()
    with duckdb.connect(str(settings.database_path)) as connection:
        connection.execute(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1);"
            "CREATE TABLE child (id INTEGER REFERENCES parent (id)); INSERT INTO child VALUES (1)"
        )
    with pytest.raises(DatabaseFailedError, match="parent") as refused:
        take_backup(settings, ["child"])
    assert "Name the tables that it refers to" in refused.value.hint
    assert not list(tmp_path.glob("backups/2*/*"))
    backup = take_backup(settings, ["child", "parent"])
    restore_backup(backup.path, tmp_path / "out.db", settings.backup, verify="full")


def test_the_link_to_the_newest_is_checked_like_the_file(
    configure: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configure()
    backup = take_backup(settings)
    latest = tmp_path / "backups" / "latest" / "test.db.zst"
    report = restore_backup(latest, tmp_path / "out.db", settings.backup)
    assert backup.manifest is not None
    assert report.taken_at == backup.manifest.taken_at
    note = backup.path.with_name(backup.path.name + ".json")
    note.write_text(note.read_text().replace(backup.manifest.database_sha256, "0" * 64))
    with pytest.raises(BackupDamagedError):
        restore_backup(latest, tmp_path / "other.db", settings.backup)


def test_damage_of_what_was_noted_is_noticed(
    configure: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = configure()
    backup = take_backup(settings)
    note, line = (backup.path.with_name(backup.path.name + end) for end in (".json", ".sha256"))
    whole = note.read_bytes()
    note.write_bytes(whole.replace(b'"tables"', b'"tablis"'))
    with pytest.raises(BackupDamagedError, match=r"\.json"):
        restore_backup(backup.path, tmp_path / "out.db", settings.backup)
    with pytest.raises(BackupDamagedError, match=r"\.json"):
        verify_backup(backup.path, settings.backup, tmp_path)
    note.unlink()
    restore_backup(backup.path, tmp_path / "out.db", settings.backup)
    line.write_text("0" + line.read_text()[1:] if line.read_text()[0] != "0" else "1" * 64)
    with pytest.raises(BackupDamagedError):
        restore_backup(backup.path, tmp_path / "other.db", settings.backup)
    note.write_bytes(whole)
    with pytest.raises(BackupDamagedError):
        verify_backup(backup.path, settings.backup, tmp_path)
