"""The guard: judges what a statement may do before it reaches the engine.

It knows roles and DuckDB's grammar; it knows nothing of HTTP, keys or results. ``judge.py`` is the
way in, ``rules.py`` the list of rules, ``functions.py`` the list of functions.
"""
