"""How loads over HTTP are taken in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from chronoduck.settings.values import from_environment

__all__ = ["IngestSettings"]


class IngestSettings(BaseSettings):
    """How loads over HTTP are taken in (``DUCKDB_INGEST_*``)."""

    model_config = from_environment("DUCKDB_INGEST_")

    grouping: bool = True
    """Whether small bodies that come at the same time are committed together."""
    queue: Annotated[int, Field(ge=1)] = 10_000
    """Small bodies that wait for their commit; more are refused."""
    keys: Annotated[int, Field(ge=100)] = 1_000_000
    """Idempotency keys that are kept; beyond that the oldest are given up before their 24 hours."""
