"""The service's settings, and how they are read from the environment."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from chronoduck.errors import SettingsError
from chronoduck.settings.access import AuthSettings, JwtSettings
from chronoduck.settings.deadlines import DeadlineSettings
from chronoduck.settings.groups import (
    AuditSettings,
    BackupSettings,
    BreakerSettings,
    CheckpointSettings,
    ExportSettings,
    JobSettings,
    QueryLogSettings,
    QuotaSettings,
    ReplicaSettings,
    ShadowSettings,
)
from chronoduck.settings.ingest import IngestSettings
from chronoduck.settings.mistakes import describe_mistake
from chronoduck.settings.sandbox import WallList
from chronoduck.settings.secret_files import read_secret_files, secret_fields
from chronoduck.settings.transport import TransportSettings
from chronoduck.settings.values import (
    DEFAULT_STORAGE_VERSION,
    AbsolutePath,
    ByteCount,
    Delay,
    EngineMemory,
    LogFormat,
    LogLevel,
    PathList,
    Seconds,
    SpaceCount,
    StorageVersion,
    from_environment,
)

__all__ = ["GROUPS", "Settings", "load_settings", "variable_names"]


def _env(name: str, field: str) -> AliasChoices:
    """A field read from a variable without our prefix, still settable by its field name."""
    return AliasChoices(name, field)


class Settings(BaseSettings):
    """All settings of the service. Environment variable = ``DUCKDB_`` + the field name in capitals.

    Sizes are written ``4GB`` or ``512MiB``, durations ``30``, ``250ms`` or ``5m``.
    """

    model_config = SettingsConfigDict(**from_environment("DUCKDB_"), populate_by_name=True)

    if TYPE_CHECKING:
        # A type checker would refuse memory_limit="4GB" and database_path="a.db": it does not know
        # that values are read as the environment's are.
        def __init__(self, **values: Any) -> None: ...

    database_path: Path = Path("/var/lib/duckdb/chrono_analytics.db")
    """The database file. Its directory also holds ``admin.token`` and the lock file."""
    storage_version: StorageVersion = DEFAULT_STORAGE_VERSION
    """The oldest DuckDB that can open the files that the service makes; existing files keep theirs."""
    memory_limit: EngineMemory = 4_000_000_000
    """Upper bound for the engine's memory; the smaller of this and the percentage below wins."""
    max_memory_percentage: Annotated[float, Field(gt=0, le=95)] = 60.0
    """Share of the memory that this machine or container may use."""
    worker_threads: Annotated[int, Field(ge=1, le=256)] = 4
    """Statements that run at the same time."""
    engine_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads that DuckDB uses for all of them together; default: the CPUs this process may use."""
    max_connections: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Connections in the pool; default: ``worker_threads * 2``."""
    queue_size: Annotated[int, Field(ge=0, le=100_000)] = 256
    """Callers that may wait for a worker; the next one gets 503 with Retry-After at once."""
    analyzers: Annotated[int, Field(ge=2, le=32)] = 4
    """Processes that read users' SQL before it is run; they start when they are needed."""
    analysis_timeout: Seconds = 5.0
    """CPU time for a statement of 100 KB; a shorter one gets less, at least a quarter."""
    temp_directory: Path = Path("/tmp/duckdb")  # noqa: S108 - the operations guide's default
    """Spill files and uploads, in a folder per database. Must not be writable by everybody."""
    max_temp_size: ByteCount | None = None
    """Cap for spill files; default: twice the memory limit."""

    disk_floor: SpaceCount = 500_000_000
    """Free space on the database's volume below which writes are refused; 0 is off."""
    ballast_size: SpaceCount = 64_000_000
    """Size of a file beside the database that is let go when the disk is full all the same."""

    statement_timeout: Seconds = 30.0
    """Deadline of a statement whose caller names none."""
    max_statement_timeout: Seconds = 300.0
    """The longest deadline that a caller may ask for."""
    default_max_rows: Annotated[int, Field(ge=1)] = 10_000
    """Rows that a JSON answer holds when the caller does not say ``max_rows``."""
    max_upload_size: ByteCount = 10_000_000_000
    """The largest file that can be uploaded for loading."""
    upload_space: ByteCount = 40_000_000_000
    """What uploads, and what is unpacked of them, may take together on the spill volume."""
    spool_space: ByteCount = 4_000_000_000
    """What results that wait for their end may take together there: CSV with ``max_rows``, HTTP/1.0."""
    shutdown_grace: Seconds = 10.0
    """How long running statements may finish at shutdown before they are interrupted."""
    shutdown_delay: Delay = 0.0
    """How long requests are still taken after SIGTERM while `health/ready` already says no."""
    stuck_seconds: Seconds = 5.0
    """How long a statement may not listen to its interrupt before the server's process is replaced."""
    silent_seconds: Seconds = 5.0
    """How long the server's event loop may hang before the supervisor ends the process."""
    standby: bool = True
    """Keep a second process ready to take over; it costs 150 MB, a restart without it a second more."""
    address_space_limit: SpaceCount | None = None
    """Bound of the server's address space; default: twice the memory limit and 4 GB; 0 is off."""
    slow_query_seconds: Seconds = 5.0
    """Statements from this duration on are logged as warnings."""

    temp_encryption: bool = True
    """Encrypt spill files with a key that only the process knows."""
    require_sandbox: WallList = ()
    """Walls that must stand, separated by commas; the service does not start without one of them."""
    enable_s3: bool = False
    """Load the httpfs extension and allow ``s3://`` in statements."""
    allow_extension_download: bool = False
    """Install a missing extension from DuckDB's own repository."""
    allowed_directories: PathList = ()
    """Directories, separated by ``:``, that statements may read and write (COPY, read_parquet)."""
    templates_directory: Path | None = None
    """A directory of your own query templates."""

    public_monitoring: Literal["basic", "full"] = "basic"
    """What health, statistics and metrics tell without a token: ``full`` adds paths and versions."""

    sync_file: AbsolutePath = None
    """A TOML file that declares what is read from PostgreSQL into tables, and when."""

    tracing: bool = False
    """Send OpenTelemetry traces; ``OTEL_EXPORTER_OTLP_ENDPOINT`` and its like tell where to."""

    host: str = "127.0.0.1"
    """Address that ``chronoduck serve`` listens on."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Port that ``chronoduck serve`` listens on."""
    log_file: Path | None = None
    """Write the log to this rotating file instead of standard error."""
    log_format: LogFormat = "auto"
    """One JSON object per line, or lines for people (``console``); ``auto``: those on a terminal."""
    log_level: LogLevel = "info"
    """Least severe line that is written."""
    log_max_size: ByteCount = 50_000_000
    """Size at which the log file is rotated."""
    log_backups: Annotated[int, Field(ge=0, le=1000)] = 5
    """Rotated log files that are kept."""

    aws_access_key_id: SecretStr | None = Field(
        default=None, validation_alias=_env("AWS_ACCESS_KEY_ID", "aws_access_key_id")
    )
    """Key id for S3; becomes a DuckDB secret that no statement can read."""
    aws_secret_access_key: SecretStr | None = Field(
        default=None, validation_alias=_env("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key")
    )
    """Secret key for S3."""
    aws_session_token: SecretStr | None = Field(
        default=None, validation_alias=_env("AWS_SESSION_TOKEN", "aws_session_token")
    )
    """Session token for S3, with temporary credentials."""
    aws_default_region: str = Field(
        default="us-east-1", validation_alias=_env("AWS_DEFAULT_REGION", "aws_default_region")
    )
    """Region for S3."""

    parquet_compression: Literal["ZSTD", "SNAPPY", "GZIP", "LZ4", "BROTLI", "NONE"] = Field(
        default="ZSTD", validation_alias=_env("PARQUET_COMPRESSION", "parquet_compression")
    )
    """Codec of Parquet results."""
    parquet_row_group_size: Annotated[int, Field(ge=1)] = Field(
        default=1_000_000, validation_alias=_env("PARQUET_ROW_GROUP_SIZE", "parquet_row_group_size")
    )
    """Rows per row group of Parquet results."""
    parquet_page_size: ByteCount = Field(
        default=1_048_576, validation_alias=_env("PARQUET_PAGE_SIZE", "parquet_page_size")
    )
    """Bytes per page of Parquet results."""
    parquet_enable_dictionary: bool = Field(
        default=True,
        validation_alias=_env("PARQUET_ENABLE_DICTIONARY", "parquet_enable_dictionary"),
    )
    """Dictionary encoding in Parquet results."""

    proof_timeout: Seconds = 5.0
    """How long DDL, and what is written behind it, waits for a proof before it is answered."""
    auto_recover: bool = False
    """Restore from the replica at start when the database is missing or no way opens it, unless the
    local WAL holds transactions that the restored database would not."""
    newer_engine: Path | None = None
    """A Python of another environment with chronoduck and a newer DuckDB. It opens what this DuckDB
    cannot, after which this one must open it, too."""
    quarantine_wal: bool = False
    """Start with the longest beginning of the WAL that DuckDB accepts; the rest is kept in a file."""

    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    checkpoint: CheckpointSettings = Field(default_factory=CheckpointSettings)
    replica: ReplicaSettings = Field(default_factory=ReplicaSettings)
    backup: BackupSettings = Field(default_factory=BackupSettings)
    deadline: DeadlineSettings = Field(default_factory=DeadlineSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    jwt: JwtSettings = Field(default_factory=JwtSettings)
    quota: QuotaSettings = Field(default_factory=QuotaSettings)
    transport: TransportSettings = Field(default_factory=TransportSettings)
    export: ExportSettings = Field(default_factory=ExportSettings)
    job: JobSettings = Field(default_factory=JobSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    query_log: QueryLogSettings = Field(default_factory=QueryLogSettings)
    shadow: ShadowSettings = Field(default_factory=ShadowSettings)

    @field_validator("parquet_compression", mode="before")
    @classmethod
    def _codec_in_capitals(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    @classmethod
    def _empty_is_unset(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value() else None

    @field_validator("database_path", "temp_directory", "templates_directory", "log_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("database_path")
    @classmethod
    def _without_link(cls, value: Path) -> Path:
        """Follow a link to the file: DuckDB puts the WAL beside the file, not beside the link."""
        return value.resolve() if value.is_symlink() else value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.max_connections is not None and self.max_connections < self.worker_threads:
            raise ValueError(
                f"max_connections ({self.max_connections}) is below worker_threads "
                f"({self.worker_threads}): some workers could never run"
            )
        if self.statement_timeout > self.max_statement_timeout:
            raise ValueError(
                f"statement_timeout ({self.statement_timeout:g} s) is above max_statement_timeout "
                f"({self.max_statement_timeout:g} s)"
            )
        self._check_replica_place()
        return self

    def _check_replica_place(self) -> None:
        """Refuse a replica around the database: retention deletes there, and a lost disk takes both."""
        url = urlsplit(self.replica.url or "")
        if not url.path or url.scheme not in ("", "file"):
            return
        place = Path(url.path if url.scheme else str(self.replica.url)).expanduser().absolute()
        if self.database_path.is_relative_to(place):
            raise ValueError(
                f"DUCKDB_REPLICA_URL: {place} holds the database itself ({self.database_path}); name a "
                "directory of its own on another disk, or s3://bucket/prefix"
            )

    @property
    def pool_size(self) -> int:
        """Connections that the pool holds at most."""
        return self.max_connections or self.worker_threads * 2

    @property
    def worker_share(self) -> int:
        """Workers that one principal may hold at once, unless it is an admin."""
        return self.quota.workers or max(1, self.worker_threads - 1)

    @property
    def connection_share(self) -> int:
        """Connections that one principal may hold at once, unless it is an admin."""
        return self.quota.connections or max(1, self.pool_size // 2)

    @property
    def space_share(self) -> float:
        """Part of each budget of disk space that one principal may hold, from 0 to 1."""
        return self.quota.space / 100

    @property
    def token_path(self) -> Path:
        """The file that holds the admin token."""
        return self.database_path.parent / "admin.token"

    @property
    def keys_path(self) -> Path:
        """The file that holds the API keys."""
        return self.database_path.parent / "keys.json"

    @property
    def jobs_path(self) -> Path:
        """The directory of jobs and their results."""
        return self.database_path.with_name(self.database_path.stem + ".jobs")

    @property
    def rescue_path(self) -> Path:
        """The directory where the instance writes a copy of itself in an emergency; else not there."""
        return self.database_path.with_name(self.database_path.stem + ".rescue")

    @property
    def audit_path(self) -> Path:
        """The file that the audit trail is appended to."""
        return self.audit.file or self.database_path.with_name(
            self.database_path.name + ".audit.jsonl"
        )

    @property
    def usage_path(self) -> Path:
        """The file of what principals used, and of who has to wait."""
        return self.database_path.with_name(self.database_path.name + ".usage.json")

    @property
    def shadow_path(self) -> Path:
        """The directory of the shadow's copy, which no other service uses."""
        name = self.database_path.stem
        if self.shadow.dir is None:
            return self.database_path.with_name(f"{name}.shadow")
        # Services with databases of the same name may share DUCKDB_SHADOW_DIR.
        place = hashlib.sha256(os.fsencode(self.database_path)).hexdigest()[:8]
        return self.shadow.dir / f"{name}-{place}.shadow"

    @property
    def query_log_path(self) -> Path:
        """The file of the query log, in a directory that is nobody else's."""
        # Not NAME.db.query_log: people write NAME.db* when they move a database.
        directory = self.database_path.with_name(self.database_path.stem + ".query_log")
        return self.query_log.file or directory / "query_log.duckdb"


GROUPS: dict[str, type[BaseSettings]] = {
    "breaker": BreakerSettings,
    "checkpoint": CheckpointSettings,
    "replica": ReplicaSettings,
    "backup": BackupSettings,
    "deadline": DeadlineSettings,
    "auth": AuthSettings,
    "jwt": JwtSettings,
    "quota": QuotaSettings,
    "transport": TransportSettings,
    "export": ExportSettings,
    "job": JobSettings,
    "audit": AuditSettings,
    "ingest": IngestSettings,
    "query_log": QueryLogSettings,
    "shadow": ShadowSettings,
}
"""Fields of the settings that are settings of their own."""


def variable_names(model: type[BaseSettings]) -> dict[str, str]:
    """Return the environment variable of each field."""
    prefix = str(model.model_config["env_prefix"])
    names = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if name not in GROUPS:
            names[name] = (
                str(alias.choices[0]) if isinstance(alias, AliasChoices) else prefix + name.upper()
            )
    return names


_OF_DUCKDB = frozenset({"DUCKDB_JE_MALLOC_CONF"})
"""Read by DuckDB's allocator, and set by our supervisor."""


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    models: tuple[type[BaseSettings], ...] = (Settings, *GROUPS.values())
    known = {variable for model in models for variable in variable_names(model).values()}
    known |= _OF_DUCKDB
    known |= {
        f"{variable_names(model)[field]}_FILE" for model in models for field in secret_fields(model)
    }
    for name in sorted(environ):
        if name.startswith("DUCKDB_") and name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            raise SettingsError(
                f"unknown setting {name}",
                hint=(f"Did you mean {close[0]}? " if close else "")
                + "`chronoduck help configuration` lists them all.",
            )


def load_settings(**overrides: Any) -> Settings:
    """Return the settings of this process: the environment, with ``overrides`` (by field) on top.

    Raises:
        SettingsError: a ``DUCKDB_`` variable is unknown, or a value is invalid; names the variable.
    """
    _refuse_unknown(os.environ)
    given = {name: _read(model, {}) for name, model in GROUPS.items()}
    settings = _read(Settings, {**given, **overrides})
    assert isinstance(settings, Settings)  # noqa: S101 - what was asked for
    return settings


def _read(model: type[BaseSettings], given: Mapping[str, Any]) -> BaseSettings:
    secrets = read_secret_files(model, variable_names(model), os.environ)
    try:
        return model(**{**secrets, **given})
    except ValidationError as error:
        raise _as_settings_error(error, variable_names(model)) from None


def _as_settings_error(error: ValidationError, names: Mapping[str, str]) -> SettingsError:
    """Name the variable and what is wrong, and never repeat a secret."""
    parts = []
    for item in error.errors(include_url=False, include_input=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        message = describe_mistake(item)
        variable = names.get(field, field)
        parts.append(f"{variable}: {message}" if variable else message)
    return SettingsError(
        "; ".join(parts),
        hint="`chronoduck help configuration` tells each setting's form and default.",
    )
