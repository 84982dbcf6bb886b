"""One template: its SQL, and the values that a caller's texts stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chronoduck.errors import DuckDBQueryError, InvalidRequestError
from chronoduck.service.templates.parameters import Parameter
from chronoduck.service.templates.spelling import did_you_mean

__all__ = ["Template", "single_values"]


def single_values(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs as a mapping.

    Raises:
        InvalidRequestError: a name comes twice; which of its values was meant is anybody's guess.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise InvalidRequestError(
                f"the parameter {name[:60]!r} is given twice", hint="Give each parameter once."
            )
        values[name] = value
    return values


@dataclass(frozen=True)
class Template:
    """A checked template. ``source`` is its file, for the operator; ``sql`` is without front matter."""

    name: str
    description: str
    sql: str
    parameters: tuple[Parameter, ...]
    source: str

    def bind(self, raw: Mapping[str, str]) -> dict[str, object]:
        """Return a value for every parameter, from the texts of a query string and the defaults.

        Raises:
            InvalidRequestError: names everything that is wrong, not only the first.
        """
        names = [parameter.name for parameter in self.parameters]
        problems = [
            f"there is no parameter {given[:60]!r}" + did_you_mean(given, names)
            for given in raw
            if given not in names
        ]
        values: dict[str, object] = {}
        for parameter in self.parameters:
            if parameter.name in raw:
                try:
                    values[parameter.name] = parameter.value(raw[parameter.name])
                except ValueError as error:
                    problems.append(f"{parameter.name} must {error}")
            elif parameter.required:
                problems.append(f"{parameter.name} is required")
            else:
                values[parameter.name] = parameter.default
        if problems:
            raise InvalidRequestError(
                f"template {self.name}: {'; '.join(problems)}",
                hint=f"It takes: {', '.join(names)}." if names else "It takes no parameters.",
            )
        return values

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say of a table that is missing what it is for: on an empty database most templates fail."""
        try:
            yield
        except DuckDBQueryError as error:
            if error.missing is not None and error.missing[0] == "Table":
                error.hint = (
                    f"The template {self.name} reads the table {error.missing[1]}; fill it first, "
                    "for captures with `chronoduck load FILE`."
                )
            raise

    def describe(self) -> dict[str, Any]:
        """Return name, description and parameters, as JSON can hold them."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": [parameter.describe() for parameter in self.parameters],
        }

    def openapi_parameters(self) -> list[dict[str, Any]]:
        """Return its parameters as OpenAPI 3.1 writes them."""
        return [parameter.openapi() for parameter in self.parameters]
