"""Rules of the guard: what a statement may do before it reaches the engine.

They know roles and DuckDB's grammar; they know nothing of HTTP, keys or results. ``sql/guard.py`` is the
way in, ``refusals.py`` the list of rules, ``functions.py`` the list of functions.
"""
