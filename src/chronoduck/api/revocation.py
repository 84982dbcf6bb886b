"""A key that was revoked does nothing more: what it began ends, too."""

from __future__ import annotations

import asyncio

from chronoduck.assembly import DuckDBService
from chronoduck.auth.key_ring import KeyRing
from chronoduck.errors import DuckDBException, NotFoundError
from chronoduck.logs import get_logger
from chronoduck.principals import LOCAL

__all__ = ["RevocationWatch", "is_revoked"]

_LOOK_SECONDS = 1.0
_KEY = "key:"


def is_revoked(owner: str, keys: KeyRing) -> bool:
    """Whether it is the id of a key that there is no more, as far as ``keys`` follows the file."""
    return owner.startswith(_KEY) and not keys.knows(owner.removeprefix(_KEY))


class RevocationWatch:
    """Looks once a second who of those for whom something runs has lost its key.

    The key file may be changed by a command on this machine: no request tells of that. One who is
    missing at one look alone is left in peace, the file may just be written by hand.
    """

    def __init__(self, service: DuckDBService, keys: KeyRing) -> None:
        self._service = service
        self._keys = keys
        self._missing: set[str] = set()
        self._log = get_logger("auth")

    async def run(self) -> None:
        """Look until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
            except DuckDBException:  # the service is being closed
                continue
            except OSError as error:  # one failed look is no reason never to look again
                self._log.error("revocation_look_failed", error=str(error))

    async def look(self) -> None:
        """End what revoked keys have begun, if they were missing at the last look, too."""
        parts = await self._service.parts()
        await self._keys.follow()
        jobs = [job for job in parts.jobs.list() if not job.has_ended and job.owner]
        running = parts.runner.list_running()
        owners = {job.owner for job in jobs} | {each.caller.principal.id for each in running}
        missing = {owner for owner in owners if is_revoked(owner, self._keys)}
        ended, self._missing = missing & self._missing, missing
        for job in jobs:
            if job.owner in ended:
                await parts.jobs.cancel(job.id)
                self._record(job.owner, job=job.id, kind=job.kind)
        for each in running:
            if each.caller.principal.id in ended:
                try:
                    parts.runner.cancel(each.id)
                except NotFoundError:
                    continue  # it was the job's, or has just ended
                self._record(each.caller.principal.id, kind=each.kind, query_hash=each.query_hash)

    def _record(self, owner: str, **facts: str) -> None:
        self._log.info("revoked_work_ended", owner=owner, **facts)
        self._service.audit.record("revoked_work_ended", LOCAL, owner=owner, **facts)
