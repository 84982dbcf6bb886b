"""One file per subject; ``public_routers`` and ``routers``, which demand a role, list them all."""

from chronoduck.api.routes import (
    audit,
    backups,
    captures,
    exports,
    health,
    jobs,
    keys,
    load,
    penalties,
    query,
    replication,
    running,
    statements,
    sync,
    tables,
    templates,
    usage,
)

__all__ = ["key_router", "public_routers", "routers"]

public_routers = [health.router, exports.public_router]
routers = [
    health.control_router,
    query.router,
    tables.router,
    load.router,
    templates.router,
    running.router,
    replication.router,
    backups.router,
    captures.router,
    jobs.router,
    exports.router,
    audit.router,
    usage.router,
    penalties.router,
    statements.router,
    sync.router,
]
key_router = keys.router
"""Not where the host application knows its users itself."""
