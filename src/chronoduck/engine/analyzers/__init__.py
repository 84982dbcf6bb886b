"""Analyzers: processes that read users' SQL, so that no text can stop or break the service.

DuckDB's parser and tokenizer hold the interpreter's lock: 1.2 KB of ROLLUP kept the whole service
waiting for 8 s. So the guard runs in processes of its own. ``Analysis`` is what the service asks;
``AnalyzerPool`` shares the processes out among principals; ``Nursery`` forks them; ``analyst`` is what
runs inside. An analyzer has no files, no network and no secrets.
"""
