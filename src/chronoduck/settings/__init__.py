"""The environment as frozen values: one field per variable, checked at start."""

from chronoduck.settings.groups import (
    AuditSettings,
    BackupSettings,
    BreakerSettings,
    CheckpointSettings,
    ReplicaSettings,
)
from chronoduck.settings.reveal import reveal
from chronoduck.settings.service import GROUPS, Settings, load_settings, variable_names

__all__ = [
    "GROUPS",
    "AuditSettings",
    "BackupSettings",
    "BreakerSettings",
    "CheckpointSettings",
    "ReplicaSettings",
    "Settings",
    "load_settings",
    "reveal",
    "variable_names",
]
