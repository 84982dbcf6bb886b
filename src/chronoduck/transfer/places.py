"""What is to be loaded: files, directories, patterns and URLs, as one list of files."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import unquote, urlsplit

from chronoduck.errors import InvalidRequestError, LoadError, NotFoundError
from chronoduck.settings import Settings
from chronoduck.storage import FetchError, fetch, s3_store, shown_url

__all__ = ["Place", "find_places"]

_KINDS = (
    *("parquet", "csv", "tsv", "json", "ndjson", "jsonl", "arrow", "arrows"),
    *("cdx", "cdxj", "warc", "wat"),
)
_FILE = re.compile(rf".*\.({'|'.join(_KINDS)})(\.gz|\.zst)?", re.IGNORECASE)
_PATTERN = re.compile(r"[*?\[]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
OnBytes = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Place:
    """One file."""

    shown: str
    """Its name to people."""
    name: str
    """The last part of that."""
    open: Callable[[OnBytes], IO[bytes]]
    """Blocks; what is elsewhere is fetched first, as a whole. Raises FetchError or StoreError."""
    largest_bytes: int | None = None
    """What it may have decompressed, if somebody else made it."""


def find_places(
    arguments: Sequence[str], settings: Settings, *, allow_private: bool = False
) -> list[Place]:
    """Return the files that arguments mean, in order; nothing is read of them.

    A directory and ``s3://bucket/prefix/`` mean all below them whose names end as files of data do.

    Raises:
        NotFoundError: an argument means no file.
        InvalidRequestError: it is no URL that can be fetched.
    """
    found: list[Place] = []
    for argument in arguments:
        scheme = _SCHEME.match(argument)
        if scheme is None:
            found += _local(argument)
        elif scheme[1].lower() == "s3":
            found += _objects(argument, settings)
        elif scheme[1].lower() in ("http", "https"):
            found.append(_web(argument, settings, allow_private=allow_private))
        else:
            raise InvalidRequestError(
                f"{shown_url(argument)} cannot be loaded",
                hint="URLs are http, https or s3. Nothing was loaded yet.",
            )
    return found


# --- here -------------------------------------------------------------------------------------


def _local(argument: str) -> list[Place]:
    path = Path(argument)
    if path.is_dir():
        files = [each for each in _below(path) if _FILE.fullmatch(each.name)]
        if not files:
            raise NotFoundError(
                f"{path} holds no file of data",
                hint=f"Known by their ends: {', '.join(_KINDS)}. Name other files one by one.",
            )
        return [_file(each) for each in files]
    if path.exists():
        return [_file(path)]
    files = list(_matches(argument)) if _PATTERN.search(argument) else []
    if not files:
        raise NotFoundError(
            f"there is no file {path}", hint="Check the path. Nothing was loaded yet."
        )
    return [_file(each) for each in files]


def _matches(pattern: str) -> Iterator[Path]:
    """Yield the files of a pattern, each once: links may go round in circles."""
    seen: set[str] = set()
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - it may be absolute
        real = os.path.realpath(name)
        if real not in seen and not Path(real).is_dir():
            seen.add(real)
            yield Path(name)


def _below(directory: Path) -> Iterator[Path]:
    """Yield the files below; links may lead anywhere, and hidden files are not meant."""
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _file(path: Path) -> Place:
    return Place(str(path), path.name, lambda on_bytes: path.open("rb"))


# --- elsewhere --------------------------------------------------------------------------------


def _spool_file(settings: Settings) -> IO[bytes]:
    """Return a nameless file where there is space for large ones; whoever reads it closes it."""
    directory = settings.temp_directory
    return TemporaryFile(dir=directory if directory.is_dir() else None)


def _web(url: str, settings: Settings, *, allow_private: bool) -> Place:
    largest_bytes = settings.max_upload_size

    def spool(on_bytes: OnBytes) -> IO[bytes]:
        file = _spool_file(settings)
        try:
            fetch(
                url,
                file,
                largest_bytes=largest_bytes,
                allow_private=allow_private,
                on_bytes=on_bytes,
            )
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    path = PurePosixPath(unquote(urlsplit(url).path))
    return Place(shown_url(url), path.name or "index", spool, largest_bytes)


def _objects(url: str, settings: Settings) -> list[Place]:
    """Return the objects that an address means: one, all below a prefix, or those of a pattern."""
    parts = urlsplit(url, allow_fragments=False)
    key = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
    bucket = s3_store(f"s3://{parts.netloc}", settings)
    first = _PATTERN.search(key)
    if first is None and key and not key.endswith("/"):
        wanted, prefix = re.compile(re.escape(key)), key
    elif first is None:
        wanted, prefix = re.compile(f"{re.escape(key)}{_FILE.pattern}", re.IGNORECASE), key
    else:
        wanted, prefix = re.compile(_expression(key)), key[: first.start()]
    # Listings are by whole parts of names.
    folder = prefix.rpartition("/")[0]
    found = [each for each in bucket.list(folder) if wanted.fullmatch(each.name)]
    if not found:
        raise NotFoundError(f"there is no object {url}", hint="Nothing was loaded yet.")

    def place(name: str, size: int) -> Place:
        shown = f"{bucket.url}/{name}"

        def spool(on_bytes: OnBytes) -> IO[bytes]:
            if size > settings.max_upload_size:
                raise FetchError(f"{shown} is too large", hint="Raise DUCKDB_MAX_UPLOAD_SIZE.")
            file = _spool_file(settings)
            try:
                for piece in bucket.stream(name):
                    file.write(piece)
                    on_bytes(file.tell(), size)
                if file.tell() != size:
                    raise LoadError(
                        f"{shown} ended after {file.tell():,} of {size:,} bytes",
                        hint="Nothing of it was loaded. Load it again.",
                    )
            except BaseException:
                file.close()
                raise
            file.seek(0)
            return file

        return Place(shown, PurePosixPath(name).name, spool, settings.max_upload_size)

    return [place(each.name, each.size) for each in sorted(found, key=lambda each: each.name)]


def _expression(pattern: str) -> str:
    """Return a shell's pattern as an expression: ``*`` stays within a part, ``**/`` is any parts."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        meanings.get(piece) or (_set(piece) if piece.startswith("[") else re.escape(piece))
        for piece in pieces
    )


def _set(piece: str) -> str:
    inside = piece[1:-1].replace("\\", r"\\").replace("[", r"\[")
    return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
