"""One event, one line: the members of version 1 of the format, described in docs/security.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

__all__ = [
    "MAX_TEXT_CHARACTERS",
    "VERSION",
    "Act",
    "AuditedStatement",
    "Caller",
    "Principal",
    "act_fields",
    "line",
    "statement_fields",
    "time_text",
    "verdict_of",
]

VERSION = 1
MAX_TEXT_CHARACTERS = 10_000
_MAX_FACT_CHARACTERS = 500
_PRINCIPALS = frozenset({"owner", "party"})
"""Facts that are ids of principals."""
_REFUSED = frozenset({"statement_refused", "forbidden", "unauthenticated"})
_TOO_MUCH = frozenset({"quota_exceeded", "penalty_box"})
_VERDICTS = {"user_error": "error", "refused": "unavailable"}
"""Outcomes of statements that the trail calls otherwise."""


class Principal(Protocol):
    """Who asks."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...


class Caller(Protocol):
    """Who asks, by which request, from where."""

    @property
    def principal(self) -> Principal: ...
    @property
    def address(self) -> str | None: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def sub_user(self) -> str | None: ...


class AuditedStatement(Protocol):
    """What is needed of a statement that has ended; times in seconds."""

    @property
    def sql(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def query_hash(self) -> str: ...
    @property
    def caller(self) -> Caller: ...
    @property
    def outcome(self) -> str: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def rule(self) -> str | None: ...
    @property
    def ended_at(self) -> float: ...
    @property
    def execution_time(self) -> float: ...
    @property
    def queue_time(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Act:
    """Anything but a statement: an administrative act, a failed authentication, a start."""

    event: str
    at: float
    """Unix time."""
    principal: Principal | None = None
    address: str | None = None
    request_id: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def verdict_of(outcome: str, code: str | None) -> str:
    """Return ok, refused, quota, error, timeout, cancelled, unavailable, failed or aborted."""
    if code in _REFUSED:
        return "refused"
    if code in _TOO_MUCH:
        return "quota"
    return _VERDICTS.get(outcome, outcome)


def statement_fields(
    statement: AuditedStatement, mask: Callable[[str], str] | None
) -> dict[str, Any]:
    """Return the members of a statement's line; with ``mask`` the masked text is one of them."""
    caller = statement.caller
    principal = caller.principal
    fields = {
        "time": time_text(statement.ended_at),
        "event": "statement",
        "principal": principal.id,
        "name": principal.name,
        "role": principal.role,
        "sub_user": caller.sub_user,
        "address": caller.address,
        "request_id": caller.request_id,
        "kind": statement.kind,
        "query_hash": statement.query_hash,
        "verdict": verdict_of(statement.outcome, statement.error_code),
        "code": statement.error_code,
        "rule": statement.rule,
        "rows": statement.rows,
        "bytes": statement.bytes,
        "duration_ms": round(statement.execution_time * 1000, 3),
        "queue_ms": round(statement.queue_time * 1000, 3),
    }
    if mask is not None:
        fields["text"] = _cut(mask(statement.sql), MAX_TEXT_CHARACTERS)
    return fields


def act_fields(act: Act, mask: Callable[[str], str]) -> dict[str, Any]:
    """Return the members of another event's line; texts among the facts are masked and cut."""
    principal = act.principal
    fields: dict[str, Any] = {
        "time": time_text(act.at),
        "event": act.event,
        "principal": None if principal is None else principal.id,
        "name": None if principal is None else principal.name,
        "role": None if principal is None else principal.role,
        "address": act.address,
        "request_id": act.request_id,
        "verdict": "ok",
    }
    for name, value in act.facts.items():
        if isinstance(value, str):
            # `key:5f0c...` is whose it is, and is written like a secret behind its name.
            is_principal = name in _PRINCIPALS
            value = value[:_MAX_FACT_CHARACTERS] if is_principal else _masked_fact(value, mask)
        fields[name] = value
    return fields


def line(fields: dict[str, Any], seq: int, previous: str) -> bytes:
    """Return the event as a line without its end; members that are None are left out."""
    members: dict[str, Any] = {"v": VERSION, "seq": seq}
    members |= {name: value for name, value in fields.items() if value is not None}
    members["prev"] = previous
    try:
        return orjson.dumps(members)
    except TypeError:  # a lone surrogate, which has no UTF-8
        return orjson.dumps({name: _clean(value) for name, value in members.items()}, default=str)


def time_text(unix_time: float) -> str:
    """Return the moment in UTC with milliseconds: ``2026-11-23T10:20:30.123Z``."""
    moment = datetime.fromtimestamp(unix_time, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _masked_fact(text: str, mask: Callable[[str], str]) -> str:
    """Return the text without secrets, cut; it is cut first, since a path may have 60 KB.

    The mask sees more than stays, so that a secret at the cut is known by its form.
    """
    seen = text[: _MAX_FACT_CHARACTERS * 4]
    masked = _cut(mask(seen), _MAX_FACT_CHARACTERS)
    return masked + "…" if len(seen) < len(text) and not masked.endswith("…") else masked


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _clean(value: Any) -> Any:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
