"""Extensions by name: built in, loaded from a wheel of signed binaries, or a reason why not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb

from chronoduck.settings import Settings

__all__ = ["extension_wheel", "load_extensions"]

_BUILT_IN = ("icu", "json", "parquet")


def extension_wheel(name: str) -> Path | None:
    """Return the extension file that the wheel ``duckdb-extension-<name>`` brings for this DuckDB."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    for root in (spec.submodule_search_locations or []) if spec else []:
        file = Path(root) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if file.is_file():
            return file
    return None


def load_extensions(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, str]:
    """Load what the settings ask for; return name -> ``loaded``, ``off: why``, ``unavailable: why``.

    A missing extension never keeps the service down: health tells it, statements that need it fail.
    """
    loaded = {
        str(name)
        for (name,) in connection.execute(
            "SELECT extension_name FROM duckdb_extensions() WHERE loaded"
        ).fetchall()
    }
    states = {
        name: "loaded" if name in loaded else "unavailable: not built into this DuckDB"
        for name in _BUILT_IN
    }
    if settings.enable_s3:
        states["httpfs"] = _load(connection, "httpfs", settings.allow_extension_download)
    else:
        states["httpfs"] = "off: DUCKDB_ENABLE_S3 is false"
    return states


def _load(connection: duckdb.DuckDBPyConnection, name: str, download: bool) -> str:
    file = extension_wheel(name)
    try:
        if file is not None:
            connection.load_extension(str(file))
        elif download:
            connection.install_extension(name)
            connection.load_extension(name)
        else:
            return (
                f"off: {name} is not installed and DUCKDB_ALLOW_EXTENSION_DOWNLOAD is false; objects "
                "that statements read are fetched whole before"
            )
    except duckdb.Error as error:
        return f"unavailable: {type(error).__name__} while it was loaded"
    return "loaded"
