"""What is to be loaded: files, directories, patterns and URLs, as one list of files."""

from __future__ import annotations

import os
import stat
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import unquote, urlsplit

from chronoduck.errors import InvalidRequestError, LoadError, NotFoundError
from chronoduck.errors.system import reason_of
from chronoduck.patterns import fits
from chronoduck.settings import Settings
from chronoduck.storage import FetchError, fetch, s3_store, shown_url
from chronoduck.transfer.globs import beginning, is_glob, pattern_of

__all__ = ["Place", "find_places"]

_KINDS = (
    *("parquet", "csv", "tsv", "json", "ndjson", "jsonl", "arrow", "arrows"),
    *("xlsx", "xlsm", "xlsb", "ods", "xls"),
    *("cdx", "cdxj", "warc", "wat", "arc", "wacz"),
)
_ENDS = tuple(f".{kind}" for kind in _KINDS)
_SCHEME_SIGNS = frozenset(string.ascii_letters + string.digits + "+.-")
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
        scheme = _scheme(argument)
        if scheme is None:
            try:
                found += _local(argument)
            except OSError as error:
                raise NotFoundError(
                    f"{argument or 'an empty name'} cannot be looked at: {reason_of(error)}",
                    hint="Check the path and its permissions. Nothing was loaded yet.",
                ) from error
        elif scheme == "s3":
            found += _objects(argument, settings)
        elif scheme in ("http", "https"):
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
    if not argument:
        raise NotFoundError("an empty name names no file", hint="Nothing was loaded yet.")
    if path.is_dir():
        files = [each for each in _below(path) if _is_data(each.name)]
        if not files:
            raise NotFoundError(
                f"{path} holds no file of data",
                hint=f"Known by their ends: {', '.join(_KINDS)}. Name other files one by one.",
            )
        return [_file(each) for each in files]
    if path.exists():
        return [_file(path)]
    files = list(_matches(argument)) if is_glob(argument) else []
    if not files:
        raise NotFoundError(
            f"there is no file {path}", hint="Check the path. Nothing was loaded yet."
        )
    return [_file(each) for each in files]


def _matches(pattern: str) -> Iterator[Path]:
    """Yield the files of a pattern, each once.

    ``**`` follows no links, which may go round in circles; pipes, which may never end, and hidden
    files are not meant.
    """
    parts = PurePath(pattern).parts
    first = next(index for index, part in enumerate(parts) if is_glob(part))
    root, rest = Path(*parts[:first]), list(parts[first:])
    if rest[-1] == "**":
        rest.append("*")
    try:
        found = sorted(root.glob("/".join(rest)))
    except ValueError as error:
        raise InvalidRequestError(
            f"{pattern} is no pattern", hint="** stands alone between slashes: dir/**/*.csv."
        ) from error
    seen: set[str] = set()
    for path in found:
        is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        real = os.path.realpath(path)
        if is_hidden or real in seen or not path.is_file():
            continue
        seen.add(real)
        yield path


def _below(directory: Path) -> Iterator[Path]:
    """Yield the files below; links may lead anywhere, and hidden files are not meant."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, directories, names in os.walk(directory, onerror=refuse):
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

    try:
        parts = urlsplit(url)
        # Each of them looks at what is written there, and raises.
        is_whole = bool(parts.hostname) and parts.port != 0 and bool(url.encode())
    except ValueError:
        is_whole = False
    if not is_whole:
        raise InvalidRequestError(
            f"{shown_url(url)} is no URL of a file",
            hint="Write https://host/path or https://host:port/path. Nothing was loaded yet.",
        )
    path = PurePosixPath(unquote(parts.path))
    return Place(shown_url(url), path.name or "index", spool, largest_bytes)


def _objects(url: str, settings: Settings) -> list[Place]:
    """Return the objects that an address means: one, all below a prefix, or those of a pattern."""
    name, _, key = url.partition("://")[2].partition("/")
    bucket = s3_store(f"s3://{name}", settings)
    is_wanted, prefix = _wanted(key, url)
    # Listings are by whole parts of names.
    folder = prefix.rpartition("/")[0]
    found = [each for each in bucket.list(folder) if is_wanted(each.name)]
    if not found:
        raise NotFoundError(f"there is no object {shown_url(url)}", hint="Nothing was loaded yet.")

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


def _wanted(key: str, url: str) -> tuple[Callable[[str], bool], str]:
    """Return what tells whether an object is meant, and how the names of those begin that are."""
    if is_glob(key):
        try:
            pattern = pattern_of(key)
        except ValueError as error:
            raise InvalidRequestError(
                f"{url} is no pattern: {error}", hint="Nothing was loaded yet."
            ) from error
        return lambda name: fits(pattern, name), beginning(key)
    if key and not key.endswith("/"):
        return lambda name: name == key, key
    return lambda name: name.startswith(key) and _is_data(name[len(key) :]), key


def _is_data(name: str) -> bool:
    """Whether a name ends as files of data do."""
    plain = name.lower()
    plain = plain.removesuffix(".zst") if plain.endswith(".zst") else plain.removesuffix(".gz")
    return plain.endswith(_ENDS) and "\n" not in name


def _scheme(argument: str) -> str | None:
    """Return what stands before ``://`` in small letters; None: the argument is no URL."""
    scheme, is_url, _ = argument.partition("://")
    is_scheme = scheme[:1].isalpha() and _SCHEME_SIGNS.issuperset(scheme)
    return scheme.lower() if is_url and is_scheme else None
