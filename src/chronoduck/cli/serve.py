"""``chronoduck serve``: the service on a port, until a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

import typer
import uvicorn
import uvloop

from chronoduck.api import create_app
from chronoduck.api.http_server import server_config
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.authentication import check_credentials
from chronoduck.cli.exposure import exposures
from chronoduck.cli.target import DatabaseOption, JsonOption
from chronoduck.engine.encoding import close_private_engines
from chronoduck.errors import DuckDBResourceError, SettingsError
from chronoduck.logs import configure_logging, get_logger
from chronoduck.settings import Settings, load_settings

__all__ = ["UMASK", "PortInUseError", "end_process", "run_loop", "serve", "serve_until_stopped"]

UMASK = 0o027
"""For all files of a service, its log's too: nothing for others, and only reading for its group."""
_EXIT_TRY_AGAIN = 75


class PortInUseError(DuckDBResourceError):
    """Another process listens on the port."""

    code = "port_in_use"
    title = "Port in use"


def serve(
    host: Annotated[str | None, typer.Option(help="Address; default DUCKDB_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default DUCKDB_PORT.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the database file on a port until SIGTERM or Ctrl-C."""
    overrides = {"host": host, "port": port, "database_path": database}
    settings = load_settings(**{key: value for key, value in overrides.items() if value})
    os.umask(UMASK)
    configure_logging(settings)
    run_loop(serve_until_stopped(DuckDBService(settings, on_stuck=end_process), lambda url: None))


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine on uvloop: half the cost of asyncio's own loop per request."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def open_socket(settings: Settings) -> socket.socket:
    """Return a bound socket.

    Raises:
        PortInUseError: another process listens there.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it. Without it a response of two writes waits 40 ms for the ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise SettingsError(
                f"{settings.host} port {settings.port} cannot be listened on: {error.strerror}",
                hint="DUCKDB_HOST is an address of this machine, such as 127.0.0.1 or 0.0.0.0; "
                "ports below 1024 need privileges.",
            ) from error
        raise PortInUseError(
            f"port {settings.port} on {settings.host} cannot be used: {error.strerror}",
            hint=f"Stop the process that has it (ss -ltnp 'sport = :{settings.port}'), "
            f"or choose another port: --port {settings.port + 1} or DUCKDB_PORT.",
        ) from error
    return listener


def end_process() -> None:
    """End like a crash: what was acknowledged is in the file and its log, and a restart opens them."""
    get_logger("service").error(
        "process_ends", reason="the failed database cannot be closed here; start the service again"
    )
    logging.shutdown()
    os._exit(_EXIT_TRY_AGAIN)


async def serve_until_stopped(
    service: DuckDBService,
    on_ready: Callable[[str], None],
    prepare: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Open the service, ``prepare`` it, serve it, call ``on_ready`` with its URL; drain at a signal.

    Raises:
        PortInUseError: the port is taken; the database was not touched.
        DuckDBConnectionError: the database cannot be opened.
    """
    settings = service.settings
    os.umask(UMASK)
    for exposure in exposures(settings):
        get_logger("service").warning(exposure.id, reason=exposure.finding, fix=exposure.fix)
    listener = open_socket(settings)
    try:
        # The application does this too; there an error would end in the server's stack trace.
        check_credentials(settings)
        await service.initialize()
        if prepare is not None:
            await prepare()
        # What lives from now on lives for ever: the collector need not look at it for each request.
        gc.collect()
        gc.freeze()
        config = server_config(create_app(service), settings)
        server = uvicorn.Server(config)
        # The server sends itself the signal again once it has stopped; by then we are done.
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: None)
        url = f"{settings.transport.scheme}://{_for_url(settings.host)}:{settings.port}"
        ready = asyncio.create_task(_announce_when_ready(server, service, url, on_ready))
        try:
            await server.serve(sockets=[listener])
        finally:
            ready.cancel()
    finally:
        listener.close()
        await service.shutdown()
        close_private_engines()


async def _announce_when_ready(
    server: uvicorn.Server, service: DuckDBService, url: str, on_ready: Callable[[str], None]
) -> None:
    while not server.started:  # noqa: ASYNC110 - the server has no event to wait for
        await asyncio.sleep(0.01)
    service.announce(url)
    on_ready(url)


def _for_url(host: str) -> str:
    """Return the address that a client on this machine uses."""
    if host in ("0.0.0.0", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
