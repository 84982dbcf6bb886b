"""How statements are measured: the settings of DuckDB's profiler, in the words of each version."""

from __future__ import annotations

import duckdb

__all__ = ["MEASURE_OPERATORS", "METRIC_SETTINGS", "peak_memory_bytes"]

# One metric costs nothing measurable and gives each statement's peak memory; the full set costs
# 60 µs a statement on DuckDB 1.5. Since 2.0 metrics are chosen by another setting.
_HAS_TRACKED_METRICS = int(duckdb.__version__.split(".")[0]) >= 2

METRIC_SETTINGS: dict[str, str] = {
    "enable_profiling": "'no_output'",
    "profiling_coverage": "'ALL'",
} | (
    {"tracked_metrics": "['system.peak_buffer_memory']"}
    if _HAS_TRACKED_METRICS
    else {
        "custom_profiling_settings": '\'{"SYSTEM_PEAK_BUFFER_MEMORY": "true", "LATENCY": "true"}\''
    }
)
"""Settings by which a connection measures each statement, and their values as SQL."""

MEASURE_OPERATORS = (
    "SET tracked_metrics = ['*']"
    if _HAS_TRACKED_METRICS
    else (
        "SET custom_profiling_settings = "
        '\'{"OPERATOR_NAME": "true", "OPERATOR_TYPE": "true", "OPERATOR_TIMING": "true", '
        '"OPERATOR_CARDINALITY": "true", "EXTRA_INFO": "true", "CPU_TIME": "true", '
        '"LATENCY": "true", "SYSTEM_PEAK_BUFFER_MEMORY": "true"}\''
    )
)
"""Has a connection measure every operator, for EXPLAIN ANALYZE; it must not be reused afterwards."""

_PEAK_MEMORY = ('"peak_buffer_memory":', '"system_peak_buffer_memory":')
"""What stands before the figure. Texts of users cannot look like this: JSON has their quotes escaped."""

_LONGEST_FIGURE = 40


def peak_memory_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the buffer manager's peak while the last statement ran; 0 when it was not measured.

    The peak is the instance's: statements that ran beside this one count in it too.
    """
    try:
        profile = connection.get_profiling_information("json")
    except duckdb.Error:
        return 0  # nothing was profiled, e.g. for a PRAGMA
    return _figure_behind(profile)


def _figure_behind(profile: str) -> int:
    for name in _PEAK_MEMORY:
        _, _, rest = profile.partition(name)
        rest = rest[:_LONGEST_FIGURE].lstrip(" ")
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        if digits:
            return int(digits)
    return 0
