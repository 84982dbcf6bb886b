"""One file per subject; ``routers`` lists them all."""

from chronoduck.api.routes import health, load, query, running, tables, templates

__all__ = ["routers"]

routers = [
    health.router,
    query.router,
    tables.router,
    load.router,
    templates.router,
    running.router,
]
