"""What goes in and out as JSON, for validation and for the API's documentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chronoduck.principals import Role

__all__ = [
    "BackupRequest",
    "BatchRequest",
    "BatchResponse",
    "ExpensiveStatement",
    "ExplainRequest",
    "ExplainResponse",
    "KeyRequest",
    "Me",
    "PrincipalUsage",
    "Problem",
    "QueryRequest",
    "QueryResponse",
    "RunningQuery",
    "StatusMessage",
    "SyncRequest",
    "TableDetails",
    "TableSummary",
    "Totals",
    "Used",
    "UsedNow",
]

_MAX_PARAMETERS = 10_000
Params = (
    Annotated[list[Any], Field(max_length=_MAX_PARAMETERS)]
    | Annotated[dict[str, Any], Field(max_length=_MAX_PARAMETERS)]
    | None
)
Sql = Annotated[str, Field(description="One SQL statement.", examples=["SELECT 42 AS answer"])]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)  # 0 is no boolean, "5" no number


class QueryRequest(_Request):
    """A statement, its parameters and its limits."""

    query: Sql
    params: Annotated[
        Params, Field(description="A list for `?` and `$1`, an object for `$name`.")
    ] = None
    fetch_mode: Literal["all", "one", "many", "none"] = "all"
    timeout_seconds: Annotated[
        float | None,
        Field(gt=0, description="Deadline, waiting included; default 30, at most 300."),
    ] = None
    max_rows: Annotated[
        int | None, Field(ge=1, description="JSON default 10,000; other formats: no limit.")
    ] = None
    json_numbers: Annotated[
        Literal["exact", "safe"],
        Field(description="`safe`: integers beyond 2^53 and decimals as strings."),
    ] = "exact"


class JobRequest(_Request):
    """A statement that is run while nobody waits for it."""

    query: Sql
    params: Params = None
    timeout_seconds: Annotated[
        float | None, Field(gt=0, description="Deadline; default and limit DUCKDB_JOB_TIMEOUT.")
    ] = None
    max_rows: Annotated[int | None, Field(ge=1, description="Default: no limit.")] = None


class ExportRequest(_Request):
    """What to export, and as what."""

    query: Sql
    params: Params = None
    format: Literal["parquet", "csv", "json", "arrow"] = "parquet"
    partition_by: Annotated[
        list[str], Field(max_length=4, description="Columns whose values become folders.")
    ] = []
    name: Annotated[str, Field(max_length=64, description="The beginning of the files' names.")] = (
        "export"
    )
    timeout_seconds: Annotated[
        float | None, Field(gt=0, description="Deadline; default and limit DUCKDB_JOB_TIMEOUT.")
    ] = None


class LinkRequest(_Request):
    """A link to one file of an export, for somebody without a credential."""

    file: str
    expires_in_seconds: Annotated[int, Field(ge=1, le=604_800)] = 3600


class LinkResponse(BaseModel):
    """Whoever has the link may fetch the file until it expires."""

    url: str
    expires_at: str


class QueryResponse(BaseModel):
    """A result; rows are arrays in the order of `columns`."""

    columns: list[str]
    types: Annotated[list[str], Field(description="DuckDB's types, in the order of `columns`.")]
    query_hash: str
    data: list[list[Any]]
    row_count: int
    truncated: Annotated[bool, Field(description="Whether there were more rows than `max_rows`.")]
    execution_time: Annotated[float, Field(description="Seconds in the engine.")]
    memory_usage: Annotated[float, Field(description="Peak of the engine's buffers in MB.")]


class BatchStatement(_Request):
    """A statement of a batch with its parameters."""

    query: Sql
    params: Params = None


class BatchRequest(_Request):
    """Statements that run in order on one connection."""

    queries: Annotated[list[str | BatchStatement], Field(min_length=1, max_length=1000)]
    use_transaction: Annotated[bool, Field(description="All or nothing.")] = True
    timeout_seconds: Annotated[float | None, Field(gt=0)] = None
    max_rows: Annotated[int | None, Field(ge=1)] = None


class BatchResponse(BaseModel):
    """The results in the order of the statements."""

    results: list[QueryResponse]
    total_queries: int
    total_execution_time: Annotated[float, Field(description="Seconds, waiting included.")]
    success_count: int


class ExplainRequest(_Request):
    """A statement whose plan is wanted."""

    query: Sql
    params: Params = None
    analyze: Annotated[bool, Field(description="Run it and measure; only for reads.")] = False
    format: Literal["text", "json"] = "text"
    timeout_seconds: Annotated[float | None, Field(gt=0)] = None


class ExplainResponse(BaseModel):
    """A plan as text or as JSON."""

    plan: Any
    format: Literal["text", "json"]
    analyze: bool
    execution_time: float
    query_hash: str


class TableSummary(BaseModel):
    """A table or view."""

    schema_: Annotated[str, Field(alias="schema", serialization_alias="schema")]
    name: str
    kind: Literal["table", "view"]
    row_estimate: int | None
    column_count: int


class ColumnDetails(BaseModel):
    """A column."""

    name: str
    type: str
    nullable: bool
    default: str | None


class TableDetails(TableSummary):
    """A table with its columns and some rows."""

    size_bytes: int | None
    columns: list[ColumnDetails]
    sample: QueryResponse


class BackupRequest(_Request):
    """What to back up."""

    tables: Annotated[
        list[str], Field(description="Only these, as Parquet files; empty: the database.")
    ] = []


class SyncRequest(_Request):
    """Which syncs to run."""

    names: Annotated[list[str], Field(description="As declared; empty: all.")] = []


class ExportRunRequest(_Request):
    """Which declared exports to run."""

    names: Annotated[list[str], Field(description="As declared; empty: all.")] = []
    rebuild: Annotated[
        bool, Field(description="Build indexes anew and swap them, whatever changed.")
    ] = False


class KeyTable(_Request):
    """A table or view that the key sees."""

    name: str
    schema_: Annotated[str, Field(alias="schema")] = "main"
    filter: Annotated[
        str | None, Field(description="Only rows for which this SQL condition holds.")
    ] = None


class KeyLimits(_Request):
    """How much the key may use; what is left out is not limited."""

    requests_per_minute: Annotated[int | None, Field(gt=0, lt=2**63)] = None
    concurrent_statements: Annotated[int | None, Field(gt=0, lt=2**63)] = None
    engine_seconds_per_hour: Annotated[float | None, Field(gt=0)] = None
    max_rows: Annotated[int | None, Field(gt=0, lt=2**63)] = None
    max_result_bytes: Annotated[int | None, Field(gt=0, lt=2**63)] = None
    statement_timeout: Annotated[float | None, Field(gt=0)] = None
    max_scan_rows: Annotated[int | None, Field(gt=0, lt=2**63)] = None


class KeyRequest(_Request):
    """What the new key is called, may do and sees; without tables and schemas: everything."""

    name: str
    role: Role
    expires_in_seconds: Annotated[float | None, Field(gt=0)] = None
    tables: list[KeyTable] = []
    schemas: list[str] = []
    claims: Annotated[
        dict[str, Any],
        Field(
            description="What row filters name as `$claim.NAME`: texts, numbers, booleans, lists."
        ),
    ] = {}
    write: Annotated[
        list[str] | None,
        Field(
            description="Of a writer: schemas (`anna`) and tables (`main.notes`) that it writes."
        ),
    ] = None
    limits: KeyLimits = KeyLimits()


class RunningQuery(BaseModel):
    """A statement that waits, runs or streams now. Times in seconds."""

    id: str
    query: str
    kind: str
    query_hash: str
    user: str
    request_id: str | None
    state: Literal["waiting", "running", "streaming"]
    started_at: str
    elapsed_seconds: float
    queue_seconds: float
    timeout_seconds: float
    rows: int


class Used(BaseModel):
    """One limit and what is used of it; `null`: there is no limit, or no window."""

    used: float
    limit: float | None
    remaining: float | None
    window_seconds: float | None
    resets_in_seconds: Annotated[
        float, Field(description="When some of what is used no longer counts.")
    ]


class UsedNow(BaseModel):
    """What a principal uses of what is limited over time or at a time."""

    requests: Used
    engine_seconds: Used
    concurrent_statements: Used
    results_bytes: Annotated[Used, Field(description="Results of jobs and exports on the disk.")]
    spools_bytes: Annotated[Used, Field(description="Results that wait for their end.")]
    uploads_bytes: Used
    audit_bytes: Annotated[Used, Field(description="Lines of the audit trail within an hour.")]


class Totals(BaseModel):
    """What a principal did since the service was started."""

    requests: int
    statements: int
    refused: int
    engine_seconds: float


class PrincipalUsage(BaseModel):
    """A principal, its limits (`null`: none), and what it uses of them."""

    id: str
    name: str
    role: str
    limits: dict[str, float | None]
    usage: UsedNow
    since_start: Totals


class Me(PrincipalUsage):
    """You."""

    write: Annotated[
        list[str] | None,
        Field(description="Schemas and tables that a writer is narrowed to; `null`: it is not."),
    ]
    running: list[RunningQuery]


class ExpensiveStatement(BaseModel):
    """All statements of one shape since the start; times in seconds, memory in MB."""

    statement: Annotated[str, Field(description="In lower case, `?` for literals.")]
    fingerprint: Annotated[str, Field(description="Of that text; also in `chronoduck.query_log`.")]
    kind: str
    template: str | None
    count: int
    errors: int
    total_time: float
    mean_time: float
    max_time: float
    engine_seconds: float
    rows: int
    result_bytes: int
    peak_memory_mb: float
    first_seen: str
    last_seen: str
    unseen_seconds: Annotated[
        float, Field(description="Total time that it may have had before it was remembered.")
    ]


class StatusMessage(BaseModel):
    """What was done."""

    status: str
    message: str


class Position(BaseModel):
    """A place in the statement, from 1 on."""

    line: int
    column: int | None


class Problem(BaseModel):
    """RFC 9457 problem. Members with a default are there where they fit."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    retryable: bool
    request_id: str | None
    category: Annotated[str | None, Field(description="Of an error in the statement.")] = None
    position: Position | None = None
    rule: Annotated[str | None, Field(description="Why the statement was refused.")] = None
    reason: Annotated[str | None, Field(description="Why the principal has to wait.")] = None
    statement_index: Annotated[int | None, Field(description="In a batch.")] = None
    rolled_back: bool | None = None
