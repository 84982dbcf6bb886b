"""A backup's name and what is noted of it, as values.

::

    20261124/chrono_analytics_20261124_030000.db.zst            the database, compressed
    20261124/chrono_analytics_20261124_030000.db.zst.sha256     for `sha256sum -c`
    20261124/chrono_analytics_20261124_030000.db.zst.json       what is in it
    20261124/chrono_analytics_20261124_030000.parquet/          or: one Parquet file per table
    latest/chrono_analytics.db.zst                              a link to the newest one
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chronoduck.engine.inspection import TableFacts

__all__ = ["MANIFEST_NAME", "Backup", "BackupName", "Manifest"]

MANIFEST_NAME = "manifest.json"
_TIME = "%Y%m%d_%H%M%S"
_NAME = re.compile(
    r"(?P<stem>.+)_(?P<id>\d{8}_\d{6})\.(?P<kind>db\.zst|db\.gz|parquet)(?P<cipher>\.age|\.gpg)?"
)


@dataclass(frozen=True)
class BackupName:
    """What a backup's file name tells."""

    stem: str
    """The database file's name without its ending."""
    taken_at: datetime
    """UTC, whole seconds."""
    kind: str
    """``db.zst``, ``db.gz`` or ``parquet``."""
    cipher: str = ""
    """``.age``, ``.gpg`` or nothing."""

    @classmethod
    def parse(cls, name: str) -> BackupName | None:
        """Return what the name tells, None when it is not a backup's."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            taken_at = datetime.strptime(match["id"], _TIME).replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(match["stem"], taken_at, match["kind"], match["cipher"] or "")

    @property
    def id(self) -> str:
        """What the API and the command line call it: the time it was taken."""
        return self.taken_at.strftime(_TIME)

    @property
    def file_name(self) -> str:
        """The name in its day's directory."""
        return f"{self.stem}_{self.id}.{self.kind}{self.cipher}"

    @property
    def latest_name(self) -> str:
        """The name of the link to the newest one."""
        return f"{self.stem}.{self.kind}{self.cipher}"

    @property
    def day(self) -> str:
        """The directory it is in."""
        return self.id[:8]


@dataclass(frozen=True)
class Manifest:
    """What was noted when the backup was made; sizes in bytes, durations in seconds."""

    id: str
    database: str
    duckdb_version: str
    taken_at: str
    """ISO 8601: everything that was committed before is in it."""
    seconds: float
    database_bytes: int
    stored_bytes: int
    sha256: str
    """Of the stored file; empty for a directory of tables, which has one hash per file."""
    database_sha256: str
    """Of the database file in it."""
    tables: tuple[TableFacts, ...]
    files: dict[str, str]
    """Of a directory of tables: SHA-256 by file name."""
    format: int = 1
    storage_version: str = ""
    """The oldest DuckDB that can open the database; empty in a backup that did not note it."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Manifest:
        """Return what was stored; raises KeyError or TypeError when it is none."""
        tables = tuple(TableFacts(**table) for table in fields["tables"])
        return cls(**{**fields, "tables": tables})


@dataclass(frozen=True)
class Backup:
    """A backup that is there."""

    path: Path
    name: BackupName
    size: int
    """Bytes."""
    manifest: Manifest | None
    """None when it is missing or damaged; the backup itself may be whole."""

    def as_dict(self) -> dict[str, Any]:
        """Return what is shown of it."""
        manifest = self.manifest
        return {
            "id": self.name.id,
            "file": f"{self.name.day}/{self.name.file_name}",
            "kind": "tables" if self.name.kind == "parquet" else "database",
            "taken_at": self.name.taken_at.isoformat(),
            "size_bytes": self.size,
            "encrypted": bool(self.name.cipher),
            "seconds": manifest.seconds if manifest else None,
            "database_bytes": manifest.database_bytes if manifest else None,
            "sha256": manifest.sha256 if manifest else None,
            "tables": len(manifest.tables) if manifest else None,
            "rows": sum(table.rows for table in manifest.tables) if manifest else None,
        }
