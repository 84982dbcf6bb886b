"""Web archives (WARC, ARC) and their metadata (WAT) as lines of JSON: what an index of them would say."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from chronoduck.errors import LoadError
from chronoduck.transfer.captures.record_stream import RecordStream
from chronoduck.transfer.decompression import Readable

__all__ = ["ArchiveLines", "is_archive_head"]

_END, _SHORT_END = b"\r\n\r\n", b"\n"
"""Of every record of a WARC file; tools have also written a single line end."""
_BEGINS = (b"WARC/", b"filedesc://")
_CAPTURES = {"response", "revisit", "resource"}
_ODD = (ValueError, AttributeError, TypeError, LookupError)
"""What the library raises of headers that it does not expect."""
_LARGEST_METADATA = 64_000_000
_LARGEST_HEADERS = 1_000_000
"""Of a record and of the HTTP answer in it."""
_BLOCK = 65_536
_REVISIT = "warc/revisit"


def is_archive_head(plain: bytes) -> bool:
    """Whether plain bytes begin as an archive does."""
    return plain.startswith(_BEGINS)


class ArchiveLines:
    """Reads an archive as lines, one for each capture, and one with its ``flaw`` for each odd record.

    ``read`` gives whole lines first, and raises when nothing but the flaw of the file is left.
    """

    def __init__(self, plain: Readable, name: str, head: bytes = b"") -> None:
        """``name`` is the file's, which indexes note as ``filename``; ``head`` was read of it already.

        Raises:
            LoadError: the library for archives is not installed.
        """
        try:
            from warcio.recordloader import ArcWarcRecordLoader  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise LoadError(
                f"{name} is a web archive, and the library for them is not installed",
                hint="Run: pip install 'chronoduck[warc]'",
            ) from error
        loader = ArcWarcRecordLoader(verify_http=False, arc2warc=False)
        self._lines = _lines(RecordStream(plain, head), loader, name)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes; none at the end.

        Raises:
            OSError, EOFError: the archive is damaged or cut off; names the record.
        """
        if not self._rest:
            self._rest = next(self._lines, b"")
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _lines(stream: RecordStream, loader: Any, name: str) -> Iterator[bytes]:
    """Yield a line for each record that is a capture or should be one."""
    number = 0
    known_format = None
    while _skip_blank_lines(stream):
        number += 1
        begin = stream.tell()
        try:
            with stream.bounded_lines(_LARGEST_HEADERS):
                record, facts = _next_record(stream, loader, known_format)
            known_format = "arc" if record.format == "arc" else "warc"
        except EOFError as error:
            raise EOFError(f"record {number:,}: {error}") from error
        except OSError as error:
            raise OSError(f"record {number:,}: {error}") from error
        except _Flaw as flaw:
            is_more = _skip_to_record(stream)
            if not is_more and _is_cut(stream, known_format, _END):
                raise EOFError(f"record {number:,}: the file ends in the middle of it") from None
            yield _line({"flaw": str(flaw)}, number)
            continue
        end = stream.tell()
        broken: OSError | EOFError | None = None
        try:
            _skip_blank_lines(stream)  # which belong to the record's member
        except (OSError, EOFError) as error:
            broken = error  # of what comes next; this record is whole
        if facts is not None:
            offset, length = stream.place(begin, end, stream.tell())
            facts["length"] = facts.get("length") or str(length)
            place = {} if offset is None else {"offset": str(offset)}
            yield _line({"filename": name, **place, **facts}, number)
        if broken is not None:
            raise broken
    if number and _is_cut(stream, known_format, _SHORT_END):
        raise EOFError(f"record {number:,} does not end as records do: the file was cut off")


def _is_cut(stream: RecordStream, known_format: str | None, end: bytes) -> bool:
    """Whether a file that has ended lacks its end; compression tells by itself."""
    return known_format == "warc" and not stream.is_compressed and not stream.last.endswith(end)


