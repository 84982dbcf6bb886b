"""Loads mutated files of each format, and reads what they stored; a signal ends it if one kills."""

from __future__ import annotations

import io
import json
import random
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from chronoduck.errors import DuckDBException, DuckDBQueryError
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.options import LoadOptions
from chronoduck.transfer.sources import open_source
from chronoduck.transfer.table_load import load_table

SECONDS_EACH = 120
_MARKS = b"\"',;\t\n\r{}[]:\\0-eE"
_READS = ("SELECT COLUMNS(*)::VARCHAR FROM t", "SELECT hash(t) FROM t", "FROM t ORDER BY ALL")


class Session:
    """A connection as the loader wants one."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": "1", "memory_limit": "500MB"})

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[object, ...]]:
        """Run a statement."""
        try:
            return list(self.connection.execute(sql, params).fetchall())
        except (duckdb.InternalException, duckdb.FatalException):
            raise
        except (duckdb.Error, OSError) as error:
            raise DuckDBQueryError(str(error)) from error

    def scan(self, name: str, reader: pa.RecordBatchReader) -> None:
        """Have a name stand for rows of Arrow."""
        self.connection.register(name, reader)


def originals() -> list[tuple[FileFormat, bytes]]:
    """Return files to mutate, of many types."""
    table = pa.table(
        {
            "i": pa.array([1, None, 3] * 20),
            "s": pa.array(["a", "bb", None] * 20),
            "d": pa.array(["a", "bb", None] * 20).dictionary_encode(),
            "l": pa.array([[1], [], None] * 20),
            "r": pa.array([{"x": 1, "y": "z"}, None, {"x": 2, "y": None}] * 20),
            "t": pa.array([1, 2, None] * 20, pa.time64("us")),
            "ts": pa.array([1, 2, None] * 20, pa.timestamp("ms")),
            "c": pa.array([1, 2, None] * 20, pa.decimal128(20, 3)),
            "m": pa.array([[("k", 1)], [], None] * 20, pa.map_(pa.string(), pa.int32())),
            "b": pa.array([b"x", b"", None] * 20, pa.binary()),
        }
    )
    json_field = pa.field("j", pa.string(), metadata={b"ARROW:extension:name": b"arrow.json"})
    documents = pa.table([pa.array(['{"a": 1}', "[1]"])], schema=pa.schema([json_field]))
    found = []
    for each in (table, documents):
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, each.schema) as writer:
            writer.write_table(each)
        found.append((FileFormat.ARROW, sink.getvalue()))
    for compression in ("none", "snappy"):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression=compression)
        found.append((FileFormat.PARQUET, sink.getvalue()))
    rows = 'id,name,"when",amount,note\n' + "".join(
        f'{i},name {i},2024-01-{i % 28 + 1:02} 10:00:00,{i}.5,"a ""quoted"", {i}\nline"\n'
        for i in range(60)
    )
    lines = "".join(
        f'{{"id":{i},"s":"a\\u00e9\\"{i}","l":[1,[{i}],null],"r":{{"x":{i},"y":{{"z":[true]}}}},"d":"2024-01-02"}}\n'
        for i in range(60)
    )
    found += [(FileFormat.CSV, rows.encode()), (FileFormat.NDJSON, lines.encode())]
    return found


def mutated(dice: random.Random, count: int) -> Iterator[tuple[FileFormat, bytes]]:
    """Yield mutations of the files: bytes changed, left out, doubled, exchanged."""
    files = originals()
    for _ in range(count):
        file_format, content = dice.choice(files)
        data = bytearray(content)
        for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
            # The descriptions of a file's columns are at its end, or at its beginning.
            at = dice.choice(
                (dice.randrange(len(data)), max(0, len(data) - 1 - dice.randrange(1_500)),
                 min(len(data) - 1, dice.randrange(2_000)))
            )  # fmt: skip
            chance = dice.random()
            if chance < 0.7:
                data[at] = dice.choice(
                    (0, 1, 0x7F, 0x80, 0xFF, dice.choice(_MARKS), dice.randrange(256))
                )
            elif chance < 0.8:
                del data[at : at + dice.randrange(1, 9)]
            elif chance < 0.9:
                data[at:at] = data[at : at + dice.randrange(1, 9)]
            else:
                other = dice.randrange(len(data))
                data[at], data[other] = data[other], data[at]
        yield file_format, bytes(data)


def main(directory: Path, seed: int, count: int) -> None:
    """Load that many mutations; what went wrong is in ``outcome.json``."""
    session = Session()
    outcome = {"loaded": 0, "refused": 0}
    wrong = []
    path = directory / "current"
    for number, (file_format, content) in enumerate(mutated(random.Random(seed), count)):
        path.write_bytes(content)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_EACH)
        try:
            source = open_source(file_format, path, "the body", content[:4_000])
            source.prepare()
            session.execute("BEGIN TRANSACTION")
            load_table(session, source, "t", LoadOptions(create=True))
            for sql in _READS:
                session.connection.execute(sql).to_arrow_table()
            outcome["loaded"] += 1
        except (duckdb.InternalException, duckdb.FatalException) as error:
            wrong.append((number, file_format.value, str(error)[:300]))
            session = Session()
            continue
        except (DuckDBException, duckdb.Error, OSError, pa.ArrowException, UnicodeDecodeError):
            outcome["refused"] += 1
        try:
            session.connection.execute("ROLLBACK")
        except duckdb.Error:
            session = Session()
    (directory / "outcome.json").write_text(json.dumps({**outcome, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
