"""SQL texts read without a database: their characters, their tokens, what they name and bind to.

Text in, facts out. It knows DuckDB's grammar; it knows no roles, no users' data and no connection to
them.
"""
