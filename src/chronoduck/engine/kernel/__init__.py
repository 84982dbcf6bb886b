"""Kernel walls: Landlock and seccomp, by system calls alone.

A process gives up rights here and never gets them back. Nothing but the standard library is imported,
because the processes that parse strangers' input must stay small.
"""
