"""All templates: the shipped ones and those of the operator's directories, checked as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol

from chronoduck.errors import DuckDBQueryError, TemplateError, TemplateNotFoundError
from chronoduck.errors.system import reason_of
from chronoduck.service.templates.front_matter import FrontMatter, read_front_matter
from chronoduck.service.templates.source import TemplateSource
from chronoduck.service.templates.spelling import did_you_mean
from chronoduck.service.templates.template import Template

__all__ = ["StatementFacts", "TemplateLibrary"]


class StatementFacts(Protocol):
    """What the check of a statement must tell."""

    @property
    def parameter_names(self) -> frozenset[str]:
        """The names behind ``$`` in the statement."""
        ...

    @property
    def is_read_only(self) -> bool:
        """Whether it only reads."""
        ...


Check = Callable[[str], StatementFacts]
"""Tells what one statement is; raises DuckDBQueryError for anything but one valid statement."""


class TemplateLibrary:
    """The templates by name; all change at once, by `adopt`."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self._templates = {template.name: template for template in templates}

    @classmethod
    def load(cls, directories: Sequence[Path], check: Check) -> TemplateLibrary:
        """Return the shipped templates and the ``*.sql`` files right inside ``directories``.

        Raises:
            TemplateError: one of them is broken, or two have one name; none is loaded then.
        """
        names: dict[str, TemplateSource] = {}
        templates = []
        for source in _sources(directories):
            declared = read_front_matter(source)
            if declared.name in names:
                other = names[declared.name]
                raise TemplateError(
                    f"{source.label}:{declared.lines['name']}: the name '{declared.name}' is taken "
                    f"by {other.label}",
                    hint="Give one of them another name; no template replaces another.",
                    operator_detail=f"{source.path} and {other.path} are both named "
                    f"'{declared.name}'",
                )
            names[declared.name] = source
            templates.append(_checked(source, declared, check))
        return cls(templates)

    def adopt(self, other: TemplateLibrary) -> None:
        """Hold the templates of the other library instead."""
        self._templates = other._templates

    def names(self) -> list[str]:
        """Return the names in alphabetical order."""
        return sorted(self._templates)

    def get(self, name: str) -> Template:
        """Return a template.

        Raises:
            TemplateNotFoundError: there is none of that name.
        """
        if name not in self._templates:
            raise TemplateNotFoundError(
                f"there is no template {name[:60]!r}{did_you_mean(name, self._templates)}",
                hint="GET templates, or `chronoduck templates list`, lists them.",
            )
        return self._templates[name]


def _sources(directories: Sequence[Path]) -> Iterator[TemplateSource]:
    shipped = resources.files("chronoduck.service.templates").joinpath("sql")
    for file in sorted(shipped.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            yield TemplateSource.read(file, is_shipped=True)
    for directory in directories:
        try:
            files = sorted(directory.iterdir())
        except OSError as error:
            raise TemplateError(
                f"the templates directory cannot be read: {reason_of(error)}",
                hint="Make it, or correct DUCKDB_TEMPLATES_DIRECTORY.",
                operator_detail=f"the templates directory {directory} cannot be read: "
                f"{reason_of(error)}",
            ) from error
        for path in files:
            # Editors keep their own hidden files (.#name.sql, ._name.sql) beside the real ones.
            if path.suffix == ".sql" and not path.name.startswith("."):
                yield TemplateSource.read(path, is_shipped=False)


def _place(parameter: str, sql: str) -> int:
    """Return where the parameter stands as a whole word; 0 if it does not."""
    at = sql.find(parameter)
    while at >= 0:
        end = at + len(parameter)
        if not (sql[end : end + 1].isalnum() or sql[end : end + 1] == "_"):
            return at
        at = sql.find(parameter, end)
    return 0


def _checked(source: TemplateSource, declared: FrontMatter, check: Check) -> Template:
    """Return the template when its SQL is one reading statement with the declared parameters."""
    try:
        facts = check(declared.sql)
    except DuckDBQueryError as error:
        line = declared.sql_line + (error.line or 1) - 1
        raise source.error(
            line, error.detail, "Correct the SQL: a template is one SELECT."
        ) from error
    if not facts.is_read_only:
        raise source.error(
            declared.sql_line, "the statement changes data", "A template is one SELECT."
        )
    parameters = {parameter.name for parameter in declared.parameters}
    for name in sorted(facts.parameter_names - parameters):
        line = declared.sql_line + declared.sql.count("\n", 0, _place(f"${name}", declared.sql))
        if name.isdigit():
            raise source.error(
                line, "the statement has a ? or numbered parameter", "Write it as $name."
            )
        raise source.error(
            line,
            f"${name} is not declared{did_you_mean(name, parameters)}",
            f"Add '-- param {name}: integer = 100; ...' to the comments at the top, "
            "before any empty line.",
        )
    for name in sorted(parameters - facts.parameter_names):
        raise source.error(
            declared.lines[f"param {name}"],
            f"parameter {name} is not used",
            f"Use ${name} in the SQL, or remove this line.",
        )
    return Template(
        name=declared.name,
        description=declared.description,
        sql=declared.sql,
        parameters=declared.parameters,
        source=source.path,
    )
