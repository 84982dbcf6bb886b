"""What the judges of a statement ask about names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chronoduck.sql.definitions import Expansion

__all__ = ["Names"]


class Names(Protocol):
    """What names stand for: the macros and views of the database."""

    is_trusted: bool
    """Whether it is DuckDB's own text, which is measured and not judged."""
    may_write: bool
    may_read_stores: bool
    """Whether files in S3 may be read, by their addresses as literals."""
    trusts_parameters: bool
    """Whether parameters are checked before they are bound, as those of templates are."""

    def macro(self, name: str) -> Expansion | None:
        """Return what a macro stands for, None if there is none of that name."""
        ...

    def has_macro(self, name: str) -> bool:
        """Whether the database itself, not DuckDB, has a macro of that name."""
        ...

    def view(self, name: str) -> Expansion | None:
        """Return what a view stands for, None if there is none of that name."""
        ...

    def is_table(self, path: Sequence[str]) -> bool:
        """Whether a name that could be taken for a file's is a table's; noted for a look at run time.

        ``path``: the name's parts as DuckDB reads them.
        """
        ...

    def is_builtin(self, name: str) -> bool:
        """Whether DuckDB brings a function of that name."""
        ...
