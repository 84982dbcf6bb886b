"""What the replica holds and the local file lacks, for ``chronoduck replication adopt``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import ReplicaDamagedError, ReplicaMismatchError
from chronoduck.replication.opening import open_archive
from chronoduck.replication.restore_plan import PointName, time_text
from chronoduck.replication.shipper import Shipper
from chronoduck.replication.startup import read_newest, resume
from chronoduck.settings import Settings
from chronoduck.storage import BlobNotFoundError
from chronoduck.units import format_count

__all__ = ["Adoption", "foresee_adoption"]

_THREADS = 8


@dataclass(frozen=True)
class Adoption:
    """What an operator should know before the local file is taken for right."""

    lacking: str = ""
    """Why a start would be refused; empty when file and replica agree."""
    newest: str = ""
    """The name of the replica's newest point, which stays; empty when there is none."""
    newest_facts: str = ""
    """Its time and transactions."""


def foresee_adoption(settings: Settings) -> Adoption:
    """Return what the local file lacks of what the replica holds; nothing is written.

    Raises:
        StoreError: the replica cannot be asked.
    """
    archive = open_archive(settings)
    listing = archive.listing()
    if not listing.generations:
        return Adoption()
    newest = listing.generations[-1]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="adopt") as executor:
        try:
            base, _, last = read_newest(archive, newest, executor)
        except (ReplicaDamagedError, BlobNotFoundError) as error:
            return Adoption(error.detail)
        commits = base.commits + (last.commits if last else 0)
        point = last or base
        return Adoption(
            _lacking(archive, settings, executor),
            str(PointName(newest.name, last.end if last else 0)),
            f"{time_text(point.time_us)}, {format_count(commits, 'transaction')}",
        )


def _lacking(archive: Archive, settings: Settings, executor: ThreadPoolExecutor) -> str:
    shipper = Shipper(settings.database_path, archive, executor, now_us=lambda: 0)
    try:
        resume(
            shipper,
            archive,
            settings.database_path,
            executor,
            replica_id=archive.identity() or "",
        )
    except (ReplicaMismatchError, ReplicaDamagedError) as error:
        return error.detail
    finally:
        shipper.close()
    return ""
