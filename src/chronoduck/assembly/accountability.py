"""Who used how much, who broke what, and what works now: over restarts of the process."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

from chronoduck.assembly.lost_statements import take_in_lost
from chronoduck.errors import DiskFullError, DuckDBResourceError
from chronoduck.errors.system import reason_of
from chronoduck.monitoring.audit import AuditTrail
from chronoduck.monitoring.restarts import RestartHistory
from chronoduck.resilience.penalty_box import PenaltyBox
from chronoduck.resilience.penalty_records import Penalty
from chronoduck.service.penalties import Penalties
from chronoduck.service.quotas import Quotas
from chronoduck.service.records import Caller
from chronoduck.service.usage_file import UsageFile
from chronoduck.settings import Settings
from chronoduck.supervision.running_record import RunningRecord

__all__ = ["Accountability"]

_LAST_WRITE_SECONDS = 1.0


class Accountability:
    """The penalty box, its file, and the record that a supervisor reads. For one event loop."""

    def __init__(
        self,
        settings: Settings,
        quotas: Quotas,
        audit: AuditTrail,
        restarts: RestartHistory,
        record: RunningRecord | None,
    ) -> None:
        """``record``: where the supervisor reads what works; without one there is no supervisor."""
        box = PenaltyBox(settings.quota.penalty_wait, settings.quota.penalty_max_wait)
        self.penalties = Penalties(box, on_boxed=self._record_boxing)
        self.record = record or RunningRecord()
        self._usage = UsageFile(settings.usage_path, quotas, self.penalties)
        self._audit = audit
        self._restarts = restarts
        self._shows_text = settings.audit.text
        self._is_loaded = False
        self._releasing: asyncio.Task[None] | None = None
        self._unsaved_releases: dict[str, str] = {}
        """Parties whose release the file has not, by what they were called: to release them again is no
        error."""

    async def open(self) -> None:
        """Take in what the processes before knew and lost; the trail is open."""
        if not self._is_loaded:
            self._is_loaded = True
            await asyncio.to_thread(self._usage.load)
            take_in_lost(
                self._restarts.lost,
                self._restarts.last,
                self._audit,
                self.penalties,
                shows_text=self._shows_text,
            )
            await self._usage.save()  # before anybody is served: this process may die at once, too

    def start(self) -> None:
        """Begin to save."""
        self._usage.start()

    async def close(self) -> None:
        """Save for the last time; gives up on a disk that does not answer."""
        await asyncio.wait([asyncio.ensure_future(self._usage.stop())], timeout=_LAST_WRITE_SECONDS)

    async def release(self, name: str, caller: Caller) -> str | None:
        """Forget all that is held against a party, named by its id or as the list calls it.

        The audit trail has it first, then the file; a caller that is cancelled stops neither.
        Returns the party's id, None if nothing is held.

        Raises:
            InvalidRequestError: several are called so.
            DuckDBResourceError: the file has it not yet: a restart would bring the penalty back.
        """
        party = self.penalties.party_called(name)
        if party is None:
            party = self._unsaved_releases.get(name)
        if party is not None:
            self._unsaved_releases |= {name: party, party: party}
            self._releasing = asyncio.ensure_future(self._release(party, caller))
            await asyncio.shield(self._releasing)
        return party

    async def _release(self, party: str, caller: Caller) -> None:
        await self._audit.act_now("penalty_released", caller, party=party)
        self.penalties.release(party)
        failure = await self._usage.save()
        if failure is None:
            self._unsaved_releases.clear()
            return
        error = _not_saved(party, failure)
        facts = {"party": party, "verdict": "failed", "code": error.code}
        await self._audit.act_now("penalty_released", caller, **facts)
        raise error

    def _record_boxing(self, penalty: Penalty) -> None:
        facts: dict[str, Any] = {
            "party": penalty.party,
            "fingerprint": penalty.shape or None,
            "kind": penalty.kind.value,
            "seconds": round(penalty.seconds, 1),
            "faults": penalty.faults,
        }
        self._audit.record("penalty_boxed", None, **facts)


def _not_saved(party: str, failure: OSError) -> DuckDBResourceError:
    is_full = failure.errno in (errno.ENOSPC, errno.EDQUOT)
    return (DiskFullError if is_full else DuckDBResourceError)(
        f"{party[:80]} may run statements again, but that cannot be written beside the database "
        f"({reason_of(failure)}): a restart would bring the penalty back",
        hint="Free space on the volume of the database, or look at the rights there; the service writes "
        "it again every second. Then release it once more, to be sure.",
    )
