"""The file that declares syncs: sources, and what of them goes into which table."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic import model_validator as validator

from chronoduck.declared import DECLARED, NAME, named, read_declared
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.settings.values import Crontab
from chronoduck.units import parse_bytes, parse_seconds

__all__ = ["SourceDeclaration", "SyncDeclaration", "SyncFile", "read_sync_file"]

_PARTS = re.compile(r"[^.]+(\.[^.]+)?")


def _seconds(value: Any) -> Any:
    return parse_seconds(value) if isinstance(value, str) else value


def _table(value: str) -> str:
    if not _PARTS.fullmatch(value):
        raise ValueError(f"{value!r} is not a table: write table or schema.table")
    if value.lower().startswith(f"{OWN_SCHEMA}."):
        raise ValueError(f"the tables of {OWN_SCHEMA} are written by the service alone")
    return value


def _bytes(value: Any) -> Any:
    return parse_bytes(value) if isinstance(value, str) else value


_Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
_Table = Annotated[str, AfterValidator(_table)]
_Constant = str | int | float | bool
_GROUND = frozenset(
    [
        "source",
        "table",
        "query",
        "target",
        "mode",
        "key",
        "cursor",
        "columns",
        "rename",
        "constants",
    ]
)


class _Declared(BaseModel):
    model_config = DECLARED


class SourceDeclaration(_Declared):
    """A PostgreSQL database, and how much of it may be asked for."""

    dsn_env: str = ""
    """The environment variable that holds the connection string."""
    dsn_file: Path | None = None
    """The file that holds it; one of the two."""
    statement_timeout: Annotated[_Seconds, Field(gt=0)] = 3600.0
    """PostgreSQL ends a statement that takes longer."""
    rows_per_second: Annotated[int, Field(ge=0)] = 0
    """How fast rows are read at most; 0 is as fast as they come."""
    fetch_bytes: Annotated[int, Field(ge=65_536, le=268_435_456)] = 16_777_216
    """Size of the pieces that rows come in; a few of them are in memory at once."""
    batch_rows: Annotated[int, Field(ge=1_000, le=10_000_000)] = 200_000
    """Rows of one transaction of an incremental sync, about."""
    connections: Annotated[int, Field(ge=1, le=16)] = 2
    """How many read a whole table at the same time, in one snapshot."""
    max_lag: Annotated[int, BeforeValidator(_bytes), Field(ge=1_048_576)] = 8 * 1024**3
    """Bytes of PostgreSQL's log that a cdc sync may be behind: beyond, it begins anew."""

    @validator(mode="after")
    def _one_dsn(self) -> SourceDeclaration:
        if bool(self.dsn_env) == bool(self.dsn_file):
            raise ValueError("name either dsn_env or dsn_file: the connection string is a secret")
        return self


class SyncDeclaration(_Declared):
    """One table of the source, or a query, and the table it goes into. Columns are the source's."""

    name: str
    source: str
    table: _Table | None = None
    query: str | None = None
    target: _Table
    mode: Literal["full", "incremental", "cdc"] = "incremental"
    key: tuple[str, ...] = ()
    """Columns that are unique together."""
    cursor: str | None = None
    """The column that grows with every change, such as ``updated_at``."""
    overlap: _Seconds = 60.0
    """How far before the watermark a run begins again, for rows that were committed late."""
    deletes: Literal["ignore", "key-diff"] = "ignore"
    publication: str = ""
    """Of a cdc sync, if another made it; empty: ``chronoduck_NAME``, made if it is not there."""
    schedule: Crontab = ""
    """When it runs, as in a crontab (UTC); empty is only on demand."""
    columns: dict[str, str] = {}
    """Column of the source to column of the target: these and no others. Empty: all."""
    rename: dict[str, str] = {}
    exclude: tuple[str, ...] = ()
    types: dict[str, str] = {}
    """DuckDB types of columns that are made in the target."""
    constants: dict[str, _Constant] = {}
    """Columns of the target with one value in every row of this sync: rows without it are not its."""

    @validator(mode="after")
    def _consistent(self) -> SyncDeclaration:
        if not NAME.fullmatch(self.name):
            raise ValueError("a sync's name is made of a-z, 0-9, _ and -")
        if (self.table is None) == (self.query is None):
            raise ValueError("name either a table or a query")
        if self.columns and (self.rename or self.exclude):
            raise ValueError("columns lists them all: rename and exclude go without it")
        if self.mode == "incremental" and not (self.key and self.cursor):
            raise ValueError("an incremental sync needs key and cursor")
        if self.mode == "full" and self.deletes != "ignore":
            raise ValueError("a full sync replaces everything: leave deletes out")
        self._check_capture()
        return self

    def _check_capture(self) -> None:
        if self.mode != "cdc":
            if self.publication:
                raise ValueError('publication belongs to mode = "cdc"')
            return
        if self.table is None or not self.key:
            raise ValueError("a cdc sync needs a table and its key")
        if self.cursor or self.deletes != "ignore":
            raise ValueError("a cdc sync follows the log: leave cursor and deletes out")

    @property
    def fingerprint(self) -> str:
        """Changes when what was read before is no ground to go on from."""
        facts = self.model_dump(include=set(_GROUND), mode="json")
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class SyncFile(_Declared):
    """All that is declared."""

    source: dict[str, SourceDeclaration] = {}
    sync: dict[str, SyncDeclaration] = {}

    @validator(mode="before")
    @classmethod
    def _name_syncs(cls, value: Any) -> Any:
        return named(value, "sync")

    @validator(mode="after")
    def _known_sources(self) -> SyncFile:
        for each in self.sync.values():
            if each.source not in self.source:
                raise ValueError(f"sync.{each.name}: there is no [source.{each.source}]")
        return self


def read_sync_file(path: Path | None) -> SyncFile:
    """Return what the file declares; nothing without one.

    Raises:
        SettingsError: it cannot be read, or says something that is not understood.
    """
    return read_declared(path, SyncFile, "DUCKDB_SYNC_FILE", "`chronoduck help sync`")
