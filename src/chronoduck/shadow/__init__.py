"""The shadow: a process that replays the WAL on a private copy to find out if a start would succeed.

``link`` is the service's side and implements ``engine.proving.Prover``. Everything else runs in the
shadow's own process, which imports DuckDB and the file format and nothing of the service, so that
it starts in 0.2 s and takes 50 MB. It never opens a DuckDB instance itself: each attempt runs in a
child that may crash, hang or be killed.
"""
