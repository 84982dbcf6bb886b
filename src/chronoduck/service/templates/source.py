"""A template's file: its text, and errors that name the file and the line."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources.abc import Traversable

from chronoduck.errors import TemplateError
from chronoduck.errors.system import reason_of

__all__ = ["TemplateSource"]


@dataclass(frozen=True)
class TemplateSource:
    """``label`` names the file without its directory, ``path`` is for the operator only."""

    label: str
    path: str
    text: str = ""

    @classmethod
    def read(cls, file: Traversable, *, is_shipped: bool) -> TemplateSource:
        """Return the file's text, with line ends as ``\\n``.

        Raises:
            TemplateError: it is not a readable file, or not UTF-8.
        """
        source = cls(f"shipped {file.name}" if is_shipped else file.name, str(file))
        # Reading a pipe would wait for ever, so only files are opened.
        if not file.is_file():
            raise source.error(1, "is not a file", "Remove or rename it: *.sql are templates.")
        try:
            content = file.read_bytes()
        except OSError as error:
            raise source.error(
                1,
                f"cannot be read ({reason_of(error)})",
                "Let the service's user read it, or move it away.",
            ) from error
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise source.error(line, "is not UTF-8 text", "Save the file as UTF-8.") from error
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            raise source.error(line, "holds a NUL byte", "Remove it.")
        return cls(source.label, source.path, text.replace("\r\n", "\n"))

    def error(self, line: int, problem: str, fix: str) -> TemplateError:
        """Return the error for a line, counted from 1."""
        return TemplateError(
            f"{self.label}:{line}: {problem}",
            hint=fix,
            operator_detail=f"{self.path}:{line}: {problem}",
        )
