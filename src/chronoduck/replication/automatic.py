"""``DUCKDB_AUTO_RECOVER``: when a start may replace the database by what the replica holds."""

from __future__ import annotations

from chronoduck.engine.disk_format import HEADER_BYTES, newest_iteration
from chronoduck.engine.offline import Transactions, UnopenableError
from chronoduck.errors import DuckDBConnectionError, DuckDBException
from chronoduck.logs import get_logger
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import LocalTail, restore_database
from chronoduck.replication.restore_plan import RestorePlan, time_text
from chronoduck.settings import Settings
from chronoduck.units import format_count

__all__ = [
    "RecoveryRefusedError",
    "is_noted_database",
    "recover_automatically",
    "replica_holds_database",
]

_log = get_logger("service")


class RecoveryRefusedError(DuckDBConnectionError):
    """The database cannot be opened, and the replica may be older: a person has to decide."""

    code = "recovery_refused"
    title = "Automatic recovery would lose transactions"
    exit_code = 74
    retryable = False


def replica_holds_database(settings: Settings) -> bool:
    """Whether there is anything to restore.

    Raises:
        StoreError: the store cannot be asked.
    """
    return bool(open_archive(settings).listing().generations)


def is_noted_database(settings: Settings) -> bool:
    """Whether the note beside the file says that it was the database of this very replica.

    Raises:
        StoreError: the store cannot be asked.
    """
    note = LocalState.read(settings.database_path)
    if note is None or not note.replica_id:
        return False
    archive = open_archive(settings)
    return archive.identity() == note.replica_id and bool(archive.listing().generations)


def recover_automatically(settings: Settings, damage: DuckDBException | None) -> None:
    """Restore the newest point with the local WAL's tail; the old files are set aside.

    ``damage``: why no way opens the database; None when it is missing.

    Raises:
        RecoveryRefusedError: the local files hold transactions that the restored database would not.
        UnopenableError: the replica's newest point cannot be opened either.
        DuckDBException: it cannot be restored. Whatever is raised, the local files are as they were.
    """
    database = settings.database_path
    _log.error(
        "database_damaged",
        reason=f"{database} is missing" if damage is None else damage.operator_detail,
        action="restore from the replica",
    )

    def accept(plan: RestorePlan, local: LocalTail) -> None:
        refusal = _refusal(settings, plan, local, damage)
        if refusal is not None:
            raise refusal

    report = restore_database(
        open_archive(settings),
        database,
        replace="corrupt",
        graft=True,
        accept=accept,
        newer_engine=settings.newer_engine,
        seconds=settings.deadline.opening,
    )
    _log.warning(
        "database_recovered",
        until=report.time,
        transactions=report.transactions,
        lost_transactions=report.local.lost,
        way=report.opening.way,
        seconds=round(report.seconds, 3),
        set_aside=[str(path) for path in report.set_aside],
    )


def _refusal(
    settings: Settings, plan: RestorePlan, local: LocalTail, damage: DuckDBException | None
) -> RecoveryRefusedError | None:
    """Return why the restored database may be older than the local files, None when it is not."""
    waiting = Transactions.of(settings.database_path)
    ours, theirs = _checkpoints(settings, plan)
    has_more_checkpoints = ours is not None and theirs is not None and ours > theirs
    is_unknown = local.lost is None and waiting.count > 0
    if not local.lost and not is_unknown and not has_more_checkpoints:
        return None
    restorable = damage.kept if isinstance(damage, UnopenableError) else None
    parts = [f"the local WAL holds {format_count(waiting.count, 'transaction')}"]
    if restorable is not None:
        parts.append(f"the file opens with the first {restorable:,} of them")
    if local.lost:
        parts.append(f"at least {local.lost:,} would not be in the restored database")
    elif is_unknown:
        parts.append("they do not follow what the replica holds")
    if has_more_checkpoints:
        parts.append(
            f"the file has seen {format_count(ours or 0, 'checkpoint')}, the replica {theirs:,}"
        )
    return RecoveryRefusedError(
        f"{settings.database_path} cannot be opened, and is not replaced by the replica in "
        f"{settings.replica.url}, which holds "
        f"{format_count(plan.point.commits, 'transaction')} up to {time_text(plan.point.time_us)}: "
        f"{', '.join(parts)}",
        hint="Look at the replica's state first: chronoduck restore --output OTHER.db. `chronoduck "
        "recover` puts it in place, keeps the old files beside it, and counts what is lost."
        + (
            " Or start once with DUCKDB_QUARANTINE_WAL=true, which keeps the local file with those "
            f"{format_count(restorable, 'transaction')}."
            if restorable is not None
            else ""
        ),
    )


def _checkpoints(settings: Settings, plan: RestorePlan) -> tuple[int | None, int | None]:
    """Return how many checkpoints the local file and the replica's newest base have seen."""
    try:
        with settings.database_path.open("rb") as file:
            local = file.read(HEADER_BYTES)
    except OSError:
        return None, None
    return newest_iteration(local), newest_iteration(plan.headers)
