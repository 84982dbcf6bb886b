"""Every principal's account, found by its id; the limits in force for it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from chronoduck.logs import get_logger
from chronoduck.principals import Limits, Principal, Role
from chronoduck.service.accounts import Account, Allowance

__all__ = ["Quotas", "effective_limits"]

_REMEMBERED = 10_000
"""Accounts; beyond that those that count nothing are given up, else the ones used longest ago."""


def effective_limits(principal: Principal, of_role: Limits) -> Limits:
    """Return the principal's own limits, and its role's where it has none."""
    if principal.limits == Limits():
        return of_role
    own = {
        field.name: value
        for field in fields(Limits)
        if (value := getattr(principal.limits, field.name)) is not None
    }
    return Limits(**{**asdict(of_role), **own})


class Quotas:
    """Accounts by principal id, in memory. For one event loop."""

    def __init__(
        self,
        limits_of: Callable[[Role], Limits] = lambda role: Limits(),
        *,
        clock: Callable[[], float] = time.monotonic,
        remembered: int = _REMEMBERED,
    ) -> None:
        """``limits_of`` returns the limits of a role."""
        self._limits_of = limits_of
        self._clock = clock
        self._remembered = remembered
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._changed: set[str] = set()
        self._earlier: dict[str, tuple[list[list[list[float]]], float]] = {}
        """What an earlier process counted, and when: of principals that have not come yet."""

    def account(self, principal: Principal) -> Account:
        """Return the principal's account, with the limits that it has now."""
        self._changed.add(principal.id)
        account = self._accounts.get(principal.id)
        if account is None:
            self._give_up_old()
            account = self._accounts[principal.id] = Account(
                principal, self._limits(principal), self._clock
            )
            self._restore(account, self._earlier.pop(principal.id, None))
            return account
        if account.principal is not principal and account.principal != principal:
            account.adopt(principal, self._limits(principal))
        self._accounts.move_to_end(principal.id)
        return account

    def _limits(self, principal: Principal) -> Limits:
        return effective_limits(principal, self._limits_of(principal.role))

    def _restore(
        self, account: Account, earlier: tuple[list[list[list[float]]], float] | None
    ) -> None:
        if earlier is None:
            return
        state, at = earlier
        try:
            account.restore(state, self._clock() - at)
        except (ValueError, TypeError):
            get_logger("service").warning("usage_not_read", principal=account.principal.id)

    def restore(self, states: dict[str, tuple[list[list[list[float]]], float]]) -> None:
        """Take in what principals had used, as ``changes`` returned it, and how many seconds ago."""
        now = self._clock()
        self._earlier = {name: (state, now - passed) for name, (state, passed) in states.items()}

    def changes(self) -> dict[str, list[list[list[float]]]]:
        """Return what the principals use of which something changed since the last call."""
        accounts = self._accounts
        changed = [name for name in self._changed if name in accounts]
        self._changed = {name for name in changed if accounts[name].is_busy}
        return {name: accounts[name].state() for name in changed}

    def _give_up_old(self) -> None:
        """Make room for one more account."""
        if len(self._accounts) < self._remembered:
            return
        now = self._clock()
        idle = [key for key, account in self._accounts.items() if account.is_idle(now)]
        # None is idle: some that used something long ago lose it. Running statements keep theirs.
        oldest = list(self._accounts)[: max(1, self._remembered // 100)]
        for key in idle or oldest:
            del self._accounts[key]

    def usage(self) -> list[dict[str, Any]]:
        """Return what every principal uses, the one used last first."""
        return [describe(account) for account in reversed(self._accounts.values())]

    def absent(self) -> set[str]:
        """Return the ids of principals that used something before the last restart, and not since."""
        return set(self._earlier)

    def knows(self, principal_id: str) -> bool:
        """Whether the principal came since the start."""
        return principal_id in self._accounts

    def usage_of_absent(self, principal: Principal) -> dict[str, Any]:
        """Return the same of one that has not come since the start; it is not counted as seen."""
        account = Account(principal, self._limits(principal), self._clock)
        self._restore(account, self._earlier.get(principal.id))
        return describe(account)

    def usage_of(self, principal: Principal) -> dict[str, Any]:
        """Return who the principal is, its limits, and what it uses of them."""
        return describe(self.account(principal))


def describe(account: Account) -> dict[str, Any]:
    """Return an account as the API shows it; times in seconds."""
    principal = account.principal
    requests, engine, statements = account.allowances()
    return {
        "id": principal.id,
        "name": principal.name,
        "role": principal.role.value,
        "limits": asdict(account.limits),
        "usage": {
            "requests": _used(requests),
            "engine_seconds": _used(engine),
            "concurrent_statements": _used(statements),
        },
        "since_start": {
            "requests": account.total_requests,
            "statements": account.total_statements,
            "refused": account.total_refused,
            "engine_seconds": round(account.total_engine_seconds, 3),
        },
    }


def _used(allowance: Allowance) -> dict[str, Any]:
    remaining = allowance.remaining
    return {
        "used": round(allowance.used, 3),
        "limit": allowance.limit,
        "remaining": None if remaining is None else round(remaining, 3),
        "window_seconds": allowance.window_seconds,
        "resets_in_seconds": round(allowance.resets_in_seconds, 3),
    }
