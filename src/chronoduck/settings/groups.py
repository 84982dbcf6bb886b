"""Settings of one part each, with the part's prefix."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from chronoduck.principals import Limits, Role
from chronoduck.settings.limits import LimitLine
from chronoduck.settings.values import (
    AbsolutePath,
    ByteCount,
    Crontab,
    OptionalPath,
    OptionalText,
    Seconds,
    Unset,
    from_environment,
)

__all__ = [
    "AuditSettings",
    "BackupSettings",
    "BreakerSettings",
    "CheckpointSettings",
    "ExportSettings",
    "JobSettings",
    "QueryLogSettings",
    "QuotaSettings",
    "ReplicaSettings",
    "ShadowSettings",
]


class BreakerSettings(BaseSettings):
    """When the circuit breaker opens and how it closes again (``DUCKDB_BREAKER_*``)."""

    model_config = from_environment("DUCKDB_BREAKER_")

    failure_threshold: Annotated[int, Field(ge=1)] = 5
    """Infrastructure failures within ``window_seconds`` that open it."""
    success_threshold: Annotated[int, Field(ge=1)] = 3
    """Successful trial calls that close it again."""
    timeout_seconds: Seconds = 30.0
    """First wait before a trial call; doubles with each failed trial."""
    max_timeout_seconds: Seconds = 300.0
    """Longest wait before a trial call."""
    window_seconds: Seconds = 60.0
    """How long a failure counts."""


class CheckpointSettings(BaseSettings):
    """When the log is folded into the database file (``DUCKDB_CHECKPOINT_*``)."""

    model_config = from_environment("DUCKDB_CHECKPOINT_")

    log_size: ByteCount = 16_000_000
    """Size of the write-ahead log from which on a checkpoint is due."""
    commits: Annotated[int, Field(ge=1)] = 5_000
    """Transactions in the log from which on a checkpoint is due: replaying 20,000 takes 3 s."""
    interval: Seconds = 300.0
    """Age of the oldest transaction in the log from which on a checkpoint is due."""
    replay: Seconds = 1.0
    """Time that a start would need to replay the WAL, as estimated, from which on one is due."""
    timeout: Seconds = 120.0
    """How long a checkpoint may take before it counts as one that does not end."""


class QuotaSettings(BaseSettings):
    """How much a principal may use (``DUCKDB_QUOTA_*``); admins and this process have no limits."""

    model_config = from_environment("DUCKDB_QUOTA_")

    viewer: LimitLine = Limits(
        requests_per_minute=3000, concurrent_statements=32, engine_seconds_per_hour=7200
    )
    """Limits of every viewer that has none of its own: ``requests_per_minute=600, max_rows=10000``."""
    analyst: LimitLine = Limits(
        requests_per_minute=3000, concurrent_statements=32, engine_seconds_per_hour=7200
    )
    """Limits of every analyst."""
    writer: LimitLine = Limits()
    """Limits of every writer."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Workers that one principal may hold at once; default: all but one."""
    connections: Annotated[int, Field(ge=1)] | None = None
    """Connections that one principal may hold at once; default: half of them."""
    penalty_wait: Seconds = 15.0
    """The first wait of a principal whose statement ended the process; each further one doubles it."""
    penalty_max_wait: Seconds = 900.0
    """The longest such wait."""
    space: Annotated[int, Field(ge=1, le=100)] = 50
    """Percent of each budget of disk space that one principal may hold at once."""

    def of(self, role: Role) -> Limits:
        """Return the limits of a role."""
        return {Role.VIEWER: self.viewer, Role.ANALYST: self.analyst, Role.WRITER: self.writer}.get(
            role, Limits()
        )


class ReplicaSettings(BaseSettings):
    """The continuous replica (``DUCKDB_REPLICA_*``)."""

    model_config = from_environment("DUCKDB_REPLICA_")

    url: OptionalText = None
    """A directory or ``s3://bucket/prefix``; without it there is no replica."""
    endpoint: OptionalText = None
    """Where S3 is, for others than Amazon: ``http://minio:9000``."""
    interval: Seconds = 1.0
    """How often new transactions are shipped."""
    timeout: Annotated[Seconds, Field(gt=0)] = 60.0
    """How long one call to the store may go without an answer."""
    detail: Seconds = 86_400.0
    """How long every point in time is kept."""
    retention: Seconds = 604_800.0
    """How long one point an hour is kept."""
    compression_level: Annotated[int, Field(ge=1, le=19)] = 3
    """Of zstd."""
    encryption_key: Annotated[SecretStr | None, Unset] = None
    """An age secret key; what is shipped can be read with it alone."""
    scrub_rate: Annotated[int, Field(ge=0)] = 10
    """MB of the database file that are read again each second to find damage; 0 is off."""
    store_scrub_rate: Annotated[int, Field(ge=0)] = 5
    """MB of the replica that are read again each second, once a day, to find damage; 0 is off."""
    drill_schedule: Crontab = "30 4 * * 0"
    """When the newest point is restored elsewhere and verified, as in a crontab (UTC), or ``never``."""


