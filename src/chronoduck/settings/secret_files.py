"""Secrets from files: ``NAME_FILE`` for every setting that is a secret."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from chronoduck.errors import SettingsError
from chronoduck.errors.system import reason_of
from chronoduck.permissions import file_advice

__all__ = ["read_secret_files", "secret_fields"]

_SUFFIX = "_FILE"
_MAX_BYTES = 100_000
_MOUNTED = "/run/secrets"
"""Where containers mount secrets, readable for all inside, for inside there is one user."""


def secret_fields(model: type[BaseSettings]) -> list[str]:
    """Return the fields of the model that are secrets."""
    return [
        name
        for name, field in model.model_fields.items()
        if field.annotation is SecretStr or SecretStr in get_args(field.annotation)
    ]


def read_secret_files(
    model: type[BaseSettings], variables: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the secrets that files give, by field; ``variables`` are the fields' variables.

    Raises:
        SettingsError: a file is missing, empty or open to others, or the variable itself is set too.
    """
    found = {}
    for field in secret_fields(model):
        variable = variables[field]
        path = environ.get(variable + _SUFFIX)
        if not path:
            continue
        if environ.get(variable):
            raise SettingsError(
                f"{variable} and {variable}{_SUFFIX} are both set",
                hint="Keep the file and unset the other.",
            )
        found[field] = _read(variable + _SUFFIX, Path(path), environ)
    return found


def _read(variable: str, path: Path, environ: Mapping[str, str]) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode().strip()
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"{variable}: {path} cannot be read: {reason}",
            hint="Name a file that the service's user may read.",
        ) from None
    if mode & 0o007 and not _is_kept_by_system(path, environ):
        raise SettingsError(
            f"{variable}: {path} has mode {mode:04o}: every user may read it",
            hint=file_advice(path, 0o600),
        )
    if not text:
        raise SettingsError(f"{variable}: {path} is empty", hint="Put the secret into it.")
    return text


def _is_kept_by_system(path: Path, environ: Mapping[str, str]) -> bool:
    places = [_MOUNTED, environ.get("CREDENTIALS_DIRECTORY", "")]
    absolute = Path(os.path.normpath(path.absolute()))
    return any(place and absolute.is_relative_to(place) for place in places)
