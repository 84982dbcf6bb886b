"""Whatever borrowers do, nothing of the pool is lost and no row is there that was not committed."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException, DuckDBQueryError
from chronoduck.service.lending import Loan, lend
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS

ROUNDS = int(os.environ.get("CHRONODUCK_LENDING_ROUNDS", "6"))
BORROWERS, STEPS = 6, 12
LONG = "SELECT count(*) FROM range(100_000_000) a, range(1_000) b"


class Borrower:
    """Does one thing after the other with its connection, and knows which rows it committed."""

    def __init__(self, service: DuckDBService, name: int) -> None:
        self._service = service
        self._name = name
        self._random = random.Random(name)
        self._open: list[int] = []
        self._next = 0
        self.committed: list[tuple[int, int]] = []

    async def run(self) -> None:
        runner = (await self._service.parts()).runner
        loan: Loan | None = None
        for _ in range(STEPS):
            if loan is None:
                loan = await lend(runner, timeout=PATIENCE_SECONDS)
            step = self._random.choice(
                ("insert", "insert", "begin", "commit", "rollback", "fail", "cancel", "return")
            )
            if step == "return":
                loan.close()
                loan, self._open = None, []
            else:
                await self._step(loan, step)
        if loan is not None:
            loan.close()

    async def _step(self, loan: Loan, step: str) -> None:
        was_open = loan.in_transaction
        try:
            if step == "insert":
                await self._insert(loan)
            elif step == "fail":
                with pytest.raises(DuckDBQueryError):
                    await loan.execute("SELECT nothing FROM seen")
            elif step == "cancel":
                task = asyncio.create_task(loan.execute(LONG))
                await asyncio.sleep(self._random.random() / 20)
                task.cancel()
                await asyncio.wait([task])
            else:
                await getattr(loan, step)()
        except DuckDBQueryError:
            # begin inside, or an end without a beginning; or the transaction failed before.
            if step == "commit" and was_open:
                self._open = []
            return
        if step == "commit":
            self.committed += [(self._name, number) for number in self._open]
        if step in ("commit", "rollback"):
            self._open = []

    async def _insert(self, loan: Loan) -> None:
        number = self._next = self._next + 1
        await loan.execute("INSERT INTO seen VALUES (?, ?)", [self._name, number])
        if loan.in_transaction:
            self._open.append(number)
        else:
            self.committed.append((self._name, number))


@pytest.mark.slow
async def test_nothing_is_lost(make_settings: Callable[..., Settings]) -> None:
    async with DuckDBService(make_settings()) as service:
        await service.execute_query("CREATE TABLE seen (who INTEGER, number INTEGER)")
        pool, admission = service.connection_pool, (await service.parts()).access.admission
        for round_number in range(ROUNDS):
            borrowers = [
                Borrower(service, round_number * BORROWERS + each) for each in range(BORROWERS)
            ]
            await asyncio.gather(*(borrower.run() for borrower in borrowers))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while pool.in_use or admission.seated or admission.running:
                    await asyncio.sleep(0.01)
            runner = (await service.parts()).runner
            assert not runner.loans
            assert not runner.list_running()
            expected = sorted(row for borrower in borrowers for row in borrower.committed)
            first = round_number * BORROWERS
            found = await service.execute_query(
                "SELECT * FROM seen WHERE who >= ? ORDER BY ALL", [first]
            )
            assert found.data == expected
            loans = [await lend(runner) for _ in range(pool.max_connections)]
            with pytest.raises(DuckDBException):
                await lend(runner, timeout=0.01)
            for loan in loans:
                loan.close()
