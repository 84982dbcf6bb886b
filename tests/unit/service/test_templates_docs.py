"""docs/templates.md tells of every shipped template, and its example works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chronoduck.service.templates import Parameter, TemplateLibrary
from chronoduck.service.templates.parameters import TYPES
from chronoduck.sql.statements import StatementParser

PAGE = (Path(__file__).parents[3] / "docs" / "templates.md").read_text()


@pytest.fixture(scope="module")
def parser() -> Iterator[StatementParser]:
    opened = StatementParser()
    yield opened
    opened.close()


def as_documented(parameter: Parameter) -> str:
    default = parameter.describe().get("default")
    if parameter.required:
        return f"`{parameter.name}`"
    return f"`{parameter.name}={'null' if default is None else default}`"


def test_every_shipped_template_is_documented_with_its_parameters(parser: StatementParser) -> None:
    library = TemplateLibrary.load([], parser.parse)
    documented = {
        name: (answers, parameters)
        for name, answers, parameters in re.findall(
            r"^\| `([a-z-]+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", PAGE, re.MULTILINE
        )
    }
    assert documented == {
        name: (
            library.get(name).description,
            ", ".join(as_documented(parameter) for parameter in library.get(name).parameters),
        )
        for name in library.names()
    }


def test_every_type_is_documented() -> None:
    for kind in TYPES:
        assert f"\n| `{kind}` |" in PAGE


def test_the_example_is_a_valid_template(tmp_path: Path, parser: StatementParser) -> None:
    example = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)[0]
    (tmp_path / "example.sql").write_text(example)
    template = TemplateLibrary.load([tmp_path], parser.parse).get("pages-in-language")
    assert template.bind({"language": "en"})["min_words"] == 100
