"""``chronoduck export``: results of declared queries into indexes of Meilisearch."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chronoduck.cli.declared_work import (
    ask_here,
    print_nothing,
    print_outcomes,
    print_schedule,
    print_troubles,
    run_here,
    run_there,
    state_of,
)
from chronoduck.cli.output import print_json, print_table
from chronoduck.cli.target import DatabaseOption, JsonOption, Target, find_target, settings_for
from chronoduck.export import read_export_file
from chronoduck.settings import Settings
from chronoduck.units import format_bytes, format_seconds

__all__ = ["app"]

app = typer.Typer(help="Export results of queries, as a file declares it.", no_args_is_help=True)


@app.command("run")
def run(
    names: Annotated[
        list[str] | None, typer.Argument(help="Exports of DUCKDB_EXPORT_FILE; default: all.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build indexes anew, whatever changed.")
    ] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run exports to their end, in the running service or here; one that fails stops no other."""
    target = find_target(database, None, None)
    names = names or []
    if target.service is not None:
        body = {"names": names, "rebuild": rebuild}
        outcomes = run_there(target.service, "export", ("/exports/run", "/exports"), body)
    else:
        outcomes = run_here(
            _settings(target),
            "export",
            lambda parts: parts.declared_exports,
            names,
            rebuild=rebuild,
        )
    print_outcomes("export", outcomes, _sentence, as_json=as_json)


def _settings(target: Target) -> Settings:
    """Return the settings to open the file with, here: its exports are asked for by name."""
    return target.own_settings.model_copy(update={"export": target.settings.export})


def _sentence(facts: dict[str, Any]) -> str:
    if facts["how"] == "files":
        return (
            f"{facts['rows']:,} rows in {len(facts['files'])} files of "
            f"{format_bytes(facts['bytes'])} at {facts['url']}, {facts['removed']} older exports "
            f"removed, in {format_seconds(facts['seconds'])}"
        )
    return (
        f"{facts['sent']:,} documents sent, {facts['deleted']:,} deleted ({facts['how']}); "
        f"{facts['index']} holds {facts['documents']:,}, in {format_seconds(facts['seconds'])}"
    )


@app.command("status")
def status(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show how each export is, how its last run went and when the next one is."""
    target = find_target(database, None, None)
    if target.service is not None:
        exports = target.service.call("GET", "/exports")["exports"]
    else:
        exports = ask_here(_settings(target), lambda parts: parts.declared_exports.describe())
    if as_json:
        print_json(exports)
        return
    if not exports:
        print_nothing("export")
        return
    print_table(
        ("export", "into", "state", "rows", "sent last", "last success", "next run"),
        [
            (
                each["name"],
                each["target"].rpartition("/")[2],
                state_of(each),
                f"{each['documents']:,}",
                f"{each['last']['sent']:,}",
                each["last_success_at"],
                each["next_at"],
            )
            for each in exports
        ],
        numeric=(False, False, False, True, True),
    )
    print_troubles(exports)


@app.command("schedule")
def schedule(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show when each export runs next, in UTC; needs no service."""
    declared = read_export_file(settings_for(database).export.file)
    schedules = [(each.name, each.schedule) for each in declared.exports.values()]
    print_schedule("export", schedules, as_json=as_json)
