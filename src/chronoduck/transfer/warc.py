"""Web archives (WARC) and their metadata (WAT) as lines of CDXJ: what an index of them would say."""

from __future__ import annotations

import io
import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

import orjson

from chronoduck.errors import LoadError

if TYPE_CHECKING:
    from warcio.archiveiterator import ArchiveIterator

__all__ = ["capture_lines", "is_archive"]

_GZIP = b"\x1f\x8b"
_END = b"\r\n\r\n"
"""Of every record."""
_CAPTURES = {"response", "revisit", "resource"}
_ODD = (ValueError, AttributeError, TypeError, LookupError)
"""What the library raises of headers that it does not expect."""
_LARGEST_METADATA = 64_000_000
_PIECE = 1 << 20
_DATE = "dddd-dd-ddTdd:dd:dd"


def is_archive(source: io.BufferedReader) -> bool:
    """Whether the bytes, plain or in gzip, begin as an archive does; nothing is taken of them."""
    head = source.peek(1024)
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(31).decompress(head, 16)
        except zlib.error:
            return False
    return head.startswith(b"WARC/")


def capture_lines(source: io.BufferedReader, name: str) -> IO[bytes]:
    """Return the captures of an archive as a file of CDXJ.

    ``source`` is as it is stored, so that lengths are those of the stored records. Reading raises
    OSError with the number of a record that is broken.

    Raises:
        LoadError: the library for it is not installed.
    """
    try:
        from warcio.archiveiterator import ArchiveIterator  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise LoadError(
            f"{name} is a web archive (WARC), and the library for them is not installed",
            hint="Run: pip install 'chronoduck[warc]'",
        ) from error
    return io.BufferedReader(_Lines(_lines(ArchiveIterator(_Whole(source)))), _PIECE)


class _Lines(io.RawIOBase):
    """Bytes of an iterator."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what is there; 0 at the end."""
        if not self._rest:
            self._rest = next(self._lines, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class _Whole:
    """Reads an archive, and raises OSError where its own marks say that it is not whole.

    The library takes a file that was cut off for one that ends there.
    """

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self._is_gzip = source.peek(2).startswith(_GZIP)
        self._member: Any = None
        """What decompresses the member of gzip that was begun; its lengths and sums are checked."""
        self._last = _END

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._source.read(size)
        is_cut = self._member is not None if self._is_gzip else self._last != _END
        if not data and is_cut:
            raise OSError("the file ends in the middle of a record")
        self._last = (self._last + data)[-len(_END) :]
        if self._is_gzip:
            self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        while data:
            self._member = self._member or zlib.decompressobj(31)
            self._member.decompress(data)
            data = self._member.unused_data
            if self._member.eof:
                self._member = None


def _lines(records: ArchiveIterator) -> Iterator[bytes]:
    from warcio.exceptions import ArchiveLoadFailed  # noqa: PLC0415 - an extra

    yield b"!meta {}\n"  # an archive without captures is one still
    for number in itertools.count(1):
        try:
            record = next(records, None)
            if record is None:
                return
            facts = _facts(record)
            # Only when its content was read does the iterator know where it ends.
            records.read_to_end(record)
            if getattr(record.raw_stream, "limit", 0):
                raise EOFError("it ends in the middle")
        except (ArchiveLoadFailed, zlib.error, EOFError, *_ODD) as error:
            raise OSError(f"record {number:,} is broken: {error}") from error
        if facts is not None:
            stamp = facts.pop("timestamp")
            facts.setdefault("length", str(records.get_record_length()))
            yield b"- %b %b\n" % (stamp.encode(), orjson.dumps(facts))


def _facts(record: Any) -> dict[str, str] | None:
    """Return the fields of a capture; None: the record is something else."""
    headers = record.rec_headers
    if record.rec_type in _CAPTURES:
        http = record.http_headers
        facts = _fields(headers.get_header)
        if http is not None:
            facts["status"] = http.get_statuscode()
            facts["mime"] = http.get_header("Content-Type", "")
        elif record.rec_type == "resource":
            facts["mime"] = headers.get_header("Content-Type", "")
    elif record.rec_type == "metadata" and "json" in headers.get_header("Content-Type", ""):
        told = _described(record.content_stream().read(_LARGEST_METADATA))
        if told is None:
            return None
        facts = told
    else:
        return None
    if not facts["url"]:
        return None
    facts["mime"] = facts.get("mime", "").partition(";")[0].strip()
    return {name: value for name, value in facts.items() if value}


def _fields(header: Callable[[str], str | None]) -> dict[str, str]:
    return {
        "url": header("WARC-Target-URI") or "",
        "timestamp": _timestamp(header("WARC-Date") or ""),
        "digest": (header("WARC-Payload-Digest") or "").removeprefix("sha1:"),
    }


def _timestamp(date: str) -> str:
    """Return the 14 digits of a date such as ``2024-01-31T12:00:00Z``; ``-`` if it begins otherwise."""
    begin = date[: len(_DATE)]
    fits = len(begin) == len(_DATE) and all(
        sign.isdecimal() if wanted == "d" else sign == wanted
        for sign, wanted in zip(begin, _DATE, strict=True)
    )
    return "".join(filter(str.isdecimal, begin)) if fits else "-"


def _described(text: bytes) -> dict[str, str] | None:
    """Return the fields of the response that a record of a WAT file describes; None: of none."""
    whole = orjson.loads(text)
    envelope = _part(whole, "Envelope")
    described = _part(envelope, "WARC-Header-Metadata")
    if described.get("WARC-Type") not in _CAPTURES:
        return None
    facts = _fields(lambda name: str(described.get(name, "")))
    response = _part(envelope, "Payload-Metadata", "HTTP-Response-Metadata")
    facts["status"] = str(_part(response, "Response-Message").get("Status", ""))
    types = {name.lower(): str(value) for name, value in _part(response, "Headers").items()}
    facts["mime"] = types.get("content-type", "")
    facts["title"] = str(_part(response, "HTML-Metadata", "Head").get("Title", ""))
    stored = _part(whole, "Container", "Gzip-Metadata").get("Deflate-Length")
    facts["length"] = str(stored or described.get("Content-Length", ""))
    return facts


def _part(whole: Any, *names: str) -> dict[str, Any]:
    """Return an object inside of others, an empty one if it is not there."""
    for name in names:
        whole = whole.get(name) if isinstance(whole, dict) else None
    return whole if isinstance(whole, dict) else {}
