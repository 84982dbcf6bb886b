"""Catalogs of scopes: what of the database a principal with a scope can see.

For each scope there is a catalog in memory with a view for each table or view that was granted, of
the same schema and name; a scoped statement runs on a connection that sees this catalog instead
of the database. ``sql/scopes`` refuses what could lead out of it. It knows nothing of keys, sessions
and HTTP.
"""
