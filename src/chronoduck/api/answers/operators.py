"""What the routes of keys, templates, the audit trail and the penalty box answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from chronoduck.api.answers.statistics import PenaltyStatus

__all__ = ["AuditPage", "IssuedKey", "Key", "KeyList", "Penalties", "Template"]


class GrantedTable(BaseModel):
    """A table or view that a key sees; with `filter` only the rows for which that holds."""

    name: str
    schema_: Annotated[str, Field(alias="schema")]
    filter: str | None


class GrantedLimits(BaseModel):
    """How much a key may use; what is missing is not limited."""

    requests_per_minute: int | None = None
    concurrent_statements: int | None = None
    engine_seconds_per_hour: float | None = None
    max_rows: int | None = None
    max_result_bytes: int | None = None
    statement_timeout: float | None = None
    max_scan_rows: int | None = None


class Key(BaseModel):
    """An API key without its secret. Without tables and schemas it sees everything."""

    id: str
    name: str
    role: str
    state: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    tables: list[GrantedTable]
    schemas: list[str]
    claims: Annotated[dict[str, Any], Field(description="What row filters name as `$claim.NAME`.")]
    write: Annotated[
        list[str] | None,
        Field(description="Schemas and tables that a writer is narrowed to; `null`: it is not."),
    ]
    limits: GrantedLimits


class IssuedKey(Key):
    """A new key; `key` is the only copy of its secret."""

    key: str


class KeyList(BaseModel):
    """The keys, oldest first."""

    keys: list[Key]


class TemplateParameter(BaseModel):
    """A parameter of a template. `default` is missing where it is required."""

    name: str
    type: str
    description: str
    required: bool
    default: Any = None
    min: Any = None
    max: Any = None
    pattern: str | None = None
    choices: list[Any] | None = None


class Template(BaseModel):
    """A prepared query."""

    name: str
    description: str
    parameters: list[TemplateParameter]


class AuditEvent(BaseModel):
    """One event. Members that have no value are missing; an event may have more than these."""

    model_config = ConfigDict(extra="allow")

    v: int
    seq: int
    time: str
    event: str
    principal: str | None = None
    name: str | None = None
    role: str | None = None
    address: str | None = None
    request_id: str | None = None
    verdict: str | None = None
    prev: str


class AuditPage(BaseModel):
    """Events, newest first; `next_cursor` leads to older ones."""

    events: list[AuditEvent]
    next_cursor: str | None


class Penalty(BaseModel):
    """Who has to wait or runs alone, and why. `fingerprint`: only statements of that shape."""

    party: str
    name: str | None
    fingerprint: str | None
    reason: str
    seconds: float
    faults: int


class Penalties(PenaltyStatus):
    """Who waits in the penalty box, the longest wait first, and what runs alone."""

    waiting: list[Penalty]
    alone: list[Penalty]
