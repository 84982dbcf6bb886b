"""How old idempotency keys are: counted in time that this service ran.

The column ``created_at`` holds the service's own time, not the machine's: it starts at the clock's
time in a new database and then only advances while a process runs. A row beside the keys keeps it,
so that a backup or a replica carries keys and time together. A clock that is set, in whichever
direction, forgets no key; nor does a service that was stopped for a week.
"""

from __future__ import annotations

import threading
import time

from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.resilience.service_time import ServiceTime
from chronoduck.transfer.sql import SqlSession

__all__ = ["KEPT_SECONDS", "KEYS_TABLE", "KeyAges"]

KEPT_SECONDS = 24 * 3600
"""How long an answer is kept."""
KEYS_TABLE = f"{OWN_SCHEMA}.idempotency"
_TIME_TABLE = f"{OWN_SCHEMA}.service_time"
_CREDIBLE_US = 3600 * 1_000_000
"""The row is at most this much behind the newest key: it is saved each ten minutes."""
_CREATE = f"CREATE TABLE IF NOT EXISTS {_TIME_TABLE} (us BIGINT NOT NULL)"
_READ = f"SELECT max(us) FROM {_TIME_TABLE}"
_SAVE = (f"DELETE FROM {_TIME_TABLE}", f"INSERT INTO {_TIME_TABLE} VALUES ($us)")
_NEWEST = f"SELECT max(epoch_us(created_at)) FROM {KEYS_TABLE} WHERE epoch_us(created_at) <= $until"
_STAMPED_LATER = f"SELECT count(*) FROM {KEYS_TABLE} WHERE epoch_us(created_at) > $until"
# In their order: they have their whole day before them.
_STAMP_ANEW = f"""
UPDATE {KEYS_TABLE} AS keys SET created_at = make_timestamp($now + ordered.place)
FROM (
    SELECT id, row_number() OVER (ORDER BY created_at) AS place
    FROM {KEYS_TABLE} WHERE epoch_us(created_at) > $until
) AS ordered
WHERE keys.id = ordered.id
"""
_REMOVE_OLD = f"DELETE FROM {KEYS_TABLE} WHERE epoch_us(created_at) <= $until"
_STAMP_AT = f"SELECT epoch_us(created_at) FROM {KEYS_TABLE} ORDER BY 1 DESC LIMIT 1 OFFSET $kept"


class KeyAges:
    """Stamps keys and removes old ones. ``stamps`` is safe from any thread, once it has resumed."""

    def __init__(self, service_time: ServiceTime) -> None:
        self._time = service_time
        self._lock = threading.Lock()
        self._last_us = 0

    def read(self, session: SqlSession) -> int:
        """Return the time that earlier processes reached, for ``resume``; the keys' table must exist.

        Keys of a version that stamped by the machine's clock start their day again.
        """
        session.execute(_CREATE)
        known = session.execute(_READ)[0][0]
        if known is None:
            now, until = int(time.time() * 1_000_000), -1
        else:
            now = int(str(known))
            until = now + _CREDIBLE_US
            newest = session.execute(_NEWEST, {"until": until})[0][0]
            now = now if newest is None else max(now, int(str(newest)) + 1)  # no two alike
        later = int(str(session.execute(_STAMPED_LATER, {"until": until})[0][0]))
        if later:
            session.execute(_STAMP_ANEW, {"until": until, "now": now})
            now += later + 1
        self._write(session, now)
        return now

    def resume(self, reached: int) -> None:
        """Continue there."""
        self._time.advance(reached)

    def stamps(self, count: int) -> range:
        """Return stamps for new keys, each later than all before."""
        with self._lock:
            first = max(self._time.now_us, self._last_us + 1)
            self._last_us = first + count - 1
        return range(first, first + count)

    def save(self, session: SqlSession) -> None:
        """Note the time for the next process."""
        self._write(session, self._time.now_us)

    def _write(self, session: SqlSession, us: int) -> None:
        session.execute(_SAVE[0])
        session.execute(_SAVE[1], {"us": us})

    def remove_old(self, session: SqlSession, limit: int) -> tuple[int, bool]:
        """Remove old keys, and the oldest beyond the limit; note the time.

        Returns how many were removed, and whether some of them were younger than a day.
        """
        until = self._time.now_us - KEPT_SECONDS * 1_000_000
        oldest = session.execute(_STAMP_AT, {"kept": limit})
        early = bool(oldest) and int(str(oldest[0][0])) > until
        if oldest:
            until = max(until, int(str(oldest[0][0])))
        removed = int(str(session.execute(_REMOVE_OLD, {"until": until})[0][0]))
        self.save(session)
        return removed, early
