"""SQL texts: their tokens and trees, what they name and bind to, and the rules over that.

Text in, facts out. It knows roles and DuckDB's grammar; it knows no users' data and no connection to
them.
"""
