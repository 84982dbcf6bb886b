"""How values are written in the environment: sizes, durations, lists."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from chronoduck.units import parse_bytes, parse_seconds

__all__ = ["ByteCount", "LogFormat", "LogLevel", "PathList", "Seconds", "to_bytes"]


def to_bytes(value: Any) -> Any:
    """Return the bytes that a text such as ``4GB`` means, other values as they are."""
    return parse_bytes(value) if isinstance(value, str) else value


def _seconds(value: Any) -> Any:
    return parse_seconds(value) if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _path_list(value: Any) -> Any:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


ByteCount = Annotated[int, BeforeValidator(to_bytes), Field(gt=0)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["json", "console"], BeforeValidator(_lower)]
PathList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_path_list)]
