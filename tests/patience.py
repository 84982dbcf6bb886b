"""How long a test waits for what must come."""

from __future__ import annotations

__all__ = ["PATIENCE_SECONDS"]

PATIENCE_SECONDS = 240.0
"""A wait that ends with this has found that something does not come, not that the machine is busy."""
