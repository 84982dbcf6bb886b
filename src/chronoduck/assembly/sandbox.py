"""The walls around one service: demanded at its start, told to operators while it runs."""

from __future__ import annotations

from typing import Any

from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.instance_walls import instance_absences
from chronoduck.engine.kernel.enclosure import KernelWalls
from chronoduck.engine.kernel.trial import try_walls
from chronoduck.errors import DuckDBException
from chronoduck.monitoring.sandbox import (
    absences_now,
    check_demanded,
    kernel_walls_of,
    sandbox_report,
)
from chronoduck.settings import Settings

__all__ = ["Sandbox"]


class Sandbox:
    """What is known of the walls. Those of the engine are locked: they are asked for at each start."""

    def __init__(self, settings: Settings, *, is_supervised: bool) -> None:
        self._settings = settings
        self._is_supervised = is_supervised
        self._engine: dict[str, str] = {}
        self._kernel: dict[KernelWalls, str] | None = None
        self._found: dict[str, str] = {}

    def check(self, instance: DuckDBInstance) -> None:
        """Look at the walls of an instance that was just opened. Blocks.

        Raises:
            SettingsError: a wall that ``DUCKDB_REQUIRE_SANDBOX`` demands does not stand.
        """
        demanded = self._settings.require_sandbox
        if kernel_walls_of(demanded):
            self._kernel = try_walls()
        try:
            self._engine = instance_absences(instance)
        except DuckDBException as error:
            self._engine = {"engine": error.detail}
        self.look()
        check_demanded(demanded, self._found)

    def report(self) -> dict[str, Any]:
        """Return what is demanded and which walls stood, for operators: paths may be in it."""
        return sandbox_report(self._settings.require_sandbox, self._found)

    def look(self) -> None:
        """Look at the walls; blocks."""
        self._found = absences_now(
            self._settings,
            self._engine,
            is_supervised=self._is_supervised,
            kernel=self._kernel,
        )
