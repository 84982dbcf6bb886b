"""Version 1 of the audit trail's lines; programs of others read them for years.

Rewrite with: python -m tests.golden.test_audit_format
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from chronoduck.monitoring.audit import AuditFilter, AuditReader, verify_chain
from chronoduck.monitoring.audit.event import Act, act_fields, statement_fields
from chronoduck.monitoring.audit.writer import AuditWriter
from chronoduck.principals import LOCAL, Principal, Role
from chronoduck.service.records import Caller, StatementRecord
from chronoduck.settings import AuditSettings

GOLDEN = Path(__file__).parent / "audit-format-1.jsonl"
_AT = 1_790_000_000.123
_CALLER = Caller("bob", "request-1", Principal("bob", Role.ANALYST, "key:b0b"), "10.0.0.7")


def _write(path: Path) -> bytes:
    """Return the lines of one event of each form."""
    record = StatementRecord(
        id="1",
        sql="SELECT 1",
        kind="select",
        query_hash="17db4fd369edb9244b9f91d9aeed145c",
        caller=_CALLER,
        outcome="ok",
        error_code=None,
        ended_at=_AT,
        execution_time=0.0123,
        queue_time=0.0001,
        rows=1,
        memory_mb=0.5,
        bytes=120,
    )
    refused = StatementRecord(
        id="2",
        sql="INSTALL x",
        kind="invalid",
        query_hash="0de324280814aebf",
        caller=_CALLER,
        outcome="user_error",
        error_code="statement_refused",
        ended_at=_AT,
        execution_time=0.0,
        queue_time=0.0,
        rows=0,
        memory_mb=0.0,
        rule="no-extensions",
    )
    failure = {"verdict": "refused", "reason": "the bearer token is not valid", "key": "b0b"}
    dropped = {
        "verdict": "failed",
        "count": 9,
        "since": "2026-09-21T14:13:20.123Z",
        "until": "2026-09-21T14:13:21.123Z",
    }
    acts = [
        Act("service_started", _AT, LOCAL, facts={"chronoduck": "0.1.0", "pid": 1}),
        Act("authentication_failed", _AT, None, "10.0.0.8", "request-2", failure),
        Act("breaker_reset", _AT, _CALLER.principal, "10.0.0.7", "request-3"),
        Act("events_dropped", _AT, facts=dropped),
        Act("audit_pruned", _AT, facts={"files": 1, "through_seq": 0}),
    ]
    writer = AuditWriter(path, AuditSettings())
    writer.open()
    for fields in (
        statement_fields(record, None),
        statement_fields(refused, str),
        *(act_fields(act, str) for act in acts),
    ):
        writer.add(fields)
    writer.flush()
    writer.close()
    return path.read_bytes()


def test_lines_stay_as_they_are(tmp_path: Path) -> None:
    assert _write(tmp_path / "audit.jsonl") == GOLDEN.read_bytes()


def test_lines_of_the_past_can_be_read_and_verified() -> None:
    assert verify_chain(GOLDEN).problems == []
    assert len(AuditReader(GOLDEN).page(AuditFilter(), 100).events) == 7


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        GOLDEN.write_bytes(_write(Path(directory) / "audit.jsonl"))
