"""The ASGI app for ``uvicorn app.main:app``; settings come from the environment.

It serves the very service that ``app.services.duckdb_service`` gives to code in this process.
"""

from app.services.duckdb_service import duckdb_service
from chronoduck.api import create_app

__all__ = ["app"]

app = create_app(duckdb_service.service)
