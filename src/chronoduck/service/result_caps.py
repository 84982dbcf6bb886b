"""How large a result may get: rows and bytes, counted while it is encoded."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

__all__ = ["ResultCap", "lesser"]

_SPREAD = 2.0
"""A part of a batch is chosen as if its rows were so many times larger than those before it."""


def lesser(asked: int | None, limit: int | None) -> int | None:
    """Return the smaller of two bounds, of which each may be missing."""
    if asked is None or limit is None:
        return asked if limit is None else limit
    return min(asked, limit)


class ResultCap:
    """Passes rows on until one bound is reached; ``is_reached`` then says that there were more.

    Whole rows only. Bytes are those that the encoder returns, the head of the result included and
    its end, a few hundred bytes, not; ``counts_arrow``: those of the batches, for a format whose
    encoder holds rows back.
    """

    def __init__(
        self, max_rows: int | None, max_bytes: int | None, *, counts_arrow: bool = False
    ) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._counts_arrow = counts_arrow
        self.rows = 0
        self.bytes = 0
        self._measured_rows = 0
        self._measured_bytes = 0
        self.is_reached = False

    def encode(self, batch: pa.RecordBatch, encoder: Callable[[pa.RecordBatch], bytes]) -> bytes:
        """Return the encoded rows, as many as may be."""
        if self._max_rows is not None and self.rows + batch.num_rows > self._max_rows:
            # One row too many is proof enough; the rest is never computed.
            self.is_reached = True
            batch = batch.slice(0, self._max_rows - self.rows)
        if self._max_bytes is None:
            self.rows += batch.num_rows
            return encoder(batch)
        return self._encode_parts(batch, encoder, self._max_bytes)

    def _encode_parts(
        self, batch: pa.RecordBatch, encoder: Callable[[pa.RecordBatch], bytes], max_bytes: int
    ) -> bytes:
        """Encode parts that shrink as the bound comes nearer; drop the one that would pass it."""
        pieces: list[bytes] = []
        while batch.num_rows:
            part = batch.slice(0, self._part_rows(batch, max_bytes))
            if self._counts_arrow and self.bytes + part.nbytes > max_bytes:
                self.is_reached = True
                break
            piece = encoder(part)
            size = part.nbytes if self._counts_arrow else len(piece)
            if self.bytes + size > max_bytes:
                self.is_reached = True
                break
            pieces.append(piece)
            self.bytes += size
            self.rows += part.num_rows
            self._measured_bytes += size
            self._measured_rows += part.num_rows
            batch = batch.slice(part.num_rows)
        return b"".join(pieces)

    def _part_rows(self, batch: pa.RecordBatch, max_bytes: int) -> int:
        if self._measured_rows:
            row_bytes: float = self._measured_bytes / self._measured_rows
        else:
            row_bytes = batch.nbytes / batch.num_rows
        rows: int = batch.num_rows
        left = max_bytes - self.bytes
        return max(1, min(rows, int(left / (max(row_bytes, 1.0) * _SPREAD))))
