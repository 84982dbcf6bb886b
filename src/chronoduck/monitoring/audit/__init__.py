"""The audit trail: who asked what, when and from where, and what came of it; append-only lines.

``AuditTrail`` takes events on the event loop and never waits; one thread writes them. The file can be
read, exported and verified with or without a running service. Must not know the service, HTTP or
DuckDB: it gets ended statements by a protocol, and a function that masks their texts.
"""

from chronoduck.monitoring.audit.chain import ChainReport, verify_chain
from chronoduck.monitoring.audit.event import verdict_of
from chronoduck.monitoring.audit.reading import AuditFilter, AuditPage, AuditReader, moment
from chronoduck.monitoring.audit.trail import AuditTrail, audit_finding

__all__ = [
    "AuditFilter",
    "AuditPage",
    "AuditReader",
    "AuditTrail",
    "ChainReport",
    "audit_finding",
    "moment",
    "verdict_of",
    "verify_chain",
]
