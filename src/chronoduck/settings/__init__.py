"""The environment as frozen values: one field per variable, checked at start."""

from chronoduck.settings.access import AuthSettings, JwtSettings
from chronoduck.settings.deadlines import DeadlineSettings
from chronoduck.settings.groups import (
    AuditSettings,
    BackupSettings,
    BreakerSettings,
    CheckpointSettings,
    ExportSettings,
    JobSettings,
    QuotaSettings,
    ReplicaSettings,
    ShadowSettings,
)
from chronoduck.settings.limits import parse_limits
from chronoduck.settings.reveal import reveal
from chronoduck.settings.sandbox import WALLS
from chronoduck.settings.service import GROUPS, Settings, load_settings, variable_names
from chronoduck.settings.transport import TransportSettings
from chronoduck.settings.values import DEFAULT_STORAGE_VERSION

__all__ = [
    "DEFAULT_STORAGE_VERSION",
    "GROUPS",
    "WALLS",
    "AuditSettings",
    "AuthSettings",
    "BackupSettings",
    "BreakerSettings",
    "CheckpointSettings",
    "DeadlineSettings",
    "ExportSettings",
    "JobSettings",
    "JwtSettings",
    "QuotaSettings",
    "ReplicaSettings",
    "Settings",
    "ShadowSettings",
    "TransportSettings",
    "load_settings",
    "parse_limits",
    "reveal",
    "variable_names",
]
