"""Every setting, endpoint, error code, command, template and make target has its place in the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import typer

import chronoduck.api.problems  # noqa: F401 - all error classes are loaded
from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.cli.main import build_app
from chronoduck.errors import DuckDBException
from chronoduck.settings import GROUPS, Settings, variable_names
from tests.docs.documents import DOCUMENTS, REPOSITORY

DOCS = REPOSITORY / "docs"
ROOT = "/api/v1/duckdb"


def test_every_setting_is_in_the_configuration_page() -> None:
    names = {
        name for model in (Settings, *GROUPS.values()) for name in variable_names(model).values()
    }
    documented = set(re.findall(r"^\| `(\w+)`", (DOCS / "configuration.md").read_text(), re.M))
    assert documented == names


def test_every_endpoint_has_its_heading() -> None:
    paths = create_app(DuckDBService()).openapi()["paths"]
    offered = {
        f"{method.upper()} {path.removeprefix(ROOT)}" for path in paths for method in paths[path]
    }
    offered = {re.sub(r"^GET /templates/(?!performance-metrics).+", "", name) for name in offered}
    documented = set(
        re.findall(r"^### `([A-Z]+ /\S+)`", (DOCS / "api.md").read_text(), re.MULTILINE)
    )
    assert documented - {"GET /templates/{name}"} == offered - {""}


def _errors(base: type[DuckDBException]) -> Iterator[type[DuckDBException]]:
    for child in base.__subclasses__():
        yield child
        yield from _errors(child)


def test_every_error_code_with_its_status_is_in_the_api_page() -> None:
    text = (DOCS / "api.md").read_text()
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", text.split("## Errors")[1], re.MULTILINE)
    documented = {code: status for codes, status in rows for code in re.findall(r"`(\w+)`", codes)}
    # Errors that only a start, the command line or a client can meet.
    local = {
        *("settings_invalid", "template_invalid", "resource_exhausted", "port_in_use"),
        *(
            "local_file",
            "output_exists",
            "fetch_failed",
            "error",
            "connection_broken",
            "work_failed",
        ),
    }
    known = {error.code: error for error in _errors(DuckDBException)}
    reached = {name: error for name, error in known.items() if name not in local}
    assert set(reached) <= set(documented)
    for code, error in reached.items():
        if documented[code].isdigit():
            assert int(documented[code]) == error.http_status, code


def test_every_command_has_its_heading() -> None:
    commands = set(typer.main.get_command(build_app()).commands)  # type: ignore[attr-defined]
    text = (DOCS / "cli.md").read_text()
    assert set(re.findall(r"^## `chronoduck (\w+)`", text, re.MULTILINE)) == commands


def test_exit_codes_in_the_page_are_those_of_the_errors() -> None:
    used = {error.exit_code for error in _errors(DuckDBException)} | {0}
    text = (DOCS / "cli.md").read_text().split("## Exit codes")[1]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert used <= documented


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_document_is_in_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for document in DOCUMENTS[1:]:
        assert f"docs/{document.name}" in readme
