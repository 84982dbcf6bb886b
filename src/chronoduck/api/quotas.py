"""Quotas on the wire: each request counted once, and the headers that say what is left."""

from __future__ import annotations

import math
import time
from functools import lru_cache

from fastapi import Request

from chronoduck.principals import Principal
from chronoduck.service.accounts import Account, Allowance
from chronoduck.service.quotas import Quotas

__all__ = ["count_request", "quota_headers", "show_quota"]


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
    requests, engine, statements = account.allowances()
    left = [_left(each) for each in (requests, engine, statements) if each.limit is not None]
    headers = [
        (b"ratelimit-policy", _policies(requests.limit, engine.limit, statements.limit)),
        (b"ratelimit", ", ".join(left).encode()),
    ]
    if requests.limit is not None:
        reset = math.ceil(time.time() + requests.resets_in_seconds)
        headers += [
            (b"x-ratelimit-limit", b"%d" % requests.limit),
            (b"x-ratelimit-remaining", b"%d" % max(0, requests.limit - requests.used)),
            (b"x-ratelimit-reset", b"%d" % reset),
        ]
    return headers


@lru_cache(maxsize=256)
def _policies(requests: float | None, engine: float | None, statements: float | None) -> bytes:
    policies = []
    if requests is not None:
        policies.append(f'"requests";q={int(requests)};w=60')
    if engine is not None:
        policies.append(f'"engine_seconds";q={int(engine)};qu="engine-seconds";w=3600')
    if statements is not None:
        policies.append(f'"concurrent_statements";q={int(statements)};qu="concurrent-requests"')
    return ", ".join(policies).encode()


def _left(allowance: Allowance) -> str:
    left = int(allowance.remaining or 0)
    if allowance.window_seconds is None:
        return f'"{allowance.name}";r={left}'
    return f'"{allowance.name}";r={left};t={math.ceil(allowance.resets_in_seconds)}'
