"""How much each principal has written into the trail within an hour."""

from __future__ import annotations

from chronoduck.monitoring.audit.event import Principal
from chronoduck.resilience.spending import SpendingWindow

__all__ = ["AUDIT_WINDOW_SECONDS", "AuditBudget"]

AUDIT_WINDOW_SECONDS = 3600.0
_STEP = 10.0
_TELL_SECONDS = 60.0
_REMEMBERED = 10_000


class _Account:
    __slots__ = ("refused", "told_at", "window")

    def __init__(self) -> None:
        self.window = SpendingWindow(AUDIT_WINDOW_SECONDS, _STEP)
        self.refused = 0
        self.told_at = float("-inf")


class AuditBudget:
    """Counts bytes by principal; those of admins and of the service count for nobody. Times in seconds.

    A line is always written: it is the next request that is refused.
    """

    def __init__(self, hourly_bytes: int) -> None:
        self.hourly_bytes = hourly_bytes
        self.total_refused = 0
        self._accounts: dict[str, _Account] = {}

    def spend(self, principal: Principal | None, count: int, now: float) -> None:
        """Count a line that is to be written."""
        if principal is None or principal.role == "admin":
            return
        account = self._accounts.get(principal.id)
        if account is None:
            self._forget_idle(now)
            account = self._accounts[principal.id] = _Account()
        account.window.spend(now, count)

    def seconds_until_free(self, principal: Principal, now: float) -> float:
        """Return how long the principal has to wait; 0: it may go on."""
        account = self._accounts.get(principal.id)
        return (
            0.0 if account is None else account.window.seconds_until_below(now, self.hourly_bytes)
        )

    def used_by(self, principal_id: str, now: float) -> tuple[float, float]:
        """Return the bytes of the last hour, and when some of them no longer count."""
        account = self._accounts.get(principal_id)
        if account is None:
            return 0.0, 0.0
        return account.window.spent(now), account.window.seconds_until_next(now)

    def count_waiting(self, now: float) -> int:
        """Return how many principals have nothing left."""
        return sum(each.window.spent(now) >= self.hourly_bytes for each in self._accounts.values())

    def note_refusal(self, principal: Principal, now: float) -> int:
        """Count a refused request; return how many to tell of now: one line a minute says it."""
        account = self._accounts[principal.id]
        account.refused += 1
        self.total_refused += 1
        if now - account.told_at < _TELL_SECONDS:
            return 0
        account.told_at = now
        count, account.refused = account.refused, 0
        return count

    def _forget_idle(self, now: float) -> None:
        if len(self._accounts) >= _REMEMBERED:
            self._accounts = {
                key: each for key, each in self._accounts.items() if each.window.spent(now)
            }
