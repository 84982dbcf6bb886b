"""What belongs to the product inside the database: a schema of its own, and tables of the platform."""

from __future__ import annotations

__all__ = ["OWN_SCHEMA", "PRODUCT_NAMES", "PRODUCT_SCHEMA"]

OWN_SCHEMA = "_chronoduck"
"""Written by the service alone; statements and loads of users that name it are refused."""

PRODUCT_SCHEMA = "main"
PRODUCT_NAMES = frozenset({"pages_analytics", "user_metrics", "pages"})
"""Tables and views of ``main`` that the product makes. Everybody's templates and pages read them: only
admins change them by SQL, and writers add rows to them by loads."""
