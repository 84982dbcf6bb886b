"""Work that a file declares: reading the file, and what is known of each piece, kept in the database.

Must not know what the work is: syncs and exports build on it.
"""

from chronoduck.declared.file import DECLARED, NAME, named, read_declared
from chronoduck.declared.state import RunState, StateSession, StateTable

__all__ = [
    "DECLARED",
    "NAME",
    "RunState",
    "StateSession",
    "StateTable",
    "named",
    "read_declared",
]
