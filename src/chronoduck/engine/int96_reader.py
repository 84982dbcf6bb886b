"""``python -m chronoduck.engine.int96_reader``: finds nanoseconds in INT96 times of Parquet, enclosed.

It is asked like ``upload_reader.py``. Arrow reads such times to the nanosecond, DuckDB does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronoduck.engine.upload_reader import serve

__all__ = ["find_nanoseconds", "main"]

_BATCH_ROWS = 65_536
_DAMAGED = "it is damaged, or of a kind that Arrow does not read"


def main() -> None:
    """Read by Arrow what is asked for."""
    _warm_up()
    serve(find_nanoseconds, lambda: None)


def _warm_up() -> None:
    """Have Arrow import what it needs: inside the walls no module can be read."""
    written = pa.BufferOutputStream()
    times = pa.table({"at": pa.array([0, None], pa.timestamp("ns"))})
    pq.write_table(times, written, use_deprecated_int96_timestamps=True)
    find_nanoseconds(pa.BufferReader(written.getvalue()))


def find_nanoseconds(path: str | pa.BufferReader) -> tuple[str, str]:
    """Return ``read`` when no time has any, else ``refused`` and the place of the first one."""
    try:
        fine = pq.ParquetFile(path, coerce_int96_timestamp_unit="ns", pre_buffer=False)
        coarse = pq.ParquetFile(path, coerce_int96_timestamp_unit="us", pre_buffer=False)
        columns = [
            each.path
            for each in map(fine.schema.column, range(len(fine.schema)))
            if each.physical_type == "INT96"
        ]
        batches = zip(
            fine.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False),
            coarse.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False),
            strict=True,
        )
        first_row = 1
        for nanoseconds, microseconds in batches:
            for name in nanoseconds.schema.names:
                pair = nanoseconds.column(name), microseconds.column(name)
                if _differ(*pair):
                    rows = (row for row in range(len(pair[0])) if _differ(*_row(pair, row)))
                    return (
                        "refused",
                        f"row {first_row + next(rows)}, column {name}: the time has nanoseconds",
                    )
            first_row += nanoseconds.num_rows
    except MemoryError:  # Arrow's own is one, too
        return "memory", "a part of the file does not fit into memory"
    except (pa.ArrowException, OSError, ValueError):
        return "refused", _DAMAGED
    return "read", ""


def _row(pair: tuple[pa.Array, pa.Array], row: int) -> tuple[pa.Array, pa.Array]:
    return pair[0].slice(row, 1), pair[1].slice(row, 1)


def _differ(nanoseconds: pa.Array, microseconds: pa.Array) -> bool:
    """Whether any time has more than microseconds.

    Nanoseconds of years before 1677 and after 2262 overflow, and so do the microseconds times 1,000
    that they are compared with: the difference is right all the same.
    """
    return any(
        bool(np.any(fine - coarse * np.int64(1_000)))
        for fine, coarse in zip(_times(nanoseconds), _times(microseconds), strict=True)
    )


def _times(values: pa.Array) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Yield the times at the leaves, as whole numbers; of NULL 0."""
    if pa.types.is_timestamp(values.type):
        yield values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    elif pa.types.is_struct(values.type):
        for field in values.flatten():
            yield from _times(field)
    else:  # a list, or a map, whose entries are structs
        yield from _times(values.flatten())


if __name__ == "__main__":
    main()
