"""Options are read without pydantic, which Typer uses for them: loading it takes longer than a question.

What needs more than its own type (numbers, lists that were given) is left to Typer.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import typer

__all__ = ["read_lightly"]


def read_lightly(command: Any) -> None:
    """Have a command (Typer's, made of its functions) and those below it read what needs no check."""
    help_option = command.get_help_option(typer.Context(command))  # made now, and kept
    for parameter in [*command.params, help_option]:
        if hasattr(
            parameter, "_runtime_param"
        ):  # a later Typer may do it in another way: all works
            parameter._runtime_param = _Plain(parameter)
    for each in getattr(command, "commands", {}).values():
        read_lightly(each)


class _Plain:
    """Stands for the reader that Typer would make, and makes it only when it is needed."""

    def __init__(self, parameter: Any) -> None:
        self._descriptor = parameter.type_descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a value as the type that its function expects."""
        is_many = param.multiple or param.nargs == -1
        kind = self._descriptor.annotation
        if value is None or value == ():
            return () if is_many else None
        if not is_many and isinstance(kind, type):
            if isinstance(value, kind):
                return value
            if kind is Path and isinstance(value, str):
                return Path(value)
            if issubclass(kind, Enum) and value in {each.value for each in kind}:
                return kind(value)
        from typer._coercion import build_runtime_param  # noqa: PLC0415 - imports pydantic

        return build_runtime_param(self._descriptor).coerce(value, param=param, ctx=ctx)
