"""Blobs in S3, or in what speaks its protocol."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from chronoduck.errors import SettingsError
from chronoduck.storage.blob_store import (
    BlobConflictError,
    BlobInfo,
    BlobNotFoundError,
    StoreError,
    VersionedBlob,
    check_name,
)

try:
    import obstore
    from obstore import exceptions
    from obstore.store import S3Store
except ImportError:  # the extra is not installed
    obstore = None  # type: ignore[assignment]

__all__ = ["S3BlobStore", "S3Location"]

_LIST_PAGE = 1000
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
_ROLE_ADDRESS = "169.254.169.254"
"""Where machines of Amazon are told the keys of their role."""
_STATUS = " - Server returned non-2xx status code: "
"""The library tells a status in its text alone. Before the first of these words stands the request, whose
address is ours; behind the number stands what the server said, and servers repeat what users sent."""
_NOT_IMPLEMENTED = 501
_LONGEST_CODE = 64


@dataclass(frozen=True)
class S3Location:
    """Where and as whom. ``endpoint`` None is Amazon's own."""

    bucket: str
    prefix: str
    region: str
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None


class S3BlobStore:
    """One bucket and prefix. Retries of single requests are the library's, for a few seconds."""

    def __init__(self, location: S3Location) -> None:
        """Prepare requests; nothing is sent.

        Raises:
            SettingsError: the extra is missing, or the location makes no sense.
        """
        if obstore is None:
            raise SettingsError(
                "s3:// needs a library that is not installed",
                hint="Run: pip install 'chronoduck[s3]'",
            )
        prefix = f"/{location.prefix}" if location.prefix else ""
        self.url = f"s3://{location.bucket}{prefix}"
        self._lacks_conditions = False
        """Whether the server was seen to know no conditional requests."""
        config: dict[str, Any] = {
            "region": location.region,
            "endpoint": location.endpoint,
            "access_key_id": location.access_key_id,
            "secret_access_key": location.secret_access_key,
            "session_token": location.session_token,
        }
        try:
            self._store = S3Store(
                location.bucket,
                prefix=location.prefix or None,
                config={key: value for key, value in config.items() if value},  # type: ignore[arg-type]
                client_options={
                    "allow_http": bool(location.endpoint and location.endpoint.startswith("http:")),
                    "connect_timeout": timedelta(seconds=5),
                    "timeout": timedelta(seconds=60),
                },
                retry_config={
                    "max_retries": 2,
                    "retry_timeout": timedelta(seconds=10),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=100),
                        "max_backoff": timedelta(seconds=1),
                        "base": 2,
                    },
                },
            )
        except exceptions.BaseError as error:
            raise SettingsError(f"{self.url} cannot be used: {error}") from error

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except (exceptions.NotFoundError, FileNotFoundError) as error:
            raise BlobNotFoundError(f"{self.url}: {what}: not found") from error
        except (exceptions.PreconditionError, exceptions.AlreadyExistsError) as error:
            raise BlobConflictError(f"{self.url}: {what}: changed by somebody else") from error
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise self._failure(what, error) from error

    def _failure(self, what: str, error: BaseException) -> StoreError:
        """Return what a failure means; the server's own code tells it better than its status."""
        code = _code_of(error)
        denied = exceptions.PermissionDeniedError, exceptions.UnauthenticatedError
        if isinstance(error, denied) or code in _DENIED:
            return StoreError(
                f"{self.url}: {what}: access denied",
                hint="Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy.",
            )
        if code == "NoSuchBucket":
            return StoreError(
                f"{self.url}: there is no such bucket", hint="Make it, or correct the address."
            )
        if _ROLE_ADDRESS in str(error):
            return StoreError(
                f"{self.url}: {what} failed: no keys are set, and this machine has no role",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )
        return StoreError(f"{self.url}: {what} failed: {code or _first_line(error)}")

    def put(self, name: str, data: bytes) -> None:
        """Write the blob whole, or not at all: one request, whatever the size."""
        check_name(name)
        with self._failures(f"writing {name}"):
            obstore.put(self._store, name, data, use_multipart=False)

    def get(self, name: str) -> bytes:
        """Return the blob."""
        check_name(name)
        with self._failures(f"reading {name}"):
            return bytes(obstore.get(self._store, name).bytes())

    def put_file(self, name: str, source: Path) -> None:
        """Copy a file there in parts; it is seen whole or not at all."""
        try:
            with self._failures(f"writing {name}"):
                obstore.put(self._store, name, source)
        except BlobNotFoundError as error:
            raise StoreError(
                f"{self.url}: there is no such bucket", hint="Make it, or correct the address."
            ) from error

    def stream(self, name: str) -> Iterator[bytes]:
        """Yield the blob in pieces."""
        with self._failures(f"reading {name}"):
            pieces = iter(obstore.get(self._store, name).stream())

        def read() -> Iterator[bytes]:
            with self._failures(f"reading {name}"):
                for piece in pieces:
                    yield bytes(piece)

        return read()

    def delete_files(self, names: Iterable[str]) -> None:
        """Remove blobs of any name."""
        with self._failures("deleting"):
            obstore.delete(self._store, list(names))

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``."""
        with self._failures("listing"):
            for page in obstore.list(self._store, prefix or None, chunk_size=_LIST_PAGE):
                for item in page:
                    yield BlobInfo(item["path"], item["size"], item["e_tag"] or "")

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs, many at a time."""
        checked = [check_name(name) for name in names]
        with self._failures("deleting"):
            obstore.delete(self._store, checked)

    def get_versioned(self, name: str) -> VersionedBlob | None:
        """Return the blob with its version, which is its ETag."""
        check_name(name)
        try:
            with self._failures(f"reading {name}"):
                answer = obstore.get(self._store, name)
                return VersionedBlob(bytes(answer.bytes()), answer.meta["e_tag"] or "")
        except BlobNotFoundError:
            return None

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the blob if it has the expected version, by a conditional request.

        A server without such requests (Swift) is asked for the version first: then two writers at
        the very same moment both believe that they were the only one. So one refusal is not believed:
        the server has to refuse a conditional request for a name that nobody has, too.
        """
        check_name(name)
        mode: Any = "create" if expected is None else {"e_tag": expected}
        with self._failures(f"writing {name}"):
            try:
                result = obstore.put(self._store, name, data, mode=mode, use_multipart=False)
            except exceptions.GenericError as error:
                if _status_of(error) != _NOT_IMPLEMENTED or not self._refuses_conditions(name):
                    raise
                current = obstore.head(self._store, name)["e_tag"]
                if current != expected:
                    raise BlobConflictError(
                        f"{self.url}: writing {name}: changed by somebody else"
                    ) from error
                result = obstore.put(self._store, name, data, use_multipart=False)
        return result["e_tag"] or ""

    def _refuses_conditions(self, name: str) -> bool:
        """Whether the server knows no conditional requests at all: measured once, then remembered."""
        if not self._lacks_conditions:
            # Swift knows "only if there is none", so what is asked is "only if it is that version".
            nobodys, mode = (
                f"{name}.{secrets.token_hex(8)}",
                {"e_tag": f'"{secrets.token_hex(16)}"'},
            )
            try:
                obstore.put(self._store, nobodys, b"", mode=mode, use_multipart=False)  # type: ignore[arg-type]
            except exceptions.GenericError as error:
                self._lacks_conditions = _status_of(error) == _NOT_IMPLEMENTED
            except (exceptions.NotFoundError, exceptions.PreconditionError, FileNotFoundError):
                pass
            else:
                obstore.delete(self._store, [nobodys])
        return self._lacks_conditions


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status of the answer; None: there was none."""
    number = str(error).partition(_STATUS)[2][:3]
    return int(number) if number.isascii() and number.isdigit() else None


def _code_of(error: BaseException) -> str:
    """Return the server's own code, which serves the sentence alone."""
    code = str(error).partition("<Code>")[2].partition("</Code>")[0]
    return code if code.isalnum() and len(code) < _LONGEST_CODE else ""


def _first_line(error: BaseException) -> str:
    """The library repeats the whole exchange in its messages; the first line tells what happened."""
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__
