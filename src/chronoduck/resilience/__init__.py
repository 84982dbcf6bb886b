"""Pure policies: when to refuse, when to wait, when to try again.

Nothing here knows DuckDB, HTTP or settings; the time is asked of a clock that is passed in.
"""
