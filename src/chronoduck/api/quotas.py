"""Quotas on the wire: each request counted once, and the headers that say what is left."""

from __future__ import annotations

import math
import time

from fastapi import Request

from chronoduck.principals import Principal
from chronoduck.service.accounts import Account, Allowance
from chronoduck.service.quotas import Quotas

__all__ = ["count_request", "quota_headers", "show_quota"]

_UNITS = {
    "requests": "",
    "engine_seconds": ';qu="engine-seconds"',
    "concurrent_statements": ';qu="concurrent-requests"',
}


def count_request(request: Request, quotas: Quotas, principal: Principal) -> None:
    """Count an authenticated request against its principal, and have its response say what is left.

    Raises:
        QuotaExceededError: the principal sent as many as it may.
    """
    show_quota(request, quotas, principal).count_request()


def show_quota(request: Request, quotas: Quotas, principal: Principal) -> Account:
    """Have the response say what is left, without counting the request."""
    account = quotas.account(principal)
    if account.is_limited:
        # Read when the response begins, by the middleware around every request.
        request.scope["state"]["late_headers"] = lambda: quota_headers(account)
    return account


def quota_headers(account: Account) -> list[tuple[bytes, bytes]]:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers-11, and their forerunners.

    ``t`` is when some of what is used comes back, and with nothing left the same as Retry-After.
    X-RateLimit-* tell of the requests; its Reset is Unix time, as most clients of it expect.
    """
    limited = [each for each in account.allowances() if each.limit is not None]
    fields = {
        "ratelimit-policy": ", ".join(map(_policy, limited)),
        "ratelimit": ", ".join(map(_left, limited)),
    }
    for each in limited:
        if each.name == "requests":
            fields["x-ratelimit-limit"] = f"{each.limit}"
            fields["x-ratelimit-remaining"] = f"{each.remaining:.0f}"
            fields["x-ratelimit-reset"] = f"{math.ceil(time.time() + each.resets_in_seconds)}"
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def _policy(allowance: Allowance) -> str:
    window = "" if allowance.window_seconds is None else f";w={allowance.window_seconds:.0f}"
    return f'"{allowance.name}";q={int(allowance.limit or 0)}{_UNITS[allowance.name]}{window}'


def _left(allowance: Allowance) -> str:
    seconds = math.ceil(allowance.resets_in_seconds)
    reset = "" if allowance.window_seconds is None else f";t={seconds}"
    return f'"{allowance.name}";r={int(allowance.remaining or 0)}{reset}'
