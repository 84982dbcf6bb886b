"""What the routes of jobs answer, and those of what runs as jobs: backups, exports, syncs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

__all__ = ["BackupList", "ExportList", "Job", "RunStarted", "SyncList"]


class JobProgress(BaseModel):
    """How far a job is; `total` is 0 and the rest `null` while that is unknown."""

    step: str
    done: int
    total: int
    fraction: float | None
    eta_seconds: float | None


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    detail: str
    hint: str
    status: int
    retryable: bool


class Job(BaseModel):
    """Work that outlives its request. What `result` holds depends on `kind`."""

    id: str
    kind: str
    state: Literal["running", "succeeded", "failed", "cancelled", "interrupted"]
    progress: JobProgress
    started_at: str
    ended_at: str | None
    seconds: float
    result: dict[str, Any] | None
    error: JobError | None
    expires_at: Annotated[
        str | None, Field(description="Until when it is kept; not told as it begins.")
    ] = None


class RunStarted(BaseModel):
    """Jobs that have begun, and the names of what runs already."""

    jobs: list[Job]
    running_already: list[str]


class Backup(BaseModel):
    """A backup; what its manifest says is `null` where that is missing."""

    id: str
    file: str
    kind: Literal["database", "tables"]
    taken_at: str
    size_bytes: int
    encrypted: bool
    seconds: float | None
    database_bytes: int | None
    sha256: str | None
    tables: int | None
    rows: int | None


class BackupList(BaseModel):
    """The backups, oldest first, and how the last one went."""

    backups: list[Backup]
    enabled: bool
    next_at: str | None
    last_success_at: str | None
    is_overdue: bool
    last_error: str


class RunError(BaseModel):
    """Why the last run failed."""

    code: str
    detail: str
    hint: str


class _Declared(BaseModel):
    name: str
    target: str
    mode: str
    deletes: str
    schedule: str | None
    next_at: str | None
    job: Annotated[str | None, Field(description="The job that runs now.")]
    last_run_at: str | None
    last_success_at: str | None
    failures: int
    error: RunError | None
    notes: list[str]
    watermark: str | None


class LastExport(BaseModel):
    """What the last run of an export did."""

    how: str
    sent: int
    deleted: int
    seconds: float


class DeclaredExport(_Declared):
    """An export that a file declares."""

    kind: Literal["files", "index"]
    documents: int | None
    last: LastExport


class ExportList(BaseModel):
    """The declared exports."""

    exports: list[DeclaredExport]


class LastSync(BaseModel):
    """What the last run of a sync did, in rows."""

    read: int
    added: int
    changed: int
    deleted: int
    seconds: float


class Sync(_Declared):
    """A sync from PostgreSQL that a file declares."""

    source: str
    table: str
    slot: str | None
    lag_bytes: int | None
    as_of: str | None
    lag_seconds: float | None
    last: LastSync


class OrphanedSlot(BaseModel):
    """A slot that a sync has left in PostgreSQL."""

    sync: str
    source: str
    slot: str
    publication: str
    lag_bytes: int | None
    hint: str


class SyncList(BaseModel):
    """The declared syncs."""

    syncs: list[Sync]
    orphans: list[OrphanedSlot]
