"""The doctor's checks of the engine: its version, its known bugs, and the way back to the one before."""

from __future__ import annotations

from collections.abc import Iterator

from chronoduck.cli.findings import Check, Severity
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import find_target
from chronoduck.engine.downgrade import (
    CATALOG_TEXTS,
    OLDER_ENGINE,
    is_readable_by_older,
    newer_entries,
    read_catalog_texts,
)
from chronoduck.engine.inspection import ENGINE_VERSION
from chronoduck.engine.known_bugs import durability_bugs
from chronoduck.engine.paths import check_database_file
from chronoduck.engine.storage_version import check_storage_version
from chronoduck.errors import DatabaseFailedError, DuckDBException
from chronoduck.settings import Settings

__all__ = ["check_downgrade", "check_engine"]

_SHOWN = 10
_PAGE = "`chronoduck help engine-versions`"


def check_engine(settings: Settings) -> Iterator[Check]:
    """Yield what is known of the engine that is installed."""
    bugs = durability_bugs()
    if bugs:
        yield Check(
            "engine",
            Severity.WARNING,
            f"DuckDB {ENGINE_VERSION} has durability bugs: {'; '.join(bugs)}",
            f"pip install --upgrade chronoduck  - brings the engine without them; see {_PAGE}",
        )
    else:
        yield Check(
            "engine",
            Severity.OK,
            f"DuckDB {ENGINE_VERSION}; new files are stored for {settings.storage_version} and later",
        )
    try:
        check_storage_version(settings.storage_version)
    except DuckDBException as error:
        yield Check("storage-version", Severity.ERROR, error.detail, error.hint)


def check_downgrade(settings: Settings) -> Iterator[Check]:
    """Yield what keeps the database from being opened by the engine before."""
    path = settings.database_path
    if not path.exists():
        return
    try:
        check_database_file(path)
        if not is_readable_by_older(path):
            yield Check(
                "downgrade",
                Severity.WARNING,
                f"DuckDB {OLDER_ENGINE} cannot open {path}: it has a newer storage version",
                "DUCKDB_STORAGE_VERSION=v1.5.0, then `chronoduck compact`, to be able to go back",
            )
            return
        found = newer_entries(_catalog_texts(settings))
    except DatabaseFailedError as error:  # its hint is for who uses a service
        yield Check(
            "downgrade",
            Severity.WARNING,
            f"not checked: {error.detail}",
            "`chronoduck verify` reads all of the database and says what is damaged",
        )
        return
    except DuckDBException as error:
        yield Check("downgrade", Severity.WARNING, f"not checked: {error.detail}", error.hint)
        return
    if not found:
        yield Check(
            "downgrade", Severity.OK, f"DuckDB {OLDER_ENGINE} understands all that is in it"
        )
        return
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    yield Check(
        "downgrade",
        Severity.WARNING,
        f"DuckDB {OLDER_ENGINE} does not understand {', '.join(found[:_SHOWN])}{more}",
        f"Drop or change them before you go back to it; see {_PAGE}",
    )


def _catalog_texts(settings: Settings) -> list[tuple[str, str, str]]:
    service = find_target(settings.database_path, None, None).service
    if service is None:
        return read_catalog_texts(settings.database_path)
    return _ask(service)


def _ask(service: RemoteService) -> list[tuple[str, str, str]]:
    answer = service.call("POST", "/query", json={"query": CATALOG_TEXTS, "max_rows": 1_000_000})
    return [(str(kind), str(name), str(text)) for kind, name, text in answer["data"]]
