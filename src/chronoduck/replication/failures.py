"""What can be wrong with a replica, a restore or a lease."""

from __future__ import annotations

from chronoduck.errors import DuckDBConnectionError, DuckDBException

__all__ = [
    "LeaseHeldError",
    "ReplicaDamagedError",
    "ReplicaMismatchError",
    "RestoreTargetError",
]


class ReplicaDamagedError(DuckDBException):
    """Something in the replica is missing, or is not what was shipped."""

    code = "replica_damaged"
    title = "The replica is damaged"
    http_status = 500
    exit_code = 74
    default_hint = (
        "Restore an earlier point: chronoduck restore --list shows them; `chronoduck recover` finds the "
        "newest one that is whole."
    )


class ReplicaMismatchError(DuckDBConnectionError):
    """The database on this disk is not what the replica knows: starting would lose commits."""

    code = "replica_mismatch"
    title = "Database and replica do not agree"
    exit_code = 65
    retryable = False


class LeaseHeldError(DuckDBConnectionError):
    """Another service writes to this replica."""

    code = "replica_in_use"
    title = "Another service writes to this replica"
    exit_code = 75


class RestoreTargetError(DuckDBException):
    """There is no such point in time to restore to."""

    code = "restore_point_not_found"
    title = "No such restore point"
    http_status = 404
    exit_code = 66