def _line(facts: dict[str, str], number: int) -> bytes:
    given = {name: value for name, value in facts.items() if value}
    return orjson.dumps({**given, "record": number}, option=orjson.OPT_APPEND_NEWLINE)


class _Flaw(Exception):
    """Why a record is none; the file goes on behind it."""


def _skip_blank_lines(stream: RecordStream) -> bool:
    """Go to the next line that is not empty; return whether there is one."""
    while line := stream.readline():
        if line.strip():
            stream.put_back(line)
            return True
    return False


def _skip_to_record(stream: RecordStream) -> bool:
    """Go to where the next record seems to begin; return whether there is one."""
    is_new_line = False
    while True:
        is_member = stream.is_at_member
        line = stream.readline()
        if not line:
            return False
        if is_member or (is_new_line and line.startswith(b"WARC/")):
            stream.put_back(line)
            return True
        is_new_line = line.endswith(b"\n")


def _next_record(
    stream: RecordStream, loader: Any, known_format: str | None
) -> tuple[Any, dict[str, str] | None]:
    """Return the next record and its fields; no fields: it is no capture.

    Raises:
        EOFError: the file ends within it.
        _Flaw: it cannot be read; the stream is somewhere behind its beginning.
    """
    from warcio.exceptions import ArchiveLoadFailed  # noqa: PLC0415 - an extra

    try:
        record = loader.parse_record_stream(stream, None, known_format, no_record_parse=True)
    except (ArchiveLoadFailed, *_ODD):
        raise _Flaw("the line is not the beginning of a record") from None
    limited = record.raw_stream
    length = record.rec_headers.get_header("Content-Length") or "0"
    if not (length.isascii() and length.isdigit()):
        raise _Flaw(f"the record's Content-Length is no number: {length}")
    if not hasattr(limited, "limit"):
        raise _Flaw("the record has no Content-Length")
    flaw: str | None = None
    facts: dict[str, str] | None = None
    try:
        facts = _facts(record, loader)
    except _Flaw as error:
        flaw = str(error)
    except _ODD:
        flaw = "the headers of the record cannot be read"
    while limited.limit > 0:
        if not limited.read(_BLOCK):
            raise EOFError("the file ends in the middle of it")
    return record, facts if flaw is None else {"flaw": flaw}


# --- the fields of a record -------------------------------------------------------------------


def _facts(record: Any, loader: Any) -> dict[str, str] | None:
    """Return the fields of a capture; None: the record is something else."""
    if record.format == "arc":
        return None if record.rec_type == "arc_header" else _arc_facts(record, loader)
    header = record.rec_headers.get_header
    if record.rec_type == "metadata":
        return _metadata_facts(record, header)
    if record.rec_type not in _CAPTURES:
        return None
    if record.rec_type == "resource" and header("Content-Type") == "application/warc-fields":
        return None
    facts = _fields(header)
    if not facts["url"]:
        raise _Flaw(f"the {record.rec_type} record has no WARC-Target-URI")
    if record.rec_type == "resource":
        facts["mime"] = _media_type(header("Content-Type"))
    else:
        _add_http(facts, record, loader, facts["url"])
    if record.rec_type == "revisit":
        facts["mime"] = _REVISIT
    elif not facts["digest"]:
        facts["digest"] = _payload_digest(record.raw_stream)
    return facts


def _arc_facts(record: Any, loader: Any) -> dict[str, str]:
    header = record.rec_headers.get_header
    facts = {"url": header("uri") or "", "timestamp": header("archive-date") or ""}
    _add_http(facts, record, loader, facts["url"])
    facts["digest"] = _payload_digest(record.raw_stream)
    return facts


