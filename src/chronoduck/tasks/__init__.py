"""Long work on the database's files, each piece in a process of its own beside the service.

The service must not open its database file a second time: closing it would drop the engine's lock.
"""
