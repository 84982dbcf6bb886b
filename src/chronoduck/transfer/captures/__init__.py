"""Captures: what an index or a web archive says of each page that was crawled, as rows.

Knows the formats of web archiving (CDX, CDXJ, WARC, ARC, WACZ) and the table of captures.
"""
