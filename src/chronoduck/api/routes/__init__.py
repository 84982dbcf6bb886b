"""One file per subject; ``routers`` lists them all."""

from chronoduck.api.routes import (
    backups,
    health,
    jobs,
    load,
    query,
    replication,
    running,
    tables,
    templates,
    usage,
)

__all__ = ["routers"]

routers = [
    health.router,
    query.router,
    tables.router,
    load.router,
    templates.router,
    running.router,
    replication.router,
    backups.router,
    jobs.router,
    usage.router,
]
