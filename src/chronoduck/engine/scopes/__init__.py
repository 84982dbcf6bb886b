"""Narrowing: what of the database a principal with a scope can see.

For each scope there is a catalogue in memory with a view for each table or view that was granted, of
the same schema and name; a narrowed statement runs on a connection that sees this catalogue instead
of the database. What could lead out of it is refused by a walk of the parsed statement. It knows
nothing of keys, sessions and HTTP. Its modules are imported one by one: an analyzer's process reads
``names`` without the rest.
"""
