"""``chronoduck doctor``: what is wrong on this machine, and the fix for each."""

from __future__ import annotations

from dataclasses import asdict

import typer

from chronoduck.cli.checks import run_checks
from chronoduck.cli.findings import Check, Severity
from chronoduck.cli.output import console, plain, print_json
from chronoduck.cli.target import DatabaseOption, JsonOption

__all__ = ["doctor"]

_MARKS = {
    Severity.OK: "[green]ok[/]     ",
    Severity.WARNING: "[yellow]warning[/]",
    Severity.ERROR: "[bold red]error[/]  ",
}


def doctor(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Check settings, files and machine; exit with the code of a start that would be refused, else 78."""
    findings = run_checks(database)
    if as_json:
        print_json([_facts(finding) for finding in findings])
    else:
        for finding in findings:
            console.print(
                f"{_MARKS[finding.severity]} {finding.id:12} {plain(finding.finding)}",
                soft_wrap=True,
            )
            if finding.fix:
                console.print(f"        [bold]fix:[/] {plain(finding.fix)}", soft_wrap=True)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        if not as_json:
            console.print("What to do, by alert and by symptom: chronoduck runbook")
        refusals = [finding.exit_code for finding in errors if finding.id in ("database", "start")]
        raise typer.Exit(refusals[0] if refusals else errors[0].exit_code)


def _facts(finding: Check) -> dict[str, object]:
    facts = asdict(finding)
    del facts["exit_code"]  # it is the command's own
    return facts
