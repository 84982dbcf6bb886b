"""Which template files are accepted, and what the error for a broken one says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chronoduck.errors import TemplateError, TemplateNotFoundError
from chronoduck.service.templates import Template, TemplateLibrary
from chronoduck.sql.statements import StatementParser

HEAD = "-- name: mine\n-- description: Something.\n"


@pytest.fixture(scope="module")
def parser() -> Iterator[StatementParser]:
    opened = StatementParser()
    yield opened
    opened.close()


@pytest.fixture
def load(tmp_path: Path, parser: StatementParser) -> Callable[[str | bytes], Template]:
    """Return the template of one file's content."""

    def load_one(content: str | bytes) -> Template:
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / "mine.sql").write_bytes(content)
        return TemplateLibrary.load([tmp_path], parser.parse).get("mine")

    return load_one


def test_every_form_of_parameter_is_understood(load: Callable[[str], Template]) -> None:
    template = load(
        "-- name: mine\n"
        "-- description: Something that\n"
        "--     takes two lines.\n"
        "--\n"
        "-- param a: integer; Required.\n"
        "-- param b: integer = 5, min -3, max 10; First; second: 'third'.\n"
        "-- param c: number = 2.5, max 1e3; A number.\n"
        "-- param d: string = 'it''s; so', min 1,\n"
        "--     max 20; Two lines too.\n"
        "-- param e: string = day, in (day, 'one week'); A choice.\n"
        "-- param f: string = null, pattern '[a-z]{1,3}(;|'')?'; A pattern.\n"
        "-- param g: date = 2024-02-29, min 2000-01-01; A date.\n"
        "-- param h: timestamp = 2024-01-01T12:00:00+02:00; A moment.\n"
        "-- param i: boolean = false; A truth.\n"
        "-- param j: string = 'null'; A word.\n"
        "\n"
        "-- A comment of the SQL: not front matter.\n"
        "SELECT $a, $b, $c, $d, $e, $f, $g, $h, $i, $j;\n"
    )
    assert template.description == "Something that takes two lines."
    assert template.sql.startswith("-- A comment of the SQL")
    described = {p.pop("name"): p for p in template.describe()["parameters"]}
    assert described == {
        "a": {"type": "integer", "description": "Required.", "required": True},
        "b": {
            "type": "integer",
            "description": "First; second: 'third'.",
            "required": False,
            "default": 5,
            "min": -3,
            "max": 10,
        },
        "c": {
            "type": "number",
            "description": "A number.",
            "required": False,
            "default": 2.5,
            "max": 1000.0,
        },
        "d": {
            "type": "string",
            "description": "Two lines too.",
            "required": False,
            "default": "it's; so",
            "min": 1,
            "max": 20,
        },
        "e": {
            "type": "string",
            "description": "A choice.",
            "required": False,
            "default": "day",
            "choices": ["day", "one week"],
        },
        "f": {
            "type": "string",
            "description": "A pattern.",
            "required": False,
            "default": None,
            "pattern": "[a-z]{1,3}(;|')?",
        },
        "g": {
            "type": "date",
            "description": "A date.",
            "required": False,
            "default": "2024-02-29",
            "min": "2000-01-01",
        },
        "h": {
            "type": "timestamp",
            "description": "A moment.",
            "required": False,
            "default": "2024-01-01T10:00:00Z",
        },
        "i": {"type": "boolean", "description": "A truth.", "required": False, "default": False},
        "j": {"type": "string", "description": "A word.", "required": False, "default": "null"},
    }


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 1, "no name"),
        ("SELECT 1", 1, "no name"),
        ("-- name: mine\nSELECT 1", 1, "no description"),
        ("-- name:\n-- description: x\nSELECT 1", 1, "no name"),
        ("-- name: Mine\n-- description: x\nSELECT 1", 1, "'Mine' is not a name"),
        ("-- name: performance-metrics\n-- description: x\nSELECT 1", 1, "is taken"),
        (HEAD + "-- name: other\nSELECT 1", 3, r"'name' is there twice \(line 1\)"),
        (HEAD + "-- parm a: integer; x\nSELECT $a", 3, "did you mean 'param'"),
        (HEAD + "-- just a comment\nSELECT 1", 3, "is not front matter"),
        (HEAD + "-- param a: integer; x\n-- param a: date; x\nSELECT $a", 4, "is there twice"),
        (HEAD + "-- param format: string; x\nSELECT $format", 3, "is taken"),
        (HEAD + "-- param 1a: integer; x\nSELECT 1", 3, "'1a' is not a name"),
        (HEAD + "-- param a: intger; x\nSELECT $a", 3, "no type 'intger', did you mean 'integer'"),
        (HEAD + "-- param a:\nSELECT $a", 3, "no description"),
        (HEAD + "-- param a: integer\nSELECT $a", 3, "no description"),
        (HEAD + "-- param a: ; x\nSELECT $a", 3, "no type ''"),
        (HEAD + "-- param a: integer = ; x\nSELECT $a", 3, "no value behind '='"),
        (HEAD + "-- param a: string = 'x; y\nSELECT $a", 3, "no value behind '='"),
        (HEAD + "-- param a: integer = x; x\nSELECT $a", 3, "the default must be a whole number"),
        (HEAD + "-- param a: integer = 9, max 5; x\nSELECT $a", 3, "default must be 5 or less"),
        (HEAD + "-- param a: integer = 1, min 2, max 5; x\nSELECT $a", 3, "must be from 2 to 5"),
        (HEAD + "-- param a: string = abc, max 2; x\nSELECT $a", 3, "0 to 2 characters, not 3"),
        (HEAD + "-- param a: string = x, in (y, z); x\nSELECT $a", 3, "one of y, z"),
        (HEAD + "-- param a: string = x, pattern '[0-9]'; x\nSELECT $a", 3, "match the pattern"),
        (HEAD + "-- param a: integer, min 5, max 4; x\nSELECT $a", 3, "min 5 is above max 4"),
        (HEAD + "-- param a: integer, min 5, min 4; x\nSELECT $a", 3, "min is there twice"),
        (HEAD + "-- param a: integer, min x; x\nSELECT $a", 3, "min must be a whole number"),
        (HEAD + "-- param a: integer, min null; x\nSELECT $a", 3, "min cannot be null"),
        (HEAD + "-- param a: integer, mim 1; x\nSELECT $a", 3, "'mim', did you mean 'min'"),
        (HEAD + "-- param a: integer, in (1, 2); x\nSELECT $a", 3, "in is for strings"),
        (HEAD + "-- param a: boolean, max 1; x\nSELECT $a", 3, "boolean takes no max"),
        (HEAD + "-- param a: string, pattern '['; x\nSELECT $a", 3, "the pattern is wrong"),
        (HEAD + "-- param a: string, in (x; y\nSELECT $a", 3, r"expected '\)', found 'the end'"),
        (HEAD + "-- param a: string, in (); y\nSELECT $a", 3, r"no value behind 'in \('"),
        (HEAD + "-- param a: string, in (null); y\nSELECT $a", 3, "null cannot be a choice"),
        (HEAD + "-- param a: string, in (xy), max 1; y\nSELECT $a", 3, "a choice must have"),
        (HEAD + "-- param a: integer min 1; y\nSELECT $a", 3, "expected ',', found 'min'"),
        (HEAD + "-- param a: date = 2023-02-29; y\nSELECT $a", 3, "the default must be a date"),
        (HEAD + "\n-- param a: integer; y\nSELECT $a", 5, r"\$a is not declared"),
        (HEAD + "-- param limit: integer; y\nSELECT\n\n  $limt", 6, "did you mean 'limit'"),
        (HEAD + "-- param a: integer; y\nSELECT 1", 3, "parameter a is not used"),
        (HEAD + "SELECT ?", 3, r"a \? or numbered parameter"),
        (HEAD + "SELECT 1\nFROMM t WHERE a b", 4, "syntax error"),
        (HEAD + "SELECT 1; SELECT 2", 3, "2 statements"),
        (HEAD, 4, "no statement"),
        (HEAD + "\n\nDELETE FROM t", 5, "changes data"),
        (HEAD.encode() + b"SELECT 'caf\xe9'", 3, "not UTF-8"),
    ],
)
def test_a_broken_template_is_refused_with_file_line_and_fix(
    load: Callable[[str | bytes], Template], content: str | bytes, line: int, problem: str
) -> None:
    with pytest.raises(TemplateError, match=problem) as caught:
        load(content)
    assert caught.value.detail.startswith(f"mine.sql:{line}: ")
    assert caught.value.hint
    assert "/mine.sql:" in caught.value.operator_detail


