"""``chronoduck serve``: the service on a port, until a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

import typer
import uvicorn
import uvloop

from chronoduck.api import create_app
from chronoduck.api.http_server import server_config
from chronoduck.api.tls import tls_context
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.authentication import check_credentials
from chronoduck.cli.exposure import exposures
from chronoduck.cli.leaving import LeavingServer
from chronoduck.cli.output import errors, plain
from chronoduck.cli.reloading import Reloading
from chronoduck.cli.succession import Succession, warm_up
from chronoduck.cli.target import DatabaseOption, JsonOption
from chronoduck.engine.encoding import close_private_engines, open_private_engines
from chronoduck.engine.memory import limit_address_space
from chronoduck.engine.ownership import wait_for_orphan
from chronoduck.errors import DuckDBResourceError, SettingsError
from chronoduck.errors.system import reason_of
from chronoduck.logs import configure_logging, get_logger
from chronoduck.resilience.standing_threads import standing_threads
from chronoduck.settings import Settings, load_settings
from chronoduck.supervision.link import Handover, SupervisorLink

__all__ = ["UMASK", "PortInUseError", "run_loop", "serve", "serve_until_stopped", "take_over"]

UMASK = 0o027
"""For all files of a service, its log's too: nothing for others, and only reading for its group."""
_BEAT_SECONDS = 0.25
_BEATS_BEFORE_WARMTH = 8
"""After so many analyzers start though nobody needs one yet: the first statement must not wait 0.4 s."""
_STOP_SLACK_SECONDS = 20.0
"""What closing the database and shipping the rest may take at an orderly end, beyond the grace."""


_ORPHAN_SECONDS = 10.0
"""How long a server whose supervisor was killed may take to let go of the file and the port."""
_WORTH_TELLING_SECONDS = 0.01


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
    link, handover = take_over()
    overrides = {"host": host, "port": port, "database_path": database}
    settings = load_settings(**{key: value for key, value in overrides.items() if value})
    os.umask(UMASK)
    configure_logging(settings)
    succession = Succession(link, handover)

    def on_ready(url: str) -> None:
        if handover.listener is None and sys.stderr.isatty() and settings.log_format != "json":
            _print_address(settings, url)

    run_loop(serve_until_stopped(settings, succession, on_ready))


def _print_address(settings: Settings, url: str) -> None:
    """Say where the service is, to whoever started it in a terminal."""
    errors.print(f"\n[bold]{plain(settings.database_path)}[/] is served at [bold]{url}[/]")
    errors.print(f"  docs and API  {url}/docs/api/duckdb")
    errors.print(f"  admin token   in the file {plain(settings.token_path)}", soft_wrap=True)
    errors.print("  Ctrl-C stops it.\n")


def take_over() -> tuple[SupervisorLink, Handover]:
    """Wait until this process is to be the server; become the supervisor if nobody supervises it."""
    link = SupervisorLink.from_environment()
    if link is None:
        # Started by another way than `__main__`. A supervisor must not keep what was imported here.
        os.execv(sys.executable, [sys.executable, "-P", "-m", "chronoduck", *sys.argv[1:]])  # noqa: S606
    warm_up()
    return link, link.wait_until_needed()


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
                f"{settings.host} port {settings.port} cannot be listened on: {reason_of(error)}",
                hint="DUCKDB_HOST is an address of this machine, such as 127.0.0.1 or 0.0.0.0; "
                "ports below 1024 need privileges.",
            ) from error
        raise PortInUseError(
            f"port {settings.port} on {settings.host} cannot be used: {reason_of(error)}",
            hint=f"Stop the process that has it (ss -ltnp 'sport = :{settings.port}'), "
            f"or choose another port: --port {settings.port + 1} or DUCKDB_PORT.",
        ) from error
    return listener


