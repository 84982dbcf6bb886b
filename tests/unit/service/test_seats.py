"""One principal never holds the last connection, also not by connections that are being closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.database import Connection
from chronoduck.errors import DuckDBQueryError, PoolTimeoutError
from chronoduck.principals import Principal, Role, Scope, TableGrant
from chronoduck.service.records import Caller
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS

BOB = Caller("bob", principal=Principal("bob", Role.ANALYST, "key:bob"))


@pytest.mark.parametrize("scope", [None, Scope((TableGrant("t"),))])
async def test_slow_rollbacks_of_one_leave_connections_for_others(
    make_settings: Callable[..., Settings], scope: Scope | None
) -> None:
    """Fails when a seat is given back before its connection is closed."""
    settings = make_settings(worker_threads=2, max_connections=4)
    eve = Caller("eve", principal=Principal("eve", Role.ANALYST, "key:eve", scope=scope))
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t (n INTEGER)")
        pool = (await service.parts()).access.pool
        may_close = threading.Event()
        close = pool._close

        def close_slowly(raw: Connection) -> None:
            may_close.wait(PATIENCE_SECONDS)
            close(raw)

        pool._close = close_slowly
        try:
            timed_out = 0
            for _ in range(4):
                try:
                    await service.execute_query("SELECT error('x') FROM t", timeout=2, caller=eve)
                    await service.execute_query("SELECT 1 / n::INTEGER[1]", timeout=2, caller=eve)
                except PoolTimeoutError:
                    timed_out += 1
                except DuckDBQueryError:
                    pass
            assert timed_out >= 2
            assert pool.in_use == settings.connection_share == 2
            result = await service.execute_query("SELECT 1", timeout=30, caller=BOB)
            assert result.data == [(1,)]
        finally:
            may_close.set()
        while pool.in_use:
            await asyncio.sleep(0.01)
        assert (await service.parts()).access.admission.seated == 0
        await service.execute_query("SELECT count(*) FROM t", caller=eve)
