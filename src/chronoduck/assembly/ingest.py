"""Data in, on the account of who sends it."""

from __future__ import annotations

from chronoduck.engine.scopes import check_reader
from chronoduck.service.quotas import Quotas
from chronoduck.service.records import Caller
from chronoduck.settings.ingest import IngestSettings
from chronoduck.transfer.group_commit import GroupCommit, GroupedRows
from chronoduck.transfer.idempotency import IdempotencyKeys, RequestKey
from chronoduck.transfer.small_rows import SmallRows

__all__ = ["Ingest"]


class Ingest:
    """Small bodies by group commit, and the keys of requests that were done."""

    def __init__(
        self, groups: GroupCommit, keys: IdempotencyKeys, quotas: Quotas, settings: IngestSettings
    ) -> None:
        self.groups = groups
        self.keys = keys
        self.is_grouping = settings.grouping
        self._quotas = quotas

    async def append(
        self,
        table: str,
        rows: SmallRows,
        format_: str,
        caller: Caller,
        request: RequestKey | None = None,
    ) -> GroupedRows:
        """Return when the rows are committed; the caller is charged its share of the engine's time.

        Raises:
            NotGroupedError: the rows do not go in as they are.
            QuotaExceededError: the caller used what it may use.
            DuckDBException: see ``GroupCommit.append``.
        """
        check_reader(caller.principal)
        account = self._quotas.account(caller.principal)
        account.open_statement()
        try:
            done = await self.groups.append(table, rows, format_, request)
            account.charge(done.engine_seconds)
            return done
        finally:
            account.close_statement()

    async def close(self) -> None:
        """End what goes on in the background."""
        await self.groups.close()
        await self.keys.stop()
