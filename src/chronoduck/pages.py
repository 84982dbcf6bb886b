"""The pages of the documentation, as the wheel has them: the README, ``docs/`` and the runbooks.

``README.md`` and ``docs`` beside this file are links to those of the repository, and files in the wheel.
Links between pages lead to the same place in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from chronoduck.errors import NotFoundError

__all__ = [
    "Topic",
    "close_topic",
    "read_command",
    "read_index",
    "read_page",
    "read_runbook",
    "runbook_names",
    "topics",
]

_ROOT = Path(__file__).parent
_DOCS = _ROOT / "docs"
_RUNBOOKS = _DOCS / "runbooks"
_INDEX = "README"


@dataclass(frozen=True)
class Topic:
    """A page that has a line in the README's table."""

    name: str
    line: str


def topics() -> list[Topic]:
    """Return the pages with what the README says of them, in its order, and the README itself."""
    found = {topic.name: topic for topic in _listed((_ROOT / f"{_INDEX}.md").read_text("utf-8"))}
    rest = [Topic(name, "") for name in sorted(_page_names()) if name not in found]
    return [Topic("readme", "what it is, and the first steps"), *found.values(), *rest]


def _listed(readme: str) -> Iterator[Topic]:
    """Yield the rows of the README's table; a row may name several pages."""
    for row in readme.splitlines():
        cells = row.split(" | ")
        for part in cells[0].split("](")[1:] if len(cells) == 2 else ():
            path = Path(part.partition(")")[0])
            if path.parts[:1] == ("docs",) and (_ROOT / path).is_file():
                name = "runbooks" if path.stem == _INDEX else path.stem
                yield Topic(name, cells[1].removesuffix("|").strip())


def _page_names() -> set[str]:
    return {path.stem for path in _DOCS.glob("*.md")}


def read_page(name: str) -> str | None:
    """Return a page or a runbook as Markdown; None: there is none of that name."""
    if name in ("readme", _INDEX):
        return (_ROOT / f"{_INDEX}.md").read_text(encoding="utf-8")
    if name == "runbooks":
        return read_index()
    if name in _page_names():
        return (_DOCS / f"{name}.md").read_text(encoding="utf-8")
    return read_runbook(name) if name in runbook_names() else None


def read_command(name: str) -> str | None:
    """Return what the page of the command line says of a command; None: there is none of that name."""
    text = (_DOCS / "cli.md").read_text(encoding="utf-8")
    _, heading, rest = text.partition(f"## `chronoduck {name}`\n")
    return heading + rest.partition("\n## ")[0] if heading else None


def close_topic(name: str) -> str | None:
    """Return the page or runbook whose name is most like this one."""
    names = [topic.name for topic in topics()] + runbook_names()
    return next(iter(get_close_matches(name.lower(), names, n=1)), None)


def runbook_names() -> list[str]:
    """Return the names of the runbooks, sorted."""
    return sorted(path.stem for path in _RUNBOOKS.glob("*.md") if path.stem != _INDEX)


def read_index() -> str:
    """Return the list of the runbooks by alert and by symptom, as Markdown."""
    return (_RUNBOOKS / f"{_INDEX}.md").read_text(encoding="utf-8")


def read_runbook(name: str) -> str:
    """Return a runbook as Markdown.

    Raises:
        NotFoundError: there is none of that name.
    """
    if name not in runbook_names():  # never a path made of a stranger's text
        raise NotFoundError(
            "there is no runbook of that name", hint="`chronoduck help runbooks` lists all of them."
        )
    return (_RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
