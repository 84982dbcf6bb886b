"""Who asks: the admin token, API keys, tokens of a platform. Must not know HTTP, statements or DuckDB.

``authentication`` is the door; everything that can fail there is refused.
"""
