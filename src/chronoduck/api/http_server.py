"""How uvicorn is set up to serve the application to strangers."""

from __future__ import annotations

import resource
import ssl

import uvicorn
from fastapi import FastAPI

from chronoduck.api.http_protocol import guarded_protocol
from chronoduck.logs import get_logger
from chronoduck.settings import Settings, TransportSettings

__all__ = ["server_config"]

_BACKLOG = 2048
_OTHER_FILES = 512
"""Descriptors for the database, its replica, spill files and backups."""


def server_config(app: FastAPI, settings: Settings, tls: ssl.SSLContext | None) -> uvicorn.Config:
    """Return the server's configuration: the guarded protocol, and TLS if there is a context.

    Raises this process's limit of open files to what the connections need.
    """
    limits = _within_file_limit(settings.transport)
    return uvicorn.Config(
        app,
        http=guarded_protocol(limits, tls),  # type: ignore[arg-type] # only called
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # ForwardedMiddleware does it, by our settings
        backlog=_BACKLOG,
        timeout_keep_alive=int(settings.transport.http_keep_alive),
        timeout_graceful_shutdown=int(settings.shutdown_grace) + 1,
    )


def _within_file_limit(transport: TransportSettings) -> TransportSettings:
    """Let this process open as many files as the connections need, or lower their number.

    The soft limit is 1,024 on many systems for the sake of programs that call select(); nothing here
    does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = transport.http_max_connections + _OTHER_FILES
    may_have = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < may_have:
        resource.setrlimit(resource.RLIMIT_NOFILE, (may_have, hard))
    if may_have == wanted:
        return transport
    connections = max(8, may_have - _OTHER_FILES)
    get_logger("service").warning(
        "fewer_connections",
        reason=f"this process may open {may_have} files",
        max_connections=connections,
    )
    return transport.model_copy(update={"http_max_connections": connections})
