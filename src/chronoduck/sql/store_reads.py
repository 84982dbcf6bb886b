"""Objects of S3 that a statement reads by name, and the statement with files in their place.

Without the httpfs extension DuckDB reads no S3. The objects are fetched into files first; what the engine
runs then names the files. Only calls that the guard lets an admin make are found: one literal address.
"""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from chronoduck.sql.rules.calls import is_store_address
from chronoduck.sql.rules.functions import STORE_READERS
from chronoduck.sql.tokens import Token, read_tokens

__all__ = ["FetchedObjects", "defines_what_stays", "store_addresses", "with_files"]


class FetchedObjects:
    """The directory of a statement's objects; it goes when nothing holds this any more.

    A thread of its own removes it: whoever lets go of this last may be the event loop.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files: Mapping[str, Sequence[Path]] = {}
        """Those of each address."""
        self._finalizer = weakref.finalize(self, _remove, directory)

    def remove(self) -> None:
        """Begin to remove the files now. Idempotent."""
        self._finalizer()


def _remove(directory: Path) -> None:
    thread = threading.Thread(target=shutil.rmtree, args=(directory, True), name="objects-removal")
    try:
        thread.start()
    except RuntimeError:  # the interpreter ends, or has no thread left
        shutil.rmtree(directory, ignore_errors=True)


def store_addresses(sql: str) -> tuple[str, ...]:
    """Return the addresses of objects that a statement reads, each once."""
    if "s3://" not in sql:
        return ()
    return tuple(dict.fromkeys(token.text for token in _reads(sql)))


def with_files(sql: str, files: Mapping[str, Sequence[Path]]) -> str:
    """Return the statement with lists of files in place of addresses."""
    data = sql.encode(errors="surrogatepass")
    pieces, done = [], 0
    for token in _reads(sql):
        paths = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files[token.text])
        pieces += [data[done : token.start], f"[{paths}]".encode()]
        done = token.end
    return b"".join([*pieces, data[done:]]).decode(errors="surrogatepass")


def defines_what_stays(sql: str) -> bool:
    """Whether the statement makes a view or a macro, which would go on to name the files."""
    words = [token.text for token in read_tokens(sql) if token.kind == "word"]
    made = words[: words.index("as")] if "as" in words else words
    return bool(words) and words[0] == "create" and bool({"view", "macro", "function"} & set(made))


def _reads(text: str) -> Iterator[Token]:
    """Yield the literals that are the one argument of a function which reads objects."""
    tokens = read_tokens(text)
    for index in range(len(tokens) - 3):
        name, opening, literal, end = tokens[index : index + 4]
        if (
            name.is_name
            and name.text in STORE_READERS
            and (opening.kind, opening.text) == ("operator", "(")
            and literal.kind == "string"
            and is_store_address(literal.text)
            and (end.kind, end.text) == ("operator", ")")
        ):
            yield literal
