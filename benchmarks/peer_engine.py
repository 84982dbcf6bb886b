"""DuckDB's own extensions to compare with: they need DuckDB 1.5.5, which has a directory of its own.

``make bench`` installs ``requirements/bench-peers.txt`` there. Whatever needs an extension runs in a
process that finds that engine first; the service and the in-process figures have the package's engine.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["PEER_FILE_VERSION", "missing_reason", "peer_environment"]

_PACKAGES = Path(__file__).parents[1] / ".venv-bench-peers"
PEER_FILE_VERSION = {"storage_compatibility_version": "v1.5.0"}
"""What a database is made with so that both engines open it."""


def missing_reason(extension: str) -> str:
    """Return why an extension cannot be run, empty when it can."""
    if (_PACKAGES / f"duckdb_extension_{extension}").is_dir():
        return ""
    return (
        f"skipped: duckdb-extension-{extension} is not in {_PACKAGES.name}; it is built for DuckDB 1.5.5 "
        "alone, and `make bench` installs it there"
    )


def peer_environment() -> dict[str, str]:
    """Return the environment of a process that imports the peers' engine."""
    paths = [str(_PACKAGES), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
