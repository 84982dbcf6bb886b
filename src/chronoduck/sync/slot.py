"""What a cdc sync keeps in PostgreSQL: a publication and a replication slot, and whether they hold.

A slot keeps the log (WAL) until it is told that it may go; whoever forgets one fills the source's
disk. So it is made only once its name is kept here, bounded by ``max_lag``, and never left silently.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

from chronoduck.sync.declaration import SyncDeclaration
from chronoduck.sync.failures import SyncSourceError
from chronoduck.sync.pgoutput import read_lsn
from chronoduck.sync.publication import find_ground, prepare_publication
from chronoduck.sync.source import PostgresConnection, literal, quoted
from chronoduck.units import format_bytes

__all__ = ["Capture", "SourceLog"]

Show = Callable[[str, int, int], None]
_IN_USE, _MISSING, _FORBIDDEN, _TOO_MANY = "55006", "42704", "42501", "53400"
_TIMED_OUT = "57014"
_OLDEST_SERVER = 130_000
_FREE_SECONDS = 30.0
"""How long to wait for a killed reader's backend, which holds the slot until it notices."""
_FLUSH_SECONDS = 30.0
_SETTLE_SECONDS = 1.0
_SYNCHRONOUS_SECONDS = 60.0
_FACTS = """
SELECT coalesce(plugin::text, ''), coalesce(confirmed_flush_lsn::text, ''), coalesce(wal_status, ''),
       coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn), 0)::int8
FROM pg_replication_slots WHERE slot_name = {0}
"""
_LAG = """
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::int8 FROM pg_replication_slots
WHERE slot_name = {0} AND restart_lsn IS NOT NULL
"""
_PLACES = """
SELECT pg_current_wal_insert_lsn()::text, current_setting('wal_block_size')::int8,
       pg_size_bytes(current_setting('wal_segment_size'))
"""
_WAITING_COMMITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_OTHERS = """
SELECT slot_name::text FROM pg_replication_slots
WHERE database = current_database() AND starts_with(slot_name, {0}) AND slot_name <> {1} ORDER BY 1
"""