async def serve_until_stopped(
    settings: Settings,
    succession: Succession,
    on_ready: Callable[[str], None] = lambda url: None,
    prepare: Callable[[DuckDBService], Awaitable[None]] | None = None,
) -> None:
    """Open the service, ``prepare`` it, serve it, call ``on_ready`` with its URL; drain at a signal.

    Raises:
        PortInUseError: the port is taken; the database was not touched.
        DuckDBConnectionError: the database cannot be opened.
    """
    os.umask(UMASK)
    service = DuckDBService(
        settings,
        on_stuck=succession.begin,
        restarts=succession.restart_history,
        on_opening=succession.link.opening,
        record=succession.link.running,
    )
    for exposure in exposures(settings):
        get_logger("service").warning(exposure.id, reason=exposure.finding, fix=exposure.fix)
    # Once a statement takes all memory, what the others need must be there already.
    threads = standing_threads(min(32, (os.cpu_count() or 1) + 4), "chronoduck-thread")
    asyncio.get_running_loop().set_default_executor(threads)
    await asyncio.to_thread(open_private_engines)
    limit = limit_address_space(settings)
    waited = await asyncio.to_thread(wait_for_orphan, settings.database_path, _ORPHAN_SECONDS)
    if waited > _WORTH_TELLING_SECONDS:
        get_logger("service").warning("waited_for_orphaned_server", seconds=round(waited, 3))
    listener = succession.handover.listener or _open_and_share(settings, succession.link)
    succession.log_predecessor()
    get_logger("service").info("address_space_limited", limit_bytes=limit)
    try:
        # The application does this too; there an error would end in the server's stack trace.
        await asyncio.to_thread(check_credentials, settings)
        await service.initialize()
        if prepare is not None:
            await prepare(service)
        # What lives from now on lives for ever: the collector need not look at it for each request.
        gc.collect()
        gc.freeze()
        app, tls = create_app(service), tls_context(settings.transport)
        config = server_config(app, settings, tls)
        server = LeavingServer(config, app.state.access, settings.shutdown_delay)
        reloading = Reloading(service, app, tls)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.begin)
        succession.attach(server, service)
        # The server sends itself the signal again once it has stopped; by then we are done.
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: None)
        url = f"{settings.transport.scheme}://{_for_url(settings.host)}:{settings.port}"
        ready = asyncio.create_task(
            _announce_when_ready(server, service, url, succession.link, on_ready)
        )
        try:
            await server.serve(sockets=[listener])
        finally:
            ready.cancel()
            succession.link.ending()
    finally:
        listener.close()
        await service.shutdown()
        close_private_engines()


def _open_and_share(settings: Settings, link: SupervisorLink) -> socket.socket:
    listener = open_socket(settings)
    transport = settings.transport
    files = [str(path) for path in (transport.tls_cert_file, transport.tls_key_file) if path]
    link.bound(
        listener,
        standby=settings.standby,
        silent_seconds=settings.silent_seconds,
        stop_seconds=settings.shutdown_delay + 2 * settings.shutdown_grace + _STOP_SLACK_SECONDS,
        tls=files or None,
    )
    return listener


async def _announce_when_ready(
    server: uvicorn.Server,
    service: DuckDBService,
    url: str,
    link: SupervisorLink,
    on_ready: Callable[[str], None],
) -> None:
    """Tell others where the service is, and the supervisor again and again that it lives."""
    while not server.started:  # noqa: ASYNC110 - the server has no event to wait for
        await asyncio.sleep(0.01)
    await service.announce(url)
    get_logger("service").info("serving", url=url, token_file=str(service.settings.token_path))
    link.serving()
    on_ready(url)
    beats = 0
    while True:
        link.beat()
        await asyncio.sleep(_BEAT_SECONDS)
        beats += 1
        if beats == _BEATS_BEFORE_WARMTH and service.is_initialized:
            (await service.parts()).runner.analysis.warm()


def _for_url(host: str) -> str:
    """Return the address that a client on this machine uses."""
    if host in ("0.0.0.0", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
