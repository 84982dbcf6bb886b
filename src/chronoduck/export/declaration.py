"""The file that declares exports: queries, and the indexes of Meilisearch or the files that they fill."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic import model_validator as validator

from chronoduck.declared import DECLARED, NAME, named, read_declared
from chronoduck.settings.values import ByteCount, Crontab, Seconds
from chronoduck.units import parse_seconds

__all__ = [
    "ExportFile",
    "FilesDeclaration",
    "IndexDeclaration",
    "MeilisearchDeclaration",
    "read_export_file",
]

_INDEX = re.compile(r"[a-zA-Z0-9_-]{1,395}")
"""As Meilisearch has it: 400 bytes, less the suffix of an index that is being built."""


def _seconds(value: Any) -> Any:
    return parse_seconds(value) if isinstance(value, str) else value


def _columns(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address is http://HOST:PORT or https://HOST")
    if parts.username or parts.password or parts.query:
        raise ValueError("no secret belongs into an address: key_env or key_file tell the key")
    return value.rstrip("/")


class _Declared(BaseModel):
    model_config = DECLARED


class MeilisearchDeclaration(_Declared):
    """A server of Meilisearch, and how much it is asked for at once."""

    name: str
    url: Annotated[str, AfterValidator(_address)]
    key_env: str = ""
    """The environment variable that holds the API key."""
    key_file: Path | None = None
    """The file that holds it. Without both there is no key."""
    batch_size: Annotated[ByteCount, Field(ge=10_000, le=1_000_000_000)] = 10_000_000
    """Bytes of documents of one request, about; halved as long as Meilisearch says 413."""
    max_pending: Annotated[int, Field(ge=1, le=1_000)] = 8
    """Requests that Meilisearch has taken and not yet worked off."""
    patience: Seconds = 300.0
    """How long a request is tried again while Meilisearch is away or says 429 or 503."""
    request_timeout: Seconds = 60.0
    """How long an answer may take."""
    task_timeout: Seconds = 3600.0
    """How long Meilisearch may take for one request's work."""

    @validator(mode="after")
    def _one_key(self) -> MeilisearchDeclaration:
        if self.key_env and self.key_file:
            raise ValueError("name either key_env or key_file")
        return self


class IndexDeclaration(_Declared):
    """A query, and the index that holds its rows as documents."""

    name: str
    meilisearch: str
    """The name of a server."""
    index: str = ""
    """Its name there; default: the export's."""
    query: str
    key: Annotated[tuple[str, ...], BeforeValidator(_columns), Field(min_length=1)]
    """Columns that are unique together and never NULL."""
    id: Literal["plain", "hash", "base64"] = "plain"
    """How a document's id is made of the key."""
    primary_key: str = "id"
    """The attribute that holds the id."""
    mode: Literal["rebuild", "changes"] = "rebuild"
    cursor: str | None = None
    """The column that grows with every change, such as ``updated_at``."""
    overlap: Annotated[float, BeforeValidator(_seconds), Field(ge=0)] = 60.0
    """How far before the last row a run begins again, for rows that were committed late."""
    deletes: Literal["ignore", "key-diff"] = "ignore"
    deleted: str | None = None
    """A column that is true in rows whose document is to be deleted."""
    times: Literal["text", "epoch"] = "text"
    """Dates and timestamps as ISO 8601, or as seconds since 1970."""
    settings: dict[str, Any] = {}
    """Of the index, in Meilisearch's own names."""
    take_over: bool = False
    """Replace an index of that name though this export did not make it."""
    schedule: Crontab = ""
    """When it runs, as in a crontab (UTC); empty is only on demand."""

    @validator(mode="after")
    def _consistent(self) -> IndexDeclaration:
        if not NAME.fullmatch(self.name):
            raise ValueError("an export's name is made of a-z, 0-9, _ and -")
        if not _INDEX.fullmatch(self.uid):
            raise ValueError("an index's name is made of letters, digits, _ and -")
        if self.mode == "changes" and self.cursor is None:
            raise ValueError("an export of changes needs a cursor")
        if self.mode == "rebuild" and (self.cursor is not None or self.deletes != "ignore"):
            raise ValueError("a rebuild exports everything: leave cursor and deletes out")
        if self.id == "plain" and len(self.key) > 1:
            raise ValueError('a key of several columns needs id = "hash" or "base64"')
        return self

    @property
    def uid(self) -> str:
        """The index's name at Meilisearch."""
        return self.index or self.name

    def fingerprint(self, server: MeilisearchDeclaration) -> str:
        """Change when what is in the index is no ground to go on from."""
        ways = {"schedule", "take_over", "mode", "deletes", "overlap"}
        facts = {**self.model_dump(exclude=ways, mode="json"), "url": server.url}
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class FilesDeclaration(_Declared):
    """A query, and how its rows are written into files at ``DUCKDB_EXPORT_URL``."""

    name: str
    query: str
    format: Literal["parquet", "csv", "json", "arrow"] = "parquet"
    partition_by: Annotated[tuple[str, ...], BeforeValidator(_columns)] = ()
    """Columns whose values are folders, as Hive has it."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 7
    """How many exports are kept; an older one is removed once a newer one is whole."""
    schedule: Crontab = ""
    """When it runs, as in a crontab (UTC); empty is only on demand."""

    @validator(mode="after")
    def _consistent(self) -> FilesDeclaration:
        if not NAME.fullmatch(self.name) or len(self.name) > 64:
            raise ValueError("an export's name is made of a-z, 0-9, _ and -, 64 at most")
        if self.partition_by and self.format == "arrow":
            raise ValueError("Arrow files are not written by partitions; parquet, csv and json are")
        return self


class ExportFile(_Declared):
    """All that is declared."""

    meilisearch: dict[str, MeilisearchDeclaration] = {}
    index: dict[str, IndexDeclaration] = {}
    files: dict[str, FilesDeclaration] = {}

    @validator(mode="before")
    @classmethod
    def _name_them(cls, value: Any) -> Any:
        return named(named(named(value, "meilisearch"), "index"), "files")

    @validator(mode="after")
    def _one_name_each(self) -> ExportFile:
        for name in self.files:
            if name in self.index:
                raise ValueError(f"files.{name} and index.{name} have one name")
        return self

    @property
    def exports(self) -> dict[str, IndexDeclaration | FilesDeclaration]:
        """All of them by name."""
        return {**self.index, **self.files}

    @validator(mode="after")
    def _known_servers(self) -> ExportFile:
        homes: dict[tuple[str, str], str] = {}
        for each in self.index.values():
            server = self.meilisearch.get(each.meilisearch)
            if server is None:
                raise ValueError(f"index.{each.name}: there is no [meilisearch.{each.meilisearch}]")
            other = homes.setdefault((server.url, each.uid), each.name)
            if other != each.name:
                raise ValueError(f"index.{each.name} and index.{other} fill one index")
        return self


def read_export_file(path: Path | None) -> ExportFile:
    """Return what the file declares; nothing without one.

    Raises:
        SettingsError: it cannot be read, or says something that is not understood.
    """
    return read_declared(path, ExportFile, "DUCKDB_EXPORT_FILE", "`chronoduck help exports`")
