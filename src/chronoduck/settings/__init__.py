"""The environment as frozen values: one field per variable, checked at start."""

from chronoduck.settings.groups import (
    BackupSettings,
    BreakerSettings,
    CheckpointSettings,
    ReplicaSettings,
)
from chronoduck.settings.reveal import reveal
from chronoduck.settings.service import GROUPS, Settings, load_settings, variable_names
from chronoduck.settings.transport import TransportSettings

__all__ = [
    "GROUPS",
    "BackupSettings",
    "BreakerSettings",
    "CheckpointSettings",
    "ReplicaSettings",
    "Settings",
    "TransportSettings",
    "load_settings",
    "reveal",
    "variable_names",
]
