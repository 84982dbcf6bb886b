"""What the reader hands to the service: files in a directory of the run, whole once they have a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa

from chronoduck.sync.columns import SourceColumn

__all__ = ["Manifest", "Piece", "Spool"]

_WATERMARK = b"chronoduck.watermark"


@dataclass(frozen=True)
class Manifest:
    """What the reader found before it read the first row."""

    columns: tuple[SourceColumn, ...]
    watermark: str | None
    """Where it began; None: at the first row."""
    estimate: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """Rows that are merged together; with them the watermark is reached."""

    path: Path
    table: pa.Table
    watermark: str | None


class Spool:
    """The directory of one run. Written by one process, read by another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._written = 0
        self._round = 1
        self._seen: set[str] = set()

    def write_manifest(self, manifest: Manifest) -> None:
        """Say what will come."""
        fields = {
            "columns": [column.as_dict() for column in manifest.columns],
            "watermark": manifest.watermark,
            "estimate": manifest.estimate,
            "notes": manifest.notes,
        }
        part = self.directory / "manifest.part"
        part.write_bytes(orjson.dumps(fields))
        part.replace(self.directory / "manifest.json")

    def read_manifest(self) -> Manifest | None:
        """Return what the reader found; None: it is not that far."""
        try:
            fields = orjson.loads((self.directory / "manifest.json").read_bytes())
        except FileNotFoundError:
            return None
        return Manifest(
            tuple(SourceColumn.of(each) for each in fields["columns"]),
            fields["watermark"],
            fields["estimate"],
            tuple(fields["notes"]),
        )

    def write_rows(self, batches: Sequence[pa.RecordBatch], watermark: str | None) -> None:
        """Add a piece."""
        self._write("rows", batches, {_WATERMARK: watermark.encode()} if watermark else {})

    def write_keys(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Add keys."""
        self._write("keys", batches, {})

    def begin_round(self) -> None:
        """Say that what follows may hold keys again that were written before, with equal rows."""
        self._round += 1

    def discard(self) -> None:
        """Remove the pieces that were written: others come in their place."""
        for path in self.directory.glob("*.arrow"):
            path.unlink()

    def _write(
        self, kind: str, batches: Sequence[pa.RecordBatch], metadata: dict[bytes, bytes]
    ) -> None:
        self._written += 1
        part = self.directory / f"{self._written:08}.part"
        schema = batches[0].schema.with_metadata(metadata)
        with pa.OSFile(str(part), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch.replace_schema_metadata(metadata))
        part.replace(self.directory / f"{kind}-{self._round:06}-{self._written:08}.arrow")

    def take_rows(self) -> list[Piece]:
        """Return the pieces that came since the last call, in order; each is read when it is used."""
        return self._take("rows")

    def take_keys(self) -> pa.Table | None:
        """Return all keys, None when the source has none."""
        pieces = self._take("keys")
        return pa.concat_tables([piece.table for piece in pieces]) if pieces else None

    def take_rounds(self) -> list[tuple[pa.Table, pa.Table | None]]:
        """Return keys, and the rows that there are of them, of each round; in one no key is twice."""
        rounds: dict[str, tuple[list[pa.Table], list[pa.Table]]] = {}
        for place, pieces in enumerate((self._take("keys"), self._take("rows"))):
            for piece in pieces:
                number = piece.path.name.split("-")[1]
                rounds.setdefault(number, ([], []))[place].append(piece.table)
        return [
            (pa.concat_tables(keys), pa.concat_tables(rows) if rows else None)
            for keys, rows in rounds.values()
        ]

    def _take(self, kind: str) -> list[Piece]:
        found = sorted(self.directory.glob(f"{kind}-*.arrow"))
        pieces = []
        for path in found:
            if path.name in self._seen:
                continue
            self._seen.add(path.name)
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            told = (table.schema.metadata or {}).get(_WATERMARK)
            pieces.append(Piece(path, table, told.decode() if told else None))
        return pieces
