"""HTTP: routes, schemas, error rendering, streaming. Knows the service only through assembly."""

from chronoduck.api.app import create_app

__all__ = ["create_app"]
