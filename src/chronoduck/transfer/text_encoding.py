"""Texts of any encoding as UTF-8, which is what the engine reads."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from chronoduck.errors import InvalidRequestError, LoadError

__all__ = ["ENCODINGS", "FoundEncoding", "check_encoding_name", "make_utf8"]

_BLOCK_BYTES = 1_000_000
ENCODINGS = frozenset(
    {"ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"}
    | {"utf-32-be", "mac-roman", "mac-latin2", "mac-cyrillic", "koi8-r", "koi8-u", "gb2312", "gbk"}
    | {"gb18030", "big5", "big5hkscs", "shift_jis", "euc_jp", "iso2022_jp", "euc_kr", "tis-620"}
    | {f"cp{page}" for page in range(1250, 1259)}
    | {f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15, 16)}
    | {f"cp{page}" for page in (437, 720, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863)}
    | {f"cp{page}" for page in (864, 865, 866, 869, 874, 932, 936, 949, 950)}
)
"""Names of codecs that read a stream in linear time; aliases of them are understood, too."""
_KNOWN = frozenset(codecs.lookup(name).name for name in ENCODINGS if name != "cp936") | {"gbk"}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
FALLBACK = "cp1252"


@dataclass(frozen=True)
class FoundEncoding:
    """What a text was written in."""

    encoding: str
    is_guessed: bool
    """Whether nothing said so: neither the caller nor the text's first bytes."""


def check_encoding_name(name: str) -> None:
    """Refuse an encoding that is not read.

    Raises:
        InvalidRequestError: there is none of that name.
    """
    try:
        is_known = codecs.lookup(name).name in _KNOWN
    except (LookupError, ValueError):
        is_known = False
    if not is_known:
        raise InvalidRequestError(
            f"the `encoding` {name[:40]!r} is not known",
            hint="Set `encoding=cp1252`, or utf-8, utf-16, iso8859-15, shift_jis or another one's name.",
        )


def make_utf8(path: Path, encoding: str, name: str, *, fallback: str = FALLBACK) -> FoundEncoding:
    """Write the file again in UTF-8 if it is not; its line ends become LF if they are lone CR.

    ``fallback``: what a file is taken for that says nothing and is not UTF-8.

    Raises:
        LoadError: it is not written in the encoding that was said; names the first byte.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    found = (
        _found(head, path, fallback)
        if not encoding
        else FoundEncoding(codecs.lookup(encoding).name, False)
    )
    if found.encoding in ("utf-8", "utf-8-sig", "ascii"):
        if encoding and found.encoding != "ascii":
            _check(path, "utf-8", name)
        if not _has_lone_returns(path):
            return found
    _rewrite(path, found.encoding, name)
    return found


def _found(head: bytes, path: Path, fallback: str) -> FoundEncoding:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return FoundEncoding(encoding, False)
    # Every second byte of the signs that a header is made of is NUL.
    even, odd = head[0:200:2], head[1:200:2]
    if len(odd) > 2 and odd.count(0) > len(odd) * 0.6 and not even.count(0):
        return FoundEncoding("utf-16-le", True)
    if len(even) > 2 and even.count(0) > len(even) * 0.6 and not odd.count(0):
        return FoundEncoding("utf-16-be", True)
    if not fallback or _is_utf8(path):
        return FoundEncoding("utf-8", False)
    return FoundEncoding(fallback, True)


def _is_utf8(path: Path) -> bool:
    """Whether a text is UTF-8, perhaps a damaged one: some of its signs are written so.

    What is written in another encoding has next to no sign that could be one of UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    has_wrong = False
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            text = decoder.decode(block, final=not block)
            if not text.isascii():
                others = text.replace("\ufffd", "")
                has_wrong = has_wrong or len(others) != len(text)
                if not others.isascii():
                    return True
            if not block:
                return not has_wrong


def _check(path: Path, encoding: str, name: str) -> None:
    for _ in _decoded(path, encoding, name):
        pass


def _decoded(path: Path, encoding: str, name: str):  # type: ignore[no-untyped-def]
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            try:
                text = decoder.decode(block, final=not block)
            except (UnicodeError, ValueError) as error:
                start = getattr(error, "start", 0)
                line += block[:start].count(b"\n")
                raise LoadError(
                    f"line {line} of {name} is not {encoding}: byte 0x{block[start : start + 1].hex()}",
                    hint="Nothing was loaded. Set `encoding`, such as cp1252, utf-16 or shift_jis.",
                ) from error
            line += text.count("\n")
            yield text
            if not block:
                return


def _has_lone_returns(path: Path) -> bool:
    """Whether lines end as those of old Macs do, by the first of them."""
    with path.open("rb") as file:
        head = file.read(_BLOCK_BYTES)
    return b"\r" in head and b"\n" not in head


def _rewrite(path: Path, encoding: str, name: str) -> None:
    other = path.with_suffix(".utf8")
    is_lone: bool | None = None
    with other.open("w", encoding="utf-8", newline="") as file:
        for text in _decoded(path, encoding, name):
            if is_lone is None and text:
                text = text.removeprefix("\ufeff")
                is_lone = "\r" in text and "\n" not in text
            file.write(text.replace("\r", "\n") if is_lone else text)
    other.replace(path)
