"""Rows as documents of an index: made, sent, followed until they are there."""