class AuditSettings(BaseSettings):
    """The append-only trail of who asked what (``DUCKDB_AUDIT_*``)."""

    model_config = from_environment("DUCKDB_AUDIT_")

    enabled: bool = True
    """Whether there is one."""
    file: AbsolutePath = None
    """Where it is; default: ``DATABASE.audit.jsonl`` beside the database."""
    text: bool = False
    """Also record the statements' texts, their secrets masked; without it only their hashes."""
    max_size: ByteCount = 32_000_000
    """Size at which the file is rotated and compressed."""
    keep_files: Annotated[int, Field(ge=1)] = 100
    """Rotated files that are kept."""
    keep_days: Annotated[int, Field(ge=1)] = 365
    """Days after which a rotated file is deleted."""
    queue_size: ByteCount = 16_000_000
    """Events that wait in memory for a slow or full disk, in bytes; more are dropped and counted."""
    hourly: ByteCount = 1_000_000_000
    """What the lines of one principal may take within an hour; then its requests are refused."""


class JobSettings(BaseSettings):
    """Statements that outlive their request (``DUCKDB_JOB_*``)."""

    model_config = from_environment("DUCKDB_JOB_")

    timeout: Seconds = 3600.0
    """The longest deadline of a statement that runs as a job, and its default."""
    result_ttl: Seconds = 86_400.0
    """How long a job and its result are kept after its end."""
    space: ByteCount = 10_000_000_000
    """What all stored results and exports may take together; beyond it jobs are refused."""


class ExportSettings(BaseSettings):
    """Results that are handed out as files (``DUCKDB_EXPORT_*``)."""

    model_config = from_environment("DUCKDB_EXPORT_")

    url: OptionalText = None
    """A directory or ``s3://bucket/prefix``; without it there are no exports."""
    keep_days: Annotated[int, Field(ge=1)] = 7
    """Days after which an export is deleted."""
    partitions: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Folders that one export may have by ``partition_by``."""
    file: AbsolutePath = None
    """A TOML file that declares exports into Meilisearch; without it there are none."""


class QueryLogSettings(BaseSettings):
    """``chronoduck.query_log``, which admins query with SQL (``DUCKDB_QUERY_LOG_*``)."""

    model_config = from_environment("DUCKDB_QUERY_LOG_")

    enabled: bool = True
    """Whether there is one; without it the windows of the statistics do not outlive a restart."""
    file: AbsolutePath = None
    """Where it is; default: ``NAME.query_log/query_log.duckdb`` beside ``NAME.db``."""
    text: Literal["normalized", "masked", "none"] = "normalized"
    """Texts without their literals, texts with their secrets masked, or no texts."""
    keep_rows: Annotated[int, Field(ge=1_000)] = 1_000_000
    """Newest statements that are kept; about 50 MB a million."""
    space: ByteCount = 1_000_000_000
    """What the file may take at most, about; the oldest statements go before there are ``keep_rows``."""
    keep_days: Annotated[int, Field(ge=1)] = 30
    """Days after which a statement is deleted."""
    interval: Seconds = 1.0
    """How often statements are written; what a killed process loses of the log."""
    queue_size: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Statements that wait in memory for a slow or full disk; more are dropped and counted."""


class BackupSettings(BaseSettings):
    """Plain backups, each a file that ``zstd -d`` or ``gunzip`` restores (``DUCKDB_BACKUP_*``)."""

    model_config = from_environment("DUCKDB_BACKUP_")

    dir: AbsolutePath = None
    """Where backups go; without it there are none."""
    schedule: Crontab = "0 * * * *"
    """When, as in a crontab (UTC); ``never`` for only on demand."""
    format: Literal["zst", "gz"] = "zst"
    """How they are compressed."""
    keep_days: Annotated[int, Field(ge=1)] = 30
    """Days after which a backup is deleted, whatever else keeps it."""
    keep_hourly: Annotated[int, Field(ge=0)] = 48
    """The newest backup of so many hours is kept."""
    keep_daily: Annotated[int, Field(ge=0)] = 30
    """The newest backup of so many days is kept."""
    keep_weekly: Annotated[int, Field(ge=0)] = 0
    """The newest backup of so many weeks is kept."""
    keep_monthly: Annotated[int, Field(ge=0)] = 0
    """The newest backup of so many months is kept."""
    age_recipient: OptionalText = None
    """Encrypt for this age public key (``age1...``)."""
    age_identity_file: OptionalPath = None
    """The secret key's file, to verify and restore what ``age_recipient`` encrypted."""
    gpg_passphrase_file: OptionalPath = None
    """Encrypt by gpg with AES256 and the passphrase in this file."""


class ShadowSettings(BaseSettings):
    """The process that replays the WAL on a private copy (``DUCKDB_SHADOW_*``)."""

    model_config = from_environment("DUCKDB_SHADOW_")

    enabled: bool = True
    """Whether there is one; without it nothing says whether a start would survive the WAL."""
    dir: AbsolutePath = None
    """Where the copy is, in a directory of its own; default: beside the database."""
    cpu_percent: Annotated[float, Field(gt=0, le=100)] = 5.0
    """Of one core, the mean of 10 minutes, that it may use by itself."""
    memory: Annotated[ByteCount | None, Unset] = None
    """What it may use, taken from the engine's share; default: a tenth, from 150 MB to 1 GB."""
