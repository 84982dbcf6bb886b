"""Bytes on their way into a backup file and out of it: compressed, encrypted, hashed."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from chronoduck.backup.encryption import decrypting, encrypting
from chronoduck.backup.failures import BackupDamagedError
from chronoduck.backup.records import BackupName
from chronoduck.settings import BackupSettings

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["read_stored", "sha256_of", "write_stored"]

PIECE_BYTES = 4 * 2**20
_ZSTD_LEVEL, _GZIP_LEVEL = 3, 4
Progress = Callable[[int], None]


def sha256_of(path: Path, on_progress: Progress = lambda count: None) -> str:
    """Return the hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            on_progress(len(piece))
    return digest.hexdigest()


def write_stored(
    source: Path,
    target: Path,
    name: BackupName,
    settings: BackupSettings,
    on_progress: Progress = lambda count: None,
) -> str:
    """Compress (and encrypt) a file into another one, durably; return the hash of the plain bytes.

    Raises:
        BackupError: gpg failed.
        SettingsError: the key is not one, or the tool is missing.
        OSError: it cannot be written.
    """
    digest = hashlib.sha256()
    with target.open("xb") as stored:
        with ExitStack() as stack:
            sink = stack.enter_context(encrypting(stored, name.cipher, settings))
            packed = stack.enter_context(_compressing(sink, name.kind))
            with source.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    digest.update(piece)
                    packed.write(piece)
                    on_progress(len(piece))
        stored.flush()
        os.fsync(stored.fileno())
    return digest.hexdigest()


def read_stored(path: Path, settings: BackupSettings) -> Iterator[bytes]:
    """Yield the database file's bytes out of a backup.

    Raises:
        BackupDamagedError: it cannot be decompressed or decrypted.
        SettingsError: the key to it is not set.
    """
    cipher = path.suffix if path.suffix in (".age", ".gpg") else ""
    inner = path.with_suffix("") if cipher else path
    try:
        with ExitStack() as stack:
            stored: IO[bytes] = stack.enter_context(path.open("rb"))
            plain = stack.enter_context(decrypting(stored, cipher, settings))
            opened: Any = plain
            if inner.suffix == ".zst":
                opened = stack.enter_context(zstd.ZstdFile(plain, "rb"))
            elif inner.suffix == ".gz":
                opened = stack.enter_context(gzip.GzipFile(fileobj=plain, mode="rb"))
            while piece := opened.read(PIECE_BYTES):
                yield piece
    except (zstd.ZstdError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BackupDamagedError(f"{path} cannot be decompressed: {error}") from error


@contextmanager
def _compressing(sink: IO[bytes], kind: str) -> Iterator[Any]:
    if kind == "db.zst":
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        with zstd.ZstdFile(sink, "wb", options=options) as packed:
            yield packed
    else:
        with gzip.GzipFile(
            filename="", fileobj=sink, mode="wb", compresslevel=_GZIP_LEVEL
        ) as packed:
            yield packed