def _metadata_facts(record: Any, header: Callable[[str], str | None]) -> dict[str, str] | None:
    type_ = header("Content-Type") or ""
    if type_ == "application/warc-fields" or not header("WARC-Target-URI"):
        return None
    facts = {**_fields(header), "mime": _media_type(type_)}
    if "json" not in type_:
        facts["digest"] = facts["digest"] or _payload_digest(record.raw_stream)
        return facts
    content = _content(record.raw_stream)
    try:
        whole = orjson.loads(content)
    except ValueError:
        whole = {}
    if isinstance(whole, dict) and "Envelope" in whole:
        return _described(whole)
    sha1 = base64.b32encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    return {**facts, "digest": facts["digest"] or sha1}


def _content(stream: Any) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < _LARGEST_METADATA and (block := stream.read(_BLOCK)):
        parts.append(block)
        size += len(block)
    return b"".join(parts)


def _add_http(facts: dict[str, str], record: Any, loader: Any, url: str) -> None:
    """Add status and media type, from the HTTP headers that the record begins with."""
    length = record.raw_stream.limit
    try:
        http = loader.load_http_headers(record.rec_type, url, record.raw_stream, length)
    except EOFError:
        http = None  # the record ends before its headers do; whether the file does is seen later
    if http is None:
        facts["mime"] = _media_type(record.rec_headers.get_header("Content-Type"))
        if facts["mime"].startswith("application/http"):
            facts["mime"] = ""
        return
    status = http.get_statuscode()
    facts["status"] = status if status.isascii() and status.isdigit() and len(status) <= 4 else ""
    facts["mime"] = _media_type(http.get_header("Content-Type"))


def _fields(header: Callable[[str], str | None]) -> dict[str, str]:
    return {
        "url": header("WARC-Target-URI") or "",
        "timestamp": _utc(header("WARC-Date") or ""),
        "digest": header("WARC-Payload-Digest") or "",
    }


def _utc(date: str) -> str:
    """Return a date as it is, or in UTC if it has an offset such as ``+01:00``."""
    if date[-6:-5] not in ("+", "-") or "T" not in date:
        return date
    try:
        return datetime.fromisoformat(date).astimezone(UTC).strftime("%Y%m%d%H%M%S")
    except (ValueError, OverflowError):
        return date


def _media_type(content_type: str | None) -> str:
    """Return the type without parameters, which begin at a semicolon or, in many answers, at a space."""
    return " ".join((content_type or "").partition(";")[0].split()[:1])


def _payload_digest(stream: Any) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    while block := stream.read(_BLOCK):
        digest.update(block)
    return base64.b32encode(digest.digest()).decode()


# --- WAT --------------------------------------------------------------------------------------


def _described(whole: dict[str, Any]) -> dict[str, str] | None:
    """Return the fields of the response that a record of a WAT file describes; None: of none."""
    envelope = _part(whole, "Envelope")
    described = _part(envelope, "WARC-Header-Metadata")
    if described.get("WARC-Type") not in _CAPTURES:
        return None
    facts = _fields(lambda name: str(described.get(name, "")))
    response = _part(envelope, "Payload-Metadata", "HTTP-Response-Metadata")
    facts["status"] = str(_part(response, "Response-Message").get("Status", ""))
    types = {name.lower(): str(value) for name, value in _part(response, "Headers").items()}
    facts["mime"] = _media_type(types.get("content-type", ""))
    if described.get("WARC-Type") == "revisit":
        facts["mime"] = _REVISIT
    facts["title"] = str(_part(response, "HTML-Metadata", "Head").get("Title", ""))
    container = _part(whole, "Container")
    stored = _part(container, "Gzip-Metadata").get("Deflate-Length")
    facts["length"] = str(stored or described.get("Content-Length", ""))
    facts["offset"] = str(container.get("Offset", ""))
    facts["filename"] = str(container.get("Filename", ""))
    return facts if facts["url"] else None


def _part(whole: Any, *names: str) -> dict[str, Any]:
    """Return an object inside of others, an empty one if it is not there."""
    for name in names:
        whole = whole.get(name) if isinstance(whole, dict) else None
    return whole if isinstance(whole, dict) else {}
