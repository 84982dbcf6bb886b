"""What a load tells while it goes on: of the running service, or of this process."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import IO
from urllib.parse import quote

import orjson

from chronoduck.cli.remote import RemoteService
from chronoduck.client.problems import error_of
from chronoduck.errors import InvalidRequestError, ServiceUnavailableError
from chronoduck.transfer import (
    FileFormat,
    FileLoader,
    LoadEvent,
    LoadOptions,
    LoadProgress,
    LoadSummary,
    Place,
    RejectedLine,
)
from chronoduck.transfer.idempotency import RequestKey
from chronoduck.transfer.read_options import parameters_of

__all__ = ["LoadWish", "file_key", "local_events", "remote_events"]

_BLOCK_BYTES = 1_000_000


@dataclass(frozen=True)
class LoadWish:
    """What is asked of each file."""

    table: str
    file_format: FileFormat
    options: LoadOptions
    once: bool


def file_key(source: IO[bytes], wish: LoadWish) -> str:
    """Return what the file and all that is asked of it are known by."""
    if not source.seekable():
        raise InvalidRequestError(
            "--once needs a file that can be read twice", hint="Write the pipe into a file first."
        )
    digest = hashlib.blake2b()
    for block in _blocks(source):
        digest.update(block)
    source.seek(0)
    digest.update(repr((wish.table, wish.file_format, wish.options)).encode())
    return f"file-{digest.hexdigest()[:64]}"


async def local_events(
    loader: FileLoader, source: IO[bytes], place: Place, wish: LoadWish, key: str | None
) -> AsyncIterator[LoadEvent | None]:
    """Yield the loader's events; None first if the file was loaded before."""
    table = await loader.found_table(wish.table)
    async with AsyncExitStack() as stack:
        claim = None
        if key is not None and not wish.options.dry_run:
            request = RequestKey("cli", key, key)
            claim = await stack.enter_async_context(loader.keys.claim(request))
            if claim.answer is not None:
                yield None
        async for event in loader.load(
            source,
            name=place.name,
            table=table,
            file_format=wish.file_format,
            largest_bytes=place.largest_bytes,
            options=wish.options,
            claim=claim,
        ):
            yield event


async def remote_events(
    service: RemoteService, source: IO[bytes], name: str, wish: LoadWish, key: str | None
) -> AsyncIterator[LoadEvent | None]:
    """Upload the file and yield the service's events; None first if it was loaded before."""
    headers = {"Content-Type": "application/octet-stream"}
    if key is not None:
        headers["Idempotency-Key"] = f'"{key}"'
    with service.stream(
        "POST",
        f"/tables/{quote(wish.table, safe='')}/rows",
        params=_parameters(name, wish),
        content=_blocks(source),
        headers=headers,
    ) as response:
        if "idempotency-replayed" in response.headers:
            yield None
        for line in response.iter_lines():
            fields = orjson.loads(line)
            kind = fields.pop("event")
            if kind == "reject":
                yield RejectedLine(**fields)
            elif kind == "progress":
                yield LoadProgress(**fields)
            elif kind == "done":
                yield LoadSummary(**fields)
                return
            else:
                raise error_of(fields["error"])
    raise ServiceUnavailableError(
        f"the service broke off while it loaded {name}",
        hint="Captures, and files with --once, are not doubled: load it again when it is up. Of "
        "another file look first whether it is there.",
    )


def _parameters(name: str, wish: LoadWish) -> dict[str, str]:
    options = wish.options
    return {
        "source": name,
        "format": wish.file_format.value,
        "mode": options.mode.value,
        **({"key": ",".join(options.key)} if options.key else {}),
        "create": str(options.create).lower(),
        "on_error": options.on_error.value,
        "dry_run": str(options.dry_run).lower(),
        **parameters_of(options.read),
    }


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    while block := source.read(_BLOCK_BYTES):
        yield block
