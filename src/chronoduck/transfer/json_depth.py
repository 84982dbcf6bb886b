"""How deep a JSON file nests: DuckDB 1.5.5 calls itself for each level, and ends with 50,000 of them."""

from __future__ import annotations

import io
from itertools import accumulate
from pathlib import Path

from chronoduck.errors import LoadError

__all__ = ["MAX_JSON_DEPTH", "check_depth", "check_depth_of_lines"]

MAX_JSON_DEPTH = 1_000
"""As deep as the small bodies that are read here may nest."""
_BLOCK_BYTES = 1_000_000
_STRUCTURE = b'[]{}"'
_OTHERS = bytes(set(range(256)) - set(_STRUCTURE))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class _Depth:
    """Follows a text in pieces, and says how deep it has been."""

    def __init__(self) -> None:
        self.deepest = 0
        self.count = 0
        """Brackets that open, as a bound that is found at once."""
        self.is_new = True
        self._depth = 0
        self._is_text = False
        self._rest = b""

    def add(self, piece: bytes) -> None:
        self.is_new = False
        data = self._rest + piece
        # A backslash at the end belongs to what comes after it.
        slashes = len(data) - len(data.rstrip(b"\\"))
        self._rest = b"\\" if slashes % 2 else b""
        data = data.removesuffix(self._rest) if self._rest else data
        plain = data.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OTHERS)
        texts = plain.split(b'"')
        outside = b"".join(texts[1 if self._is_text else 0 :: 2])
        self._is_text ^= len(texts) % 2 == 0
        if not outside:
            return
        depths = list(accumulate((_STEPS[byte] for byte in outside), initial=self._depth))
        self.deepest = max(self.deepest, *depths)
        self._depth = depths[-1]


def check_depth(path: Path, name: str) -> None:
    """Refuse a file of JSON that nests too deeply.

    Raises:
        LoadError: it does.
    """
    depth = _Depth()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            depth.add(block)
            if depth.deepest > MAX_JSON_DEPTH:
                raise _too_deep(name)


def check_depth_of_lines(path: Path, name: str) -> None:
    """Refuse NDJSON of which a line nests too deeply.

    Raises:
        LoadError: one does; says which.
    """
    number, depth = 1, _Depth()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES) + file.readline(_BLOCK_BYTES):
            lines = block.split(b"\n")
            if depth.is_new and not lines[-1] and max(map(len, lines)) <= MAX_JSON_DEPTH:
                number += len(lines) - 1  # none is long enough for so many brackets
                continue
            for piece in io.BytesIO(block):
                depth.count += piece.count(b"[") + piece.count(b"{")
                is_whole = depth.is_new and piece.endswith(b"\n")
                if not is_whole or depth.count > MAX_JSON_DEPTH:
                    depth.add(piece)
                    if depth.deepest > MAX_JSON_DEPTH:
                        raise _too_deep(f"line {number} of {name}")
                if piece.endswith(b"\n"):
                    number, depth = number + 1, _Depth()


def _too_deep(what: str) -> LoadError:
    return LoadError(
        f"{what} is nested more than {MAX_JSON_DEPTH:,} deep",
        hint="Nothing was loaded.",
    )
