"""The variable by which DuckDB gives memory back."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

from chronoduck.supervision.allocator import allocator_environment

READ = """
import ctypes, _duckdb
library = ctypes.CDLL(_duckdb.__file__)
value, size = ctypes.c_bool(), ctypes.c_size_t(1)
asked = library.duckdb_je_mallctl(
    b"opt.retain", ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
print(asked, value.value)
"""


def test_the_allocator_of_duckdb_reads_it() -> None:
    library = ctypes.CDLL(__import__("_duckdb").__file__)
    if not hasattr(library, "duckdb_je_mallctl"):
        return  # DuckDB uses the system's allocator on this machine
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env={**os.environ, **allocator_environment({})},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0", "False"]


def test_what_the_operator_set_stays() -> None:
    own = {"DUCKDB_JE_MALLOC_CONF": "retain:true", "MALLOC_ARENA_MAX": "2"}
    assert allocator_environment(own) == own
