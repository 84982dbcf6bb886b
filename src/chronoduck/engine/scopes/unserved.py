"""Checking a scope while nobody serves the database: its file is looked at, or the filters alone."""

from __future__ import annotations

from pathlib import Path

import duckdb

from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.scopes.registry import make_catalog, plan_for, refuse_problems
from chronoduck.principals import Scope
from chronoduck.sql.scopes.filters import check_form
from chronoduck.sql.scopes.names import Syntax
from chronoduck.sql.scopes.plan import CATALOG_PREFIX

__all__ = ["check_unserved"]

_CONFIG = OPENING_OPTIONS | {
    "enable_external_access": "false",
    "memory_limit": "500MB",
    "threads": "1",
}


def check_unserved(database: Path, scope: Scope) -> None:
    """Refuse a scope that the database file could not keep.

    Without a file, or when it cannot be opened now, whether the filters are conditions at all is
    what can be said; the service leaves out what it cannot grant.

    Raises:
        InvalidRequestError: names everything that is wrong.
    """
    syntax = Syntax()
    try:
        for grant in scope.tables:
            if grant.row_filter is not None:
                check_form(grant.row_filter, grant.name, syntax)
        if not database.exists():
            return
        try:
            connection = duckdb.connect(str(database), read_only=True, config=_CONFIG)
        except duckdb.Error:
            return
        with connection:
            wanted = plan_for(connection, scope, syntax)
            made = make_catalog(connection, wanted, f"{CATALOG_PREFIX}1")
    finally:
        syntax.close()
    refuse_problems(made)
