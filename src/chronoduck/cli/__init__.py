"""The command line: one command per file, ``--json`` everywhere, exit codes of sysexits.h.

Talks to the service by HTTP when one is running and opens the file itself when none is.
"""
