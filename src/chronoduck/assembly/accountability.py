"""Who used how much, who broke what, and what works now: over restarts of the process."""

from __future__ import annotations

import asyncio
from typing import Any

from chronoduck.assembly.lost_statements import take_in_lost
from chronoduck.monitoring.audit import AuditTrail
from chronoduck.monitoring.restarts import RestartHistory
from chronoduck.resilience.penalty_box import PenaltyBox
from chronoduck.resilience.penalty_records import Penalty
from chronoduck.service.penalties import Penalties
from chronoduck.service.quotas import Quotas
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

    async def release(self, party: str) -> bool:
        """Forget all that is held against a party, in the file, too; whether there was anything."""
        was_held = self.penalties.release(party)
        await self._usage.save()
        return was_held

    def _record_boxing(self, penalty: Penalty) -> None:
        facts: dict[str, Any] = {
            "party": penalty.party,
            "fingerprint": penalty.shape or None,
            "kind": penalty.kind.value,
            "seconds": round(penalty.seconds, 1),
            "faults": penalty.faults,
        }
        self._audit.record("penalty_boxed", None, **facts)
