"""SIGHUP: what is read again without a restart, and what is not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from fastapi import FastAPI

from chronoduck.api.tls import reload_certificate
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.templates import load_templates
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger, reopen_log
from chronoduck.sql.statements import StatementParser

__all__ = ["Reloading"]


class Reloading:
    """Reads files again while requests go on; what cannot be used leaves the old in its place."""

    def __init__(self, service: DuckDBService, app: FastAPI, tls: ssl.SSLContext | None) -> None:
        self._service = service
        self._app = app
        self._tls = tls
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Reload in the background, one after the other; call it on the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._reload(self._task))

    async def _reload(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        reopen_log()  # first: what follows is to be found in the new file
        parts: dict[str, Callable[[], None]] = {"templates": await self._new_templates()}
        if self._tls is not None:
            parts["certificate"] = self._new_certificate
        reloaded = [
            "log_file",
            *[name for name, load in parts.items() if await _attempt(name, load)],
        ]
        get_logger("service").info(
            "reloaded",
            parts=reloaded,
            by_themselves=["admin_token", "api_keys", "platform_keys"],
            needs_restart="settings: they come from the environment, which does not change",
        )

    async def _new_templates(self) -> Callable[[], None]:
        library = await self._service.templates()

        def load() -> None:
            parser = StatementParser()
            try:
                library.adopt(load_templates(self._service.settings, parser))
            finally:
                parser.close()
            self._app.openapi_schema = None  # made anew when it is asked for

        return load

    def _new_certificate(self) -> None:
        assert self._tls is not None  # noqa: S101 - the caller has looked
        reload_certificate(self._tls, self._service.settings.transport)


async def _attempt(part: str, load: Callable[[], None]) -> bool:
    try:
        await asyncio.to_thread(load)
    except DuckDBException as error:
        get_logger("service").error(
            "reload_failed", part=part, reason=error.operator_detail, fix=error.hint
        )
        return False
    return True
