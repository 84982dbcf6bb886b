"""The continuous replica: what is shipped while the service runs, and what is restored from it.

Reads the database file and its log as bytes, in a process of its own. Must not know statements,
HTTP or the command line. DESIGN.md beside this file tells how and why.
"""