def test_windows_line_ends_and_a_byte_order_mark_are_accepted(
    load: Callable[[bytes], Template],
) -> None:
    text = HEAD + "-- param a: integer; x\n\nSELECT $a,\n  'é'\n"
    template = load(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert template.sql == "SELECT $a,\n  'é'"


def test_a_template_may_not_take_the_name_of_a_shipped_one(
    tmp_path: Path, parser: StatementParser
) -> None:
    (tmp_path / "own.sql").write_text("-- name: page-stats\n-- description: x\nSELECT 1")
    with pytest.raises(TemplateError) as caught:
        TemplateLibrary.load([tmp_path], parser.parse)
    assert caught.value.detail == (
        "own.sql:1: the name 'page-stats' is taken by shipped page-stats.sql"
    )
    assert str(tmp_path / "own.sql") in caught.value.operator_detail


def test_two_own_templates_may_not_have_one_name(tmp_path: Path, parser: StatementParser) -> None:
    for file in ("a.sql", "b.sql"):
        (tmp_path / file).write_text(HEAD + "SELECT 1")
    with pytest.raises(TemplateError, match=r"b\.sql:1: .* taken by a\.sql"):
        TemplateLibrary.load([tmp_path], parser.parse)


def test_only_visible_sql_files_right_inside_the_directory_are_read(
    tmp_path: Path, parser: StatementParser
) -> None:
    (tmp_path / "mine.sql").write_text(HEAD + "SELECT 1")
    (tmp_path / "notes.txt").write_text("no template")
    (tmp_path / ".#mine.sql").symlink_to("nowhere")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.sql").write_text("broken")
    shipped = set(TemplateLibrary.load([], parser.parse).names())
    assert set(TemplateLibrary.load([tmp_path], parser.parse).names()) == shipped | {"mine"}


@pytest.mark.parametrize("kind", ["directory", "pipe", "broken link"])
def test_what_is_no_file_is_refused(tmp_path: Path, parser: StatementParser, kind: str) -> None:
    path = tmp_path / "mine.sql"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(TemplateError, match=r"mine\.sql:1: is not a file"):
        TemplateLibrary.load([tmp_path], parser.parse)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(tmp_path: Path, parser: StatementParser) -> None:
    (tmp_path / "mine.sql").write_text(HEAD + "SELECT 1")
    (tmp_path / "mine.sql").chmod(0)
    with pytest.raises(TemplateError, match="cannot be read"):
        TemplateLibrary.load([tmp_path], parser.parse)


def test_a_missing_directory_is_refused(tmp_path: Path, parser: StatementParser) -> None:
    with pytest.raises(TemplateError, match="directory cannot be read") as caught:
        TemplateLibrary.load([tmp_path / "none"], parser.parse)
    assert "DUCKDB_TEMPLATES_DIRECTORY" in caught.value.hint


def test_a_misspelt_template_name_gets_a_suggestion(parser: StatementParser) -> None:
    with pytest.raises(TemplateNotFoundError, match="did you mean 'page-stats'"):
        TemplateLibrary.load([], parser.parse).get("pagestats")
