"""``chronoduck templates``: the prepared queries and running one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from chronoduck.cli.output import console, plain, print_json, print_table
from chronoduck.cli.query import write_result
from chronoduck.cli.result_file import OutputFormat, chosen_format
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    find_target,
)
from chronoduck.errors import InvalidRequestError
from chronoduck.service.templates import TemplateLibrary, single_values
from chronoduck.settings import Settings, load_settings
from chronoduck.sql.statements import StatementParser

__all__ = ["app"]

app = typer.Typer(help="List the prepared queries, or run one.", no_args_is_help=True)


_MAX_ROWS = 100_000


def _library(settings: Settings) -> TemplateLibrary:
    parser = StatementParser()
    try:
        directories = [settings.templates_directory] if settings.templates_directory else []
        return TemplateLibrary.load(directories, parser.parse)
    finally:
        parser.close()


@app.command("list")
def list_templates(as_json: JsonOption = False) -> None:
    """List the prepared queries with their parameters."""
    library = _library(load_settings())
    described = [library.get(name).describe() for name in library.names()]
    if as_json:
        print_json(described)
        return
    rows = [
        [
            template["name"],
            ", ".join(_signature(parameter) for parameter in template["parameters"]),
            template["description"],
        ]
        for template in described
    ]
    print_table(["name", "parameters", "description"], rows)


def _signature(parameter: dict[str, Any]) -> str:
    default = parameter.get("default")
    return parameter["name"] if default is None else f"{parameter['name']}={default}"


@app.command("run")
def run_template(
    name: Annotated[str, typer.Argument(help="The template.")],
    parameters: Annotated[
        list[str] | None, typer.Argument(help="name=value for each parameter.")
    ] = None,
    output_format: Annotated[OutputFormat | None, typer.Option("--format", "-f")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there already.")
    ] = False,
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a prepared query on the running service, or on the file when no service owns it."""
    target = find_target(database, url, token_file)
    given = single_values(_split(pair) for pair in parameters or [])
    shown = OutputFormat.TABLE if output is None else None
    chosen = chosen_format(OutputFormat.JSON if as_json else output_format or shown, output)
    if target.service is not None:
        # By its name: that is what a viewer may, and the service's templates are not always ours.
        write_result(target, {"params": given}, chosen, output, force=force, template=name)
        return
    template = _library(target.settings).get(name)
    body = {"query": template.sql, "params": template.bind(given), "max_rows": _MAX_ROWS}
    with template.explained():
        write_result(target, body, chosen, output, force=force)
    if chosen is OutputFormat.TABLE:
        console.print(f"[dim]{plain(template.description)}[/]")


def _split(pair: str) -> tuple[str, str]:
    name, separator, value = pair.partition("=")
    if not separator:
        raise InvalidRequestError(f"{pair!r} is not of the form name=value")
    return name, value
