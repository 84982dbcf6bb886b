"""Scopes, as far as texts tell: what a SELECT names, row filters, and the views of a scope.

The catalogs themselves, which need an instance, are made in ``engine/scopes``.
"""
