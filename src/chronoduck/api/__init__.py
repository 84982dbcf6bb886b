"""HTTP: routes, schemas, error rendering, streaming. Knows the service only through assembly."""

from chronoduck.api.app import create_app
from chronoduck.api.router import create_router

__all__ = ["create_app", "create_router"]
