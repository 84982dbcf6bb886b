"""The file of API keys: whole or not there at all, closed to others, changed by one at a time."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from chronoduck.auth.keys import ApiKey, KeyWish, issue_key
from chronoduck.errors import (
    DatabaseLockedError,
    DatabasePermissionError,
    InvalidRequestError,
    NotFoundError,
)
from chronoduck.errors.system import reason_of
from chronoduck.permissions import file_advice
from chronoduck.storage.durable_write import write_durably

__all__ = ["KeyFile"]

_FORMATS = (1, 2)
"""2: with a key of which an earlier release would not know what it may not."""
_MAX_KEYS = 10_000
_MAX_FILE_BYTES = 64_000_000
_LOCK_SECONDS = 10.0
_LOOK_SECONDS = 0.01
_records = TypeAdapter(list[ApiKey])


class KeyFile:
    """Reads and changes the keys; any number of processes may, the running service notices.

    A change is made under a lock of its own file, written under another name, made durable and put in
    place by a rename: whoever reads sees all keys of before or of after, also when this process is
    killed between any two steps.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[ApiKey]:
        """Return the keys, none when there is no file.

        Raises:
            DatabasePermissionError: the file may be read by others, is damaged or cannot be read.
        """
        descriptor = self.open()
        if descriptor is None:
            return []
        try:
            return self.load(descriptor)
        finally:
            os.close(descriptor)

    def open(self) -> int | None:
        """Return a descriptor of the file, None when there is none; a link is not followed."""
        try:
            return os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatabasePermissionError(
                f"the key file {self.path} cannot be read: {reason_of(error)}",
                hint="Run this as the service's user; the file must be a plain one.",
            ) from error

    def load(self, descriptor: int) -> list[ApiKey]:
        """Return the keys of an open file.

        Raises:
            DatabasePermissionError: others may read or write it, or it is damaged.
        """
        facts = os.fstat(descriptor)
        mode = stat.S_IMODE(facts.st_mode)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > _MAX_FILE_BYTES:
            raise self._damaged("it is no plain file of a sensible size")
        if mode & 0o077:
            raise DatabasePermissionError(
                f"the key file {self.path} has mode {mode:04o}: other users may use it",
                hint=file_advice(self.path, 0o600),
            )
        parts = []
        while part := os.read(descriptor, 1_000_000):
            parts.append(part)
        return self._parse(b"".join(parts))

    def _parse(self, text: bytes) -> list[ApiKey]:
        try:
            document = orjson.loads(text)
            if document["format"] not in _FORMATS:
                raise self._damaged(f"its format is {document['format']}: a later release wrote it")
            raw = document["keys"]
            if not hmac.compare_digest(_checksum(raw), document["sha256"]):
                raise self._damaged("its checksum is wrong")
            return _records.validate_python(raw)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
            raise self._damaged(f"it cannot be understood ({type(error).__name__})") from None

    def _damaged(self, why: str) -> DatabasePermissionError:
        return DatabasePermissionError(
            f"the key file {self.path} is not used: {why}",
            hint=f"Restore it from a backup, or delete {self.path} and issue the keys again.",
        )

    def add(self, wish: KeyWish, now: float) -> tuple[ApiKey, str]:
        """Issue a key and store it; returns it with its text, which is not stored.

        Raises:
            InvalidRequestError: the wish cannot be granted, or the name is taken.
            DatabaseLockedError: another process changes the keys for longer than 10 s.
            DatabasePermissionError: the file is damaged, open to others or cannot be written.
        """
        issued, token = issue_key(wish, now)

        def with_it(keys: list[ApiKey]) -> list[ApiKey]:
            if any(key.name == issued.name or key.id == issued.id for key in keys):
                raise InvalidRequestError(
                    f"there is a key named {issued.name} already",
                    hint="Choose another name, or revoke that one first.",
                )
            if len(keys) >= _MAX_KEYS:
                raise InvalidRequestError(f"there are {_MAX_KEYS} keys already; revoke some")
            return [*keys, issued]

        self._change(with_it)
        return issued, token

    def remove(self, id_or_name: str) -> ApiKey:
        """Revoke a key: it is gone when this returns, and a service refuses it from then on.

        Raises:
            NotFoundError: there is none of that id or name.
            DatabaseLockedError: another process changes the keys for longer than 10 s.
        """
        removed: list[ApiKey] = []

        def without_it(keys: list[ApiKey]) -> list[ApiKey]:
            # An id first: a key may be named like another one's id.
            found = [key for key in keys if key.id == id_or_name] or [
                key for key in keys if key.name == id_or_name
            ]
            if not found:
                raise NotFoundError(
                    "there is no key of that id or name", hint="`chronoduck keys list` shows them."
                )
            removed.append(found[0])
            return [key for key in keys if key is not found[0]]

        self._change(without_it)
        return removed[0]

    def _change(self, decide: Callable[[list[ApiKey]], list[ApiKey]]) -> None:
        try:
            with self._locked():
                keys = [asdict(key) for key in decide(self.read())]
                document = {"format": _format_of(keys), "sha256": _checksum(keys), "keys": keys}
                write_durably(self.path, [orjson.dumps(document)], mode=0o600)
        except OSError as error:
            raise DatabasePermissionError(
                f"the key file {self.path} cannot be written: {reason_of(error)}",
                hint="Run this as the service's user; look at the directory's mode and free space.",
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.path.with_name(self.path.name + ".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise DatabaseLockedError(
                            f"another process has changed the keys for {_LOCK_SECONDS:g} s",
                            hint="Try again in a moment.",
                        ) from None
                    time.sleep(_LOOK_SECONDS)
            self._sweep()
            yield
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what a killed writer left; under the lock nobody is writing."""
        for left in self.path.parent.glob(f".{self.path.name}.*"):
            with suppress(OSError):
                left.unlink()


def _format_of(keys: list[dict[str, Any]]) -> int:
    has_news = any(
        key["writes"] is not None or (key["scope"] is not None and key["scope"]["claims"])
        for key in keys
    )
    return 2 if has_news else 1


def _checksum(records: list[dict[str, Any]]) -> str:
    return hashlib.sha256(orjson.dumps(records)).hexdigest()
