"""The templates as they will run: judged as a viewer's statements."""

from __future__ import annotations

from contextlib import closing

from chronoduck.principals import Role
from chronoduck.service.templates import TemplateLibrary
from chronoduck.settings import Settings
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import Statement, StatementParser

__all__ = ["load_templates"]


def load_templates(settings: Settings, parser: StatementParser) -> TemplateLibrary:
    """Return the shipped templates and those of the operator's directory; reads files.

    Raises:
        TemplateError: one of them is broken.
    """
    directory = settings.templates_directory
    with closing(Guard(parser)) as guard:

        def check(sql: str) -> Statement:
            return guard.judge(sql, Role.VIEWER, "template")

        return TemplateLibrary.load([directory] if directory else [], check)
