"""Commits of one session: what may be on the disk, so that no later error is taken for "no effect"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chronoduck.errors import DuckDBException, EngineBugError, WriteOutcomeUnknownError
from chronoduck.sql.engine_errors import EngineFailure, FatalBugError, WriteLostError

__all__ = ["Commits"]


class Commits:
    """Notes each commit of a session before DuckDB can have made it. Used in worker threads."""

    def __init__(
        self,
        before_catalog_commit: Callable[[], None] = lambda: None,
        measure: Callable[[DuckDBException], DuckDBException] = lambda error: error,
        around_catalog_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """``before_catalog_commit`` is called right before the COMMIT of a transaction with DDL.

        ``around_catalog_commit`` is called before it, too, and once more when it has ended.
        ``measure`` tells a suspected failure from an error of the statement: that was rolled back.
        """
        self._before_catalog_commit = before_catalog_commit
        self._around_catalog_commit = around_catalog_commit
        self._measure = measure
        self.may_exist = False
        """Whether a commit of this session may be on the disk."""
        self.is_known = False
        """Whether the last one certainly is."""
        self.awaits_answer = False
        """Whether something was committed of which nothing was answered yet."""
        self.in_transaction = False
        """Whether a transaction is open that may write: only its COMMIT decides."""
        self.changes_catalog = False
        """Whether the transaction that is open now ran DDL."""

    @property
    def is_uncertain(self) -> bool:
        """Whether the fate of the last commit is unknown."""
        return self.may_exist and not self.is_known

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Enter the block that sends COMMIT, or runs a write that commits itself.

        An error that DuckDB reports of a live instance means that it rolled the write back. After
        any other error its fate is unknown, unless the instance refused before it began.
        """
        before = self.may_exist, self.is_known
        if self.changes_catalog:
            self._before_catalog_commit()
            self._around_catalog_commit()
        self.may_exist, self.is_known = True, False
        try:
            yield
        except EngineFailure as failure:
            measured = self._measure(failure)
            if failure.had_no_effect or not isinstance(measured, EngineFailure):
                self.may_exist, self.is_known = before
            if measured is failure:
                raise
            raise measured from failure.__cause__
        except EngineBugError:
            raise
        except DuckDBException:
            self.may_exist, self.is_known = before
            raise
        finally:
            if self.changes_catalog:
                self._around_catalog_commit()
        self.is_known = self.awaits_answer = True

    def judge(self, error: DuckDBException) -> DuckDBException:
        """Return the error for the caller in place of ``error``, which ended the session.

        A caller that repeats a write after a retryable error must not apply it twice.
        """
        if not self.may_exist or isinstance(error, WriteOutcomeUnknownError):
            return error
        fate = "was committed" if self.is_known else "may or may not have been applied"
        detail = f"the write {fate}; then an error ended its answer: {error.detail}"
        if isinstance(error, EngineFailure) and not isinstance(error, FatalBugError):
            lost = WriteLostError(
                detail, operator_detail=error.operator_detail, is_fatal=error.is_fatal
            )
            lost.is_confirmed = error.is_confirmed
            lost.is_statements_fault = error.is_statements_fault
            return lost
        return WriteOutcomeUnknownError(detail, operator_detail=error.operator_detail)
