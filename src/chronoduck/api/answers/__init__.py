"""Models of what the API answers, for its documentation.

The answers are made elsewhere and are not validated again, which would cost processor time: tests compare
them with these models. Members that may be missing have a default.
"""

from chronoduck.api.answers.health import Alive, Health, Readiness
from chronoduck.api.answers.jobs import (
    BackupList,
    ExportList,
    Job,
    RunStarted,
    SyncList,
)
from chronoduck.api.answers.operators import (
    AuditPage,
    IssuedKey,
    Key,
    KeyList,
    Penalties,
    Template,
)
from chronoduck.api.answers.replication import Replication
from chronoduck.api.answers.statistics import PerformanceMetrics, Statistics

__all__ = [
    "Alive",
    "AuditPage",
    "BackupList",
    "ExportList",
    "Health",
    "IssuedKey",
    "Job",
    "Key",
    "KeyList",
    "Penalties",
    "PerformanceMetrics",
    "Readiness",
    "Replication",
    "RunStarted",
    "Statistics",
    "SyncList",
    "Template",
]