@dataclass(frozen=True)
class Capture:
    """What a sync has in a source, kept in its state; ``ground`` and ``shape`` are as it was left."""

    source: str
    slot: str
    publication: str
    old_slots: tuple[str, ...] = ()
    """Slots that are to be dropped: their names were kept before they were made."""
    ground: str = ""
    """Of publication, table and server: another one means that changes may be missing."""
    shape: str = ""
    """Of columns and files of the table: another one means changes that no log tells of."""
    lag_bytes: int | None = None
    """Log that PostgreSQL kept for the slot when it was last looked at."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """Return it from ``as_dict``; of another version, too."""
        kept = {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}
        return cls(**{**kept, "old_slots": tuple(kept.get("old_slots", ()))})


class SourceLog:
    """The log of a source as one sync reads it. Blocks; for one thread."""

    def __init__(self, connection: PostgresConnection, capture: Capture) -> None:
        self._connection = connection
        self._capture = capture
        self._slot = literal(capture.slot)

    def begin(self, declared: SyncDeclaration, show: Show) -> str:
        """Make publication and slot, and return the ground.

        Every transaction that a snapshot taken afterwards does not show is in the slot.

        Raises:
            SyncSourceError: the server or the user may not; says which statement would allow it.
        """
        self._check_server()
        for old in self._capture.old_slots:
            self.drop(old)
        prepare_publication(self._connection, declared, self._capture.publication)
        show("waiting for transactions that are under way", 0, 0)
        try:
            self._connection.rows(
                f"SELECT lsn::text FROM pg_create_logical_replication_slot({self._slot}, 'pgoutput')"
            )
        except SyncSourceError as error:
            raise _explained(error) from None
        self._let_commits_be_seen()
        return find_ground(self._connection, declared, self._capture.publication)

    def _check_server(self) -> None:
        version, level, follows = self._connection.rows(
            "SELECT current_setting('server_version_num')::int4, current_setting('wal_level'), "
            "pg_is_in_recovery()"
        )[0]
        if version < _OLDEST_SERVER:
            raise SyncSourceError(
                'mode = "cdc" needs PostgreSQL 13 or newer', hint='Use mode = "incremental".'
            )
        if follows:
            raise SyncSourceError(
                'the source is a standby, which cannot make the slot of mode = "cdc"',
                hint="Name the primary in the connection string.",
            )
        if level != "logical":
            raise SyncSourceError(
                f'mode = "cdc" needs wal_level = logical, and the source has {level}',
                hint="ALTER SYSTEM SET wal_level = 'logical', and restart PostgreSQL "
                "(managed services have a setting of their own, such as rds.logical_replication).",
            )

    def _let_commits_be_seen(self) -> None:
        """Wait for commits that are in the log before the slot's begin and not yet visible.

        Between the two PostgreSQL flushes its log, a moment, or waits for synchronous standbys.
        """
        end = time.monotonic() + _SYNCHRONOUS_SECONDS
        time.sleep(_SETTLE_SECONDS)
        while self._connection.rows(_WAITING_COMMITS)[0][0]:
            if time.monotonic() > end:
                raise SyncSourceError(
                    "commits of the source wait for its synchronous standbys",
                    hint="The sync begins once they answer; see pg_stat_replication.",
                )
            time.sleep(_SETTLE_SECONDS)

    def find_gap(self, declared: SyncDeclaration, lsn: str, max_lag: int) -> str | None:
        """Return why the slot cannot be followed from a place on, None when it can.

        What is before the place is given up: the rows of it are committed here.
        """
        self._check_server()
        facts = self._connection.rows(_FACTS.format(self._slot))
        if not facts:
            return f"the replication slot {self._capture.slot} is gone"
        plugin, confirmed, status, lag = facts[0]
        if status == "lost" or not confirmed:
            return f"PostgreSQL gave up the slot {self._capture.slot}: it was too far behind"
        if plugin != "pgoutput":
            return f"the slot {self._capture.slot} is of another's: its plugin is {plugin}"
        if lag > max_lag:
            return (
                f"PostgreSQL kept {format_bytes(lag)} for it, more than max_lag "
                f"({format_bytes(max_lag)})"
            )
        if read_lsn(confirmed) > read_lsn(lsn):
            return (
                f"the slot is at {confirmed} and the rows here at {lsn}: this database was restored "
                "from a backup, or another service uses the slot"
            )
        now = self._connection.rows("SELECT pg_current_wal_insert_lsn()::text")[0][0]
        if read_lsn(now) < read_lsn(lsn):
            return f"the source was set back: it is at {now}, and the rows here at {lsn}"
        ground = find_ground(self._connection, declared, self._capture.publication)
        if ground != self._capture.ground:
            return "publication, table or server of the source are others than they were"
        self.advance(lsn)
        return None

    def end_of_log(self) -> str:
        """Return where the log ends now, once all before it is on the disk and can be read."""
        text, block, segment = self._connection.rows(_PLACES)[0]
        lsn = read_lsn(text)
        # At the beginning of a page PostgreSQL tells the place behind its header, which is not
        # written before there is something to write behind it.
        if lsn % segment == 40:
            lsn -= 40
        elif lsn % segment > block and lsn % block == 24:
            lsn -= 24
        end = time.monotonic() + _FLUSH_SECONDS
        while True:
            flushed = self._connection.rows("SELECT pg_current_wal_flush_lsn()::text")[0][0]
            if read_lsn(flushed) >= lsn:
                return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
            if time.monotonic() > end:
                raise SyncSourceError(
                    f"the source did not write its log to the disk in {_FLUSH_SECONDS:g} s",
                    hint="Is its disk full?",
                )
            time.sleep(0.05)

    def changes(self, upto: str) -> str:
        """Return the query of what is in the slot up to a place; it gives nothing up."""
        return (
            f"SELECT data FROM pg_logical_slot_peek_binary_changes({self._slot}, {literal(upto)}, "
            f"NULL, 'proto_version', '1', 'publication_names', "
            f"{literal(quoted(self._capture.publication))})"
        )

    def wait_until_free(self, show: Show) -> None:
        """Wait until nobody reads from the slot."""
        end = time.monotonic() + _FREE_SECONDS
        query = (
            f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = {self._slot} AND active"
        )
        while held := self._connection.rows(query):
            if time.monotonic() > end:
                raise SyncSourceError(
                    f"the slot {self._capture.slot} is held by PostgreSQL's process {held[0][0]}",
                    hint="Does another service use it? pg_stat_activity tells of the process.",
                )
            show("waiting for the slot", 0, 0)
            time.sleep(0.2)

    def advance(self, lsn: str) -> None:
        """Let PostgreSQL give up the log before a place; not further than it is now."""
        self.wait_until_free(lambda *_: None)
        self._connection.rows(
            f"SELECT pg_replication_slot_advance(slot_name, {literal(lsn)})::text "
            f"FROM pg_replication_slots WHERE slot_name = {self._slot} "
            f"AND confirmed_flush_lsn < {literal(lsn)}"
        )

    def lag_bytes(self) -> int | None:
        """Return how much of the log PostgreSQL keeps for the slot; None: there is no slot."""
        found = self._connection.rows(_LAG.format(self._slot))
        return int(found[0][0]) if found else None

    def others(self, prefix: str) -> list[str]:
        """Return slots of that prefix in this database that are not this one."""
        return [
            row[0] for row in self._connection.rows(_OTHERS.format(literal(prefix), self._slot))
        ]

    def drop(self, slot: str) -> bool:
        """Drop a slot; return whether it was there."""
        end = time.monotonic() + _FREE_SECONDS
        while True:
            try:
                self._connection.rows(f"SELECT pg_drop_replication_slot({literal(slot)})::text")
            except SyncSourceError as error:
                if error.sqlstate == _MISSING:
                    return False
                if error.sqlstate != _IN_USE or time.monotonic() > end:
                    raise _explained(error) from None
                time.sleep(0.2)
            else:
                return True

    def drop_publication(self) -> bool:
        """Drop the publication if it is the user's; return whether it was."""
        with suppress(SyncSourceError):
            self._connection.run(f"DROP PUBLICATION {quoted(self._capture.publication)}")
            return True
        return False


def _explained(error: SyncSourceError) -> SyncSourceError:
    hints = {
        _FORBIDDEN: "ALTER ROLE ... REPLICATION for the user of the connection string (of a managed "
        "service: GRANT rds_replication or its like).",
        _TOO_MANY: "Raise max_replication_slots of PostgreSQL, or drop slots that nobody needs.",
        _TIMED_OUT: "A new slot waits for the transactions that are under way: see the oldest in "
        "pg_stat_activity, or raise the source's statement_timeout.",
        _IN_USE: "Something reads from the slot: pg_replication_slots has its process.",
    }
    told = SyncSourceError(error.detail, hint=hints.get(error.sqlstate, error.hint))
    told.sqlstate = error.sqlstate
    return told
