"""Comments that DuckDB 1.5 reads in quadratic time: 60 KB of ``/*/*/*`` hold the process for a minute.

Its lexer takes all operator characters behind ``/*`` with it, looks at them, and puts them back. DuckDB
2.0 reads them in linear time.
"""

from __future__ import annotations

import duckdb

__all__ = ["has_slow_comments"]

_IS_SLOW = duckdb.__version__.startswith("1.")
_OPERATORS = b"~!@#^&|`?+-*/%<>="
_BLANKED = bytes(code if code in _OPERATORS else 0x20 for code in range(256))
_FEW = 50
_LONGEST_RUN = 200


def has_slow_comments(sql: str) -> bool:
    """Whether a long run of operator characters begins comments again and again."""
    if not _IS_SLOW or sql.count("/*") <= _FEW:
        return False
    runs = sql.encode(errors="replace").translate(_BLANKED).split()
    return any(len(run) > _LONGEST_RUN and run.count(b"/*") > 1 for run in runs)
