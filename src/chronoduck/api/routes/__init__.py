"""One file per subject; ``routers`` lists them all."""

from chronoduck.api.routes import (
    audit,
    backups,
    health,
    jobs,
    load,
    query,
    replication,
    running,
    tables,
    templates,
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
    audit.router,
]
