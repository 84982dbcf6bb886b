"""``chronoduck doctor``: what is wrong on this machine, and the fix for each."""

from __future__ import annotations

from dataclasses import asdict

import typer

from chronoduck.cli.checks import run_checks
from chronoduck.cli.findings import Severity
from chronoduck.cli.output import console, plain, print_json
from chronoduck.cli.target import DatabaseOption, JsonOption

__all__ = ["doctor"]

_MARKS = {
    Severity.OK: "[green]ok[/]     ",
    Severity.WARNING: "[yellow]warning[/]",
    Severity.ERROR: "[bold red]error[/]  ",
}


def doctor(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Check configuration, files, disk, memory and extensions; exit code 78 when one is wrong."""
    findings = run_checks(database)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            console.print(f"{_MARKS[finding.severity]} {finding.id:12} {plain(finding.finding)}")
            if finding.fix:
                console.print(f"        [bold]fix:[/] {plain(finding.fix)}", soft_wrap=True)
    if any(finding.severity is Severity.ERROR for finding in findings):
        if not as_json:
            console.print("What to do, by alert and by symptom: chronoduck runbook")
        raise typer.Exit(78)
