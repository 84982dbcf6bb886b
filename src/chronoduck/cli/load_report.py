"""What ``chronoduck load`` prints of a file at its end."""

from __future__ import annotations

from rich.table import Table

from chronoduck.cli.output import errors, plain
from chronoduck.transfer import LoadSummary, RejectFile

__all__ = ["report"]

_LISTED, _LISTED_OF_OLD = 30, 4
"""Columns that are named: of a table that was created, and of one that existed."""


def report(name: str, summary: LoadSummary, rejects: RejectFile) -> None:
    """Print the counts, the columns, what was guessed, and the preview of a dry run."""
    rows = summary.rows_added + summary.duplicates
    pace = f", {rows / summary.seconds:,.0f} rows/s" if summary.seconds and rows > 10_000 else ""
    removed = f", {summary.rows_removed:,} replaced" if summary.rows_removed else ""
    errors.print(
        f"{plain(name)}: {summary.rows_added:,} rows {'would be ' if summary.dry_run else ''}added to "
        f"{plain(summary.table)}{removed}, {summary.duplicates:,} known already, "
        f"{summary.rejected:,} malformed{pace}",
        soft_wrap=True,
    )
    if summary.repaired:
        errors.print(f"{summary.repaired:,} malformed lines repaired: see the column repaired")
    if summary.filled:
        errors.print(f"{summary.filled:,} known captures got values that they lacked")
    if summary.resume_key is not None:
        errors.print(
            "[yellow]there is more: ask the CDX server again with "
            f"resumeKey={plain(summary.resume_key)}[/]",
            soft_wrap=True,
        )
    if summary.read_as:
        said = " ".join(f"{key}={_shown(value)}" for key, value in summary.read_as.items())
        errors.print(f"  read with {plain(said)}", soft_wrap=True)
    if summary.columns:
        what = f"{plain(summary.table)} {_became(summary)}"
        errors.print(f"  {what}: {plain(_columns(summary))}", soft_wrap=True)
    if summary.preview:
        _print_preview(summary)
    if rejects.count:
        errors.print(f"[yellow]malformed lines are in {plain(rejects.path)}[/]")


def _became(summary: LoadSummary) -> str:
    """Return what the load did to the table; rows of two files in one table may be a surprise."""
    would = "would be " if summary.dry_run else ""
    if summary.created:
        return f"{would}created" if summary.dry_run else "was created"
    if summary.mode == "replace":
        return f"existed; its rows {would or 'were '}replaced"
    if summary.mode == "upsert":
        return f"existed; rows with the same key {would or 'were '}replaced, others appended"
    return f"existed; rows {would or 'were '}appended"


def _columns(summary: LoadSummary) -> str:
    columns = list(summary.columns.items())
    listed = _LISTED if summary.created or summary.dry_run else _LISTED_OF_OLD
    more = f" and {len(columns) - listed} more" if len(columns) > listed else ""
    return ", ".join(f"{name} {type_}" for name, type_ in columns[:listed]) + more


def _shown(value: str) -> str:
    return {"\t": "tab", " ": "space", "": "none"}.get(value, value)


def _print_preview(summary: LoadSummary) -> None:
    table = Table(*map(plain, summary.columns), box=None, pad_edge=False)
    for row in summary.preview:
        table.add_row(*("" if each is None else plain(each) for each in row))
    errors.print(table)
