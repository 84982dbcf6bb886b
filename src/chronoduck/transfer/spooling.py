"""Failures of files that the service itself writes for a load."""

from __future__ import annotations

import errno

from chronoduck.errors import DiskFullError, DuckDBException, LoadError

__all__ = ["unreadable"]

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def unreadable(error: OSError | EOFError, detail: str, hint: str = "") -> DuckDBException:
    """Return what a failure while a source is read and spooled means to the caller.

    A volume without space is not the source's fault.
    """
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return DiskFullError(
            "there is no space to spool the load",
            hint="Free space on the volume of DUCKDB_TEMP_DIRECTORY; then send it again.",
            operator_detail=str(error),
        )
    return LoadError(detail, hint=hint)
