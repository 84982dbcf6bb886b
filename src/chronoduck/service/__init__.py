"""The door: every statement from every user passes here, one at a time or in a transaction.

Knows admission, breaker, deadlines, results and templates. Must not know HTTP, the command line or
its peers (transfer, monitoring, auth): it declares what it needs of them as protocols.
"""
