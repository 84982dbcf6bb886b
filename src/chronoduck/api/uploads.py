"""Uploads: what a body is by its headers, and its way to the disk within bounds."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from fastapi import Request
from starlette.requests import ClientDisconnect

from chronoduck.api.bodies import BodyTooLargeError
from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException, InvalidRequestError, LoadError
from chronoduck.errors.system import reason_of
from chronoduck.principals import Role
from chronoduck.resilience.space_budget import SpaceClaim
from chronoduck.resilience.thread_handover import closed_in_thread, opened_in_thread
from chronoduck.service.records import Caller
from chronoduck.transfer import FileFormat
from chronoduck.transfer.spooling import unreadable
from chronoduck.units import format_bytes

__all__ = ["FORMATS", "Upload", "format_of", "key_of", "spooled"]

_SPOOLED_BLOCK_BYTES = 1_000_000

FORMATS = {
    "application/vnd.apache.arrow.stream": FileFormat.ARROW,
    "application/vnd.apache.arrow.file": FileFormat.ARROW,
    "application/vnd.apache.parquet": FileFormat.PARQUET,
    "application/x-ndjson": FileFormat.NDJSON,
    "application/ndjson": FileFormat.NDJSON,
    "application/jsonl": FileFormat.NDJSON,
    "application/json": FileFormat.JSON,
    "text/csv": FileFormat.CSV,
    "application/x-cdx": FileFormat.CDX,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": FileFormat.XLSX,
    "application/vnd.ms-excel": FileFormat.XLS,
    "application/vnd.oasis.opendocument.spreadsheet": FileFormat.ODS,
}
"""What a ``Content-Type`` says; others leave it to the first bytes."""

_MAX_KEY_CHARACTERS = 255


@dataclass(frozen=True)
class Upload:
    """A body on the disk, at its beginning."""

    file: IO[bytes]
    size: int
    digest: str
    """Of its bytes."""
    claim: SpaceClaim
    """What it has of the space for uploads; what is unpacked of it is claimed there, too."""

    async def close(self) -> None:
        """Remove it, and give its space back."""
        await closed_in_thread(partial(_let_go, self.file, self.claim))


def format_of(request: Request, asked: FileFormat) -> FileFormat:
    """Return what the body is said to be: ``?format=`` wins over the ``Content-Type``."""
    if asked is not FileFormat.AUTO:
        return asked
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return FORMATS.get(media_type, FileFormat.AUTO)


def key_of(request: Request) -> str | None:
    """Return the ``Idempotency-Key``: a string in quotes, as its draft says, or bare.

    Raises:
        InvalidRequestError: it is neither, empty, or longer than 255 characters.
    """
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    key = _key(given[0].strip())
    if len(given) > 1 or key is None or not 0 < len(key) <= _MAX_KEY_CHARACTERS:
        raise InvalidRequestError(
            f"Idempotency-Key must be one string of 1 to {_MAX_KEY_CHARACTERS} ASCII characters",
            hint='Send a UUID for each request: Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324".',
        )
    return key


def _key(text: str) -> str | None:
    """Return the key that a header's value writes; None: it writes none."""
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        is_bare = text.isascii() and text.isprintable() and not set(text) & set(' "\\')
        return text if is_bare else None
    signs: list[str] = []
    inside = iter(text[1:-1])
    for sign in inside:
        if sign == "\\":
            escaped = next(inside, "")
            if escaped not in ('"', "\\"):
                return None
            signs.append(escaped)
        elif " " <= sign <= "~" and sign != '"':
            signs.append(sign)
        else:
            return None
    return "".join(signs)


async def spooled(request: Request, service: DuckDBService, caller: Caller) -> Upload:
    """Return the whole body as a file: who sends and does not read yet must not block the load.

    The caller closes it.

    Raises:
        SpoolSpaceError: uploads take all the space that they may.
        DiskFullError: too little space would stay free on the volume.
        BodyTooLargeError: it is larger than an upload may be.
        LoadError: it broke off.
    """
    limit = service.settings.max_upload_size
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    budget = (await service.parts()).space.uploads
    owner, is_capped = caller.principal.id, caller.principal.role is not Role.ADMIN
    # What is announced is not reserved: it may never come.
    announced_bytes = int(announced) if announced.isdigit() else 1
    await asyncio.to_thread(budget.check, owner, is_capped=is_capped, count=announced_bytes)
    claim = budget.claim(owner, is_capped=is_capped)
    spool = await opened_in_thread(partial(_nameless_file, service.spool_directory), _close)
    digest = hashlib.blake2b(digest_size=32)

    def keep(block: bytes) -> None:
        claim.take(len(block))
        spool.write(block)
        digest.update(block)

    try:
        pending = bytearray()
        total = 0
        async for block in request.stream():
            total += len(block)
            if total > limit:
                raise _too_large(limit)
            pending += block
            if len(pending) >= _SPOOLED_BLOCK_BYTES:
                await asyncio.to_thread(keep, bytes(pending))
                pending.clear()
        await asyncio.to_thread(keep, bytes(pending))
        await asyncio.to_thread(spool.seek, 0)
    except BaseException as error:
        await closed_in_thread(partial(_let_go, spool, claim))
        if isinstance(error, ClientDisconnect):
            raise LoadError("the upload broke off before its end; nothing was loaded") from None
        if isinstance(error, OSError):
            raise _not_spooled(error) from error
        raise
    return Upload(spool, total, digest.hexdigest(), claim)


def _nameless_file(directory: Path) -> IO[bytes]:
    """Return a file that is gone when it is closed, but can be given a name until then.

    Raises:
        DuckDBException: it cannot be made.
    """
    try:
        try:
            descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
        except OSError:  # some file systems have none
            return tempfile.TemporaryFile(dir=directory)
        return os.fdopen(descriptor, "w+b")
    except OSError as error:
        raise _not_spooled(error) from error


def _not_spooled(error: OSError) -> DuckDBException:
    return unreadable(error, f"the upload cannot be spooled: {reason_of(error)}")


def _close(spool: IO[bytes]) -> None:
    with suppress(OSError):  # what is buffered has no place either
        spool.close()


def _let_go(spool: IO[bytes], claim: SpaceClaim) -> None:
    _close(spool)
    claim.release()


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the upload has more than {format_bytes(limit)}",
        hint="Split the file, or raise DUCKDB_MAX_UPLOAD_SIZE.",
    )
