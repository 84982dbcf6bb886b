"""The doctor's check of the replica: it is tried, not only looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from chronoduck.cli.findings import Check, Severity
from chronoduck.errors import DuckDBException
from chronoduck.errors.system import reason_of
from chronoduck.permissions import directory_advice, new_directory_advice
from chronoduck.replication.opening import open_archive
from chronoduck.replication.state_keeper import StateKeeper
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

__all__ = ["check_replica"]


def check_replica(settings: Settings) -> Iterator[Check]:
    """Yield whether there is a replica, can be read and written, and lies elsewhere than the database."""
    url = settings.replica.url
    if url is None:
        yield Check(
            "replica",
            Severity.WARNING,
            "there is no replica: a lost disk loses everything since the last backup",
            "Set DUCKDB_REPLICA_URL to a directory on another disk, or to s3://bucket/prefix",
        )
        return
    try:
        archive = open_archive(settings)
        identity = StateKeeper(settings.database_path, archive.url).find(archive)
        listing = archive.listing()
    except DuckDBException as error:
        yield Check("replica", Severity.ERROR, error.operator_detail, error.hint)
        return
    place = None if "://" in url else Path(url).expanduser().absolute()
    if place is not None and (reason := _unwritable(place)):
        yield Check(
            "replica",
            Severity.ERROR,
            f"{url} cannot be written: {reason}",
            directory_advice(place, 0o750, setting="DUCKDB_REPLICA_URL")
            if place.is_dir()
            else new_directory_advice(place, 0o750, setting="DUCKDB_REPLICA_URL"),
        )
        return
    if identity is None:
        yield Check(
            "replica",
            Severity.OK,
            f"{url} is empty: a start that is not refused begins it",
        )
    else:
        yield Check(
            "replica",
            Severity.OK,
            f"{url}: {len(listing.generations)} generations, {format_bytes(listing.size)}",
        )
    if place is None:
        return
    if place.is_relative_to(settings.database_path.parent):
        yield Check(
            "replica-disk",
            Severity.WARNING,
            f"{url} is inside the directory of the database: what happens to one happens to both",
            "Set DUCKDB_REPLICA_URL to a directory on another disk, or to s3://bucket/prefix",
        )
    elif _is_same_volume(place, settings.database_path):
        yield Check(
            "replica-disk",
            Severity.WARNING,
            f"{url} is on the volume of the database: a lost disk loses both",
            "Set DUCKDB_REPLICA_URL to a directory on another disk, or to s3://bucket/prefix",
        )


def _is_same_volume(one: Path, other: Path) -> bool:
    places = [
        next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        for path in (one, other)
    ]
    return places[0].stat().st_dev == places[1].stat().st_dev


def _unwritable(directory: Path) -> str | None:
    """Return why nothing can be made in the directory, or in the one it would be made in; None if it can.

    Permissions do not tell it of every volume: an empty directory is made and removed.
    """
    place = next(p for p in (directory, *directory.parents) if p.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".chronoduck-", dir=place):
            return None
    except OSError as error:
        return f"{place}: {reason_of(error, shows_text=True)}"
