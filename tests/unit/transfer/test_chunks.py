"""Lines into spool files: whatever pieces a file is read in, the same lines with the same numbers."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from chronoduck.transfer import chunks
from chronoduck.transfer.chunks import line_chunks
from chronoduck.transfer.detect import FileFormat

_PIECES = (
    b"com,example)/",
    b" 2020",
    b"\n",
    b"\r\n",
    b"\r",
    b"\xc3\xa9",
    b"\xff",
    b"\x00",
    b"\xe2\x82",
)


def test_the_pieces_that_a_file_is_read_in_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(5)
    for _ in range(200):
        data = b"x" + b"".join(dice.choices(_PIECES, k=dice.randrange(1, 60)))
        whole = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\0", "\ufffd")
        monkeypatch.setattr(chunks, "_BLOCK_BYTES", dice.randrange(1, 20))
        monkeypatch.setattr(chunks, "CHUNK_BYTES", dice.randrange(1, 60))
        monkeypatch.setattr(chunks, "_CHUNK_LINES", dice.randrange(1, 20))
        claimed: list[int] = []
        found, line = "", 1
        for chunk in line_chunks(
            io.BytesIO(data), b"", FileFormat.CDX, tmp_path, "chunk", before_write=claimed.append
        ):
            text = chunk.path.read_bytes().decode()
            assert chunk.first_line == line
            assert chunk.line_count == len(text.removesuffix("\n").split("\n"))
            found, line = found + text, line + chunk.line_count
        assert found == whole
        assert sum(claimed) == len(whole.encode())


def test_a_chunk_of_short_lines_has_few_bytes(tmp_path: Path) -> None:
    data = io.BytesIO(b"x\n" * 1_500_000)  # each may be reported, as an object of 400 bytes
    found = line_chunks(data, b"", FileFormat.CDX, tmp_path, "chunk")
    counts = [chunk.line_count for chunk in found]
    assert sum(counts) == 1_500_000
    assert max(counts) <= 750_000
