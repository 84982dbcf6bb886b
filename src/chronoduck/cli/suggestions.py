"""Commands that people look for under another name than ours; a mistyped one is typer's to find."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

__all__ = ["SuggestingGroup"]

_MEANT = {"health": "status", "check": "doctor", "start": "serve", "run": "serve"}


class SuggestingGroup(TyperGroup):
    """The commands of ``chronoduck``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or name the one that was meant."""
        meant = _MEANT.get(args[0]) if args and args[0] not in self.commands else None
        if meant is not None:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{meant}'?")
        return super().resolve_command(ctx, args)
