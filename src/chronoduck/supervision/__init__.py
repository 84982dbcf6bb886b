"""The process above the server: it holds the listening socket and never runs a statement.

It must stay light and cannot be brought down by what it watches over, so it imports nothing but the
standard library and pure policies: no settings, no logging library, no engine. What it must know it
is told by the server. ``python -m chronoduck serve`` is where it begins, see ``__main__``.
"""
