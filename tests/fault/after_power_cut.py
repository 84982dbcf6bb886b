"""What must be there after a power cut: rows, keys, jobs, backups and the replica."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb

from chronoduck.assembly.opening import open_instance
from chronoduck.auth.key_file import KeyFile
from chronoduck.backup.shelf import Shelf
from chronoduck.backup.verification import check_stored
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.offline import remove_database
from chronoduck.errors import DuckDBException
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.service.job_store import JobStore
from chronoduck.settings import (
    BackupSettings,
    ReplicaSettings,
    Settings,
    load_settings,
)
from chronoduck.transfer.key_ages import KEYS_TABLE
from tests.fault.recorded_service import Recording, rows_of

__all__ = ["Found", "check_database", "check_files", "check_replica"]


@dataclass
class Found:
    """What one power cut left, counted; ``wrong`` holds a sentence for each broken promise."""

    figures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def count(self, name: str, many: int, sentence: str) -> None:
        """Count something of which there may be none."""
        self.figures[name] += many
        if many:
            self.wrong.append(f"{name}: {sentence}")


def _settings(root: Path) -> Settings:
    return load_settings(
        database_path=root / "test.db",
        temp_directory=root.parent / "temp-after",
        memory_limit="500MB",
        ballast_size=0,
        log_level="error",
        backup=BackupSettings(dir=root / "backups"),
    )


def check_database(recording: Recording, position: int, found: Found) -> None:
    """Open the database as a start does; count what it holds."""
    rows = asyncio.run(_open_and_count(recording.root, found))
    if rows is None:
        return
    tables, keys = rows
    for table, prefix in (("t", "plain-"), ("u", "keyed-")):
        _compare(tables[table], recording, position, prefix, found)
    told = {f"k{number}" for number in recording.answers.before(position, "keyed-")}
    forgotten = told - set(keys)
    found.count("keys forgotten", len(forgotten), f"{sorted(forgotten)[:5]}")
    rows_of_keys = {f"k{number}" for number in tables["u"] or {}}
    found.count("keys without rows", len(set(keys) ^ rows_of_keys), "keys and rows differ")
    for name in ("made", "altered"):
        for number in recording.answers.before(position, f"{name}-"):
            columns = tables["columns"] or {}
            is_there = columns.get(int(number), 0) >= (1 if name == "made" else 2)
            found.count("tables lost", not is_there, f"{name}-{number}")


async def _open_and_count(
    root: Path, found: Found
) -> tuple[dict[str, dict[int, int] | None], list[str]] | None:
    instance = DuckDBInstance(_settings(root))
    try:
        await open_instance(instance)
    except DuckDBException as error:
        found.count("failed starts", 1, error.operator_detail or error.detail)
        return None
    try:
        cursor = instance.cursor()

        def read(sql: str) -> dict[int, int] | None:
            try:
                return dict(cursor.execute(sql).fetchall())
            except duckdb.CatalogException:
                return None

        tables = {name: read(f"SELECT a, count(*) FROM {name} GROUP BY a") for name in ("t", "u")}
        tables["columns"] = read(
            "SELECT CAST(table_name[2:] AS INTEGER), column_count FROM duckdb_tables() "
            "WHERE table_name SIMILAR TO 's[0-9]+'"
        )
        try:
            keys = [row[0] for row in cursor.execute(f"SELECT key FROM {KEYS_TABLE}").fetchall()]
        except duckdb.CatalogException:
            keys = []
        cursor.close()
        return tables, keys
    finally:
        instance.close()


def _compare(
    rows: dict[int, int] | None, recording: Recording, position: int, prefix: str, found: Found
) -> None:
    """Compare a table with what was answered; one row for each write of keys, else ``rows_of``."""
    acknowledged = {int(number) for number in recording.answers.before(position, prefix)}
    found.figures["acknowledged"] += len(acknowledged)
    rows = rows or {}

    def wanted(number: int) -> int:
        return 1 if prefix == "keyed-" else rows_of(number)

    lost = acknowledged - set(rows)
    found.count("lost", len(lost), f"{prefix}{sorted(lost)[:5]}")
    doubled = [number for number, count in rows.items() if count > wanted(number)]
    found.count("doubled", len(doubled), f"{prefix}{doubled[:5]}")
    torn = [number for number, count in rows.items() if count < wanted(number)]
    found.count("torn", len(torn), f"{prefix}{torn[:5]}")
    unknown = [number for number in rows if f"{prefix}{number}" not in recording.answers.asked]
    found.count("unknown", len(unknown), f"{prefix}{unknown[:5]}")


def check_files(recording: Recording, position: int, found: Found) -> None:
    """Look at keys, jobs and backups that were reported before the cut."""
    settings = _settings(recording.root)
    answers = recording.answers
    if any(at < position for at in answers.sent.values()):
        token = (recording.root / "admin.token").read_text().strip()
        found.count("admin tokens lost", token != recording.token, token)
    if recording.key_made <= position:
        names = [key.name for key in KeyFile(settings.keys_path).read()]
        found.count("API keys lost", names != ["ann"], f"{names}")
    jobs = {job.id: job for job in JobStore(settings.jobs_path, 1e9, 10**9).open()}
    for kind in ("statement", "backup", "compact"):
        for name in answers.before(position, f"{kind}-"):
            found.figures["jobs"] += 1
            is_known = name in jobs and jobs[name].state == "succeeded"
            found.count("jobs lost", not is_known, f"{kind}-{name}: {jobs.get(name)}")
            if kind == "statement":
                path = settings.jobs_path / f"{name}.parquet"
                try:
                    rows = duckdb.connect().execute(f"SELECT count(*) FROM '{path}'").fetchall()
                except duckdb.Error as error:
                    rows = [(str(error),)]
                found.count("results lost", rows != [(1,)], f"{path.name}: {rows}")
    _check_backups(recording, position, settings, found)


def _check_backups(recording: Recording, position: int, settings: Settings, found: Found) -> None:
    shelf = Shelf.of(settings)
    assert shelf is not None
    listed = {backup.name.id: backup for backup in shelf.list()}
    for name in recording.answers.before(position, "backup-"):
        made = recording.answers.bodies[f"backup-{name}"]["result"]["id"]
        found.count("backups lost", made not in listed, made)
    for name, backup in listed.items():
        found.figures["backups"] += 1
        if backup.manifest is None:
            found.count("backups damaged", 1, f"{name} has no manifest")
            continue
        try:
            check_stored(backup.path, backup.manifest.database_sha256, settings.backup)
        except (DuckDBException, OSError) as error:
            found.count("backups damaged", 1, f"{name}: {error}")


def check_replica(recording: Recording, position: int, found: Found) -> None:
    """Restore the newest point; it is not older than what was reported, and holds nothing else."""
    told = [
        body["last_restore_point"]
        for name in recording.answers.before(position, "replication-")
        if (body := recording.answers.bodies[f"replication-{name}"])["last_restore_point"]
    ]
    replica = ReplicaSettings(url=str(recording.root / "replica"))
    archive = open_archive(load_settings(replica=replica))
    output = recording.root.parent / "restored.db"
    remove_database(output)
    try:
        report = restore_database(archive, output)
    except DuckDBException as error:
        found.count("restores failed", bool(told), f"{error.detail}; told: {told[-1:]}")
        return
    found.figures["restores"] += 1
    newest = max((datetime.fromisoformat(each).timestamp() for each in told), default=0.0)
    found.count(
        "points lost",
        report.plan.point.time_us / 1e6 < newest - 0.001,
        f"{report.time} {told[-1:]}",
    )
    with duckdb.connect(str(output), read_only=True) as connection:
        for table, prefix in (("t", "plain-"), ("u", "keyed-")):
            try:
                rows = connection.execute(f"SELECT a, count(*) FROM {table} GROUP BY a").fetchall()
            except duckdb.CatalogException:
                continue
            # What was acknowledged may be on its way; what is there must be whole.
            _compare(dict(rows), recording, 0, prefix, found)
