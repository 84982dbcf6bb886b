"""Files that hold one secret: made whole or not at all, and never believed when they are short.

A secret appears under its name only when it is on the disk: a crash or a full disk leaves none, and not
an empty one, with which anybody could sign.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from chronoduck.errors import DatabasePermissionError
from chronoduck.errors.system import reason_of
from chronoduck.permissions import file_advice
from chronoduck.storage.durable_write import fsync_directory

__all__ = ["create_secret", "read_secret", "replace_secret"]

_LARGEST = 100_000


def replace_secret(path: Path, secret: bytes, what: str) -> None:
    """Put another secret in place of the one in the file; whoever reads sees the old or the new one.

    Root leaves it to the user that the old one belonged to.

    Raises:
        DatabasePermissionError: it cannot be written; the old one is still there.
    """
    try:
        owner = path.stat() if os.geteuid() == 0 and path.exists() else None
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secret)
                file.flush()
                if owner is not None:
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                os.fsync(file.fileno())
            Path(name).replace(path)
            fsync_directory(path.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _not_written(path, what, error) from error


def create_secret(path: Path, secret: bytes, what: str) -> None:
    """Make the file with its secret, or leave the one that somebody else made meanwhile.

    Written to a temporary name of mode 0600, synced, linked; then the directory is synced.

    Raises:
        DatabasePermissionError: it cannot be written; nothing is there under the name. ``what`` it is
            begins the sentence.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secret)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
                fsync_directory(path.parent)
        finally:
            Path(name).unlink()
    except OSError as error:
        raise _not_written(path, what, error) from error


def _not_written(path: Path, what: str, error: OSError) -> DatabasePermissionError:
    return DatabasePermissionError(
        f"{what} {path} cannot be written: {reason_of(error)}",
        hint="Make its directory writable for this user, and free space on its volume.",
    )


def read_secret(path: Path, what: str, *, least: int) -> bytes | None:
    """Return what is in the file, without space around it if it is text; None: there is no file.

    Raises:
        DatabasePermissionError: others may use it, it is no plain file, or it has fewer than ``least``
            bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file_of_secret = os.fdopen(descriptor, "rb")
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        os.close(descriptor)
        raise _unusable(path, what, "is a directory") from error
    except OSError as error:
        raise DatabasePermissionError(
            f"{what} {path} cannot be read: {reason_of(error)}",
            hint="Run this as the service's user; the file must be a plain one.",
        ) from error
    with file_of_secret as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST:
            raise _unusable(path, what, "is no plain file of a sensible size")
        mode = stat.S_IMODE(facts.st_mode)
        if mode & 0o077:
            raise DatabasePermissionError(
                f"{what} {path} has mode {mode:04o}: other users may read it",
                hint=file_advice(path, 0o600),
            )
        secret = file.read(_LARGEST)
    if not secret.strip():
        raise _unusable(path, what, "is empty")
    if len(secret) < least:
        raise _unusable(path, what, f"has {len(secret)} bytes; {least} are the least")
    return secret


def _unusable(path: Path, what: str, why: str) -> DatabasePermissionError:
    return DatabasePermissionError(
        f"{what} {path} {why}",
        hint=f"Restore it from a backup, or delete {path}; a new one is made.",
    )
