"""Compressed bytes as plain ones, piece by piece: what is whole before a flaw is not lost with it."""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdDict, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdDict, ZstdError

__all__ = [
    "GZIP",
    "ZSTD",
    "Decompressed",
    "Readable",
    "is_skippable",
    "open_plain",
    "zstd_dictionary",
]

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
"""Behind a first byte of 0x50 to 0x5F."""
_DICTIONARY_FRAME = b"\x5d" + _SKIPPABLE
_DICTIONARY = b"\x37\xa4\x30\xec"
_LARGEST_DICTIONARY = 64_000_000
_PIECE = 16_384
"""Compressed bytes at a time: a damaged piece takes no more than this with it."""
_OUTPUT = 1 << 20
_WINDOW_LOG = 27


class Readable(Protocol):
    """Anything that bytes come from."""

    def read(self, size: int = -1, /) -> bytes: ...


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class Decompressed:
    """Reads members (or frames) of compressed data, one after the other.

    ``read`` returns what there is, and raises only when nothing is left before the flaw.
    """

    def __init__(
        self, source: Readable, begin: Callable[[], _Decompressor], kind: str, position: int = 0
    ) -> None:
        self._source = source
        self._begin = begin
        self._kind = kind
        self._member: _Decompressor | None = None
        self._has_more = False
        """Whether the member can give more without new input."""
        self._input = b""
        self._taken = position
        self._given = 0
        self._flaw: OSError | EOFError | None = None
        self.starts = {0: position}
        """Where members begin: the place in the plain bytes, and that in the source."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, at least one unless this is the end.

        Raises:
            OSError: the data is damaged.
            EOFError: it ends in the middle of a member.
        """
        if self._flaw is not None:
            raise self._flaw
        limit = _OUTPUT if size < 0 else min(size, _OUTPUT)
        parts: list[bytes] = []
        try:
            while limit > 0 and (data := self._some(limit)):
                parts.append(data)
                limit -= len(data)
        except (OSError, EOFError) as flaw:
            self._flaw = flaw
            if not parts:
                raise
        return b"".join(parts)

    def _some(self, limit: int) -> bytes:
        while True:
            if self._member is None and self._kind == "gzip":
                self._skip(len(self._input) - len(self._input.lstrip(b"\0")))  # blocks of a tape
            if not self._input and not self._has_more:
                self._input = self._source.read(_PIECE)
                if not self._input:
                    if self._member is not None:
                        raise EOFError(f"the {self._kind} data ends in the middle")
                    return b""
                continue
            if data := self._next(limit):
                return data

    def _skip(self, count: int) -> None:
        self._input = self._input[count:]
        self._taken += count

    def _next(self, limit: int) -> bytes:
        member = self._member = self._member or self._begin()
        before = len(self._input)
        try:
            data = member.decompress(self._input, limit)
        except (zlib.error, ZstdError) as error:
            raise OSError(f"the {self._kind} data is damaged: {error}") from error
        self._given += len(data)
        if member.eof:
            self._input, self._member, self._has_more = member.unused_data, None, False
        else:
            # zlib hands back what it did not take; zstd keeps it.
            self._input = getattr(member, "unconsumed_tail", b"")
            self._has_more = len(data) == limit or not getattr(member, "needs_input", True)
        self._taken += before - len(self._input)
        if member.eof:
            self.starts[self._given] = self._taken
        return data


def open_plain(
    source: Readable, head: bytes, dictionary: ZstdDict | None = None, position: int = 0
) -> Readable:
    """Return the source, or what decompresses it; ``head`` is how it begins, as a look at it showed.

    ``position``: how many bytes of the file stand before the source's.
    """
    if head.startswith(GZIP):
        return Decompressed(source, lambda: zlib.decompressobj(31), "gzip", position)
    if head.startswith(ZSTD) or is_skippable(head):
        options = {int(DecompressionParameter.window_log_max): _WINDOW_LOG}
        return Decompressed(source, lambda: ZstdDecompressor(dictionary, options), "zstd", position)
    return source


def is_skippable(head: bytes) -> bool:
    """Whether data begins with a frame of zstd that decompressors leave out."""
    return head[1:4] == _SKIPPABLE and 0x50 <= head[0] <= 0x5F


def zstd_dictionary(source: io.BufferedReader) -> tuple[int, ZstdDict | None]:
    """Take the frame that a ``.warc.zst`` begins with; return its length, and the dictionary in it.

    The dictionary may itself be compressed. A source that begins otherwise is left as it is.

    Raises:
        OSError: the dictionary is damaged, too large, or cut off.
    """
    head = source.peek(8)[:8]
    if not head.startswith(_DICTIONARY_FRAME):
        return 0, None
    length = int.from_bytes(head[4:8], "little")
    if length > _LARGEST_DICTIONARY:
        raise OSError(f"the dictionary has {length:,} bytes")
    content = source.read(8 + length)[8:]
    if len(content) < length:
        raise OSError("the file ends in its dictionary")
    try:
        if content.startswith(ZSTD):
            content = ZstdDecompressor().decompress(content, _LARGEST_DICTIONARY)
        return 8 + length, ZstdDict(content, is_raw=not content.startswith(_DICTIONARY))
    except (ZstdError, ValueError) as error:
        raise OSError(f"the dictionary cannot be read: {error}") from error
