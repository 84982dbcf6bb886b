"""The schema of the service's own tables inside the database."""

from __future__ import annotations

__all__ = ["OWN_SCHEMA"]

OWN_SCHEMA = "_chronoduck"
"""Written by the service alone; statements and loads of users that name it are refused."""
