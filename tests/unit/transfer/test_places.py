"""What is to be loaded: which files names, patterns and URLs mean, and which they never do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chronoduck.errors import DuckDBException, InvalidRequestError, NotFoundError, SettingsError
from chronoduck.settings import load_settings
from chronoduck.transfer import find_places


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name in ("a.csv", "deep/b.csv", "deep/er/c.csv", ".hidden/x.csv", ".y.csv", "deep/note"):
        (root / name).write_text("n\n1\n")
    (root / "link.csv").symlink_to(root / "a.csv")
    (root / "gone.csv").symlink_to(root / "nothing")
    for name in ("one", "two"):  # circles that grow with every step
        (root / name).symlink_to(root)
    os.mkfifo(root / "pipe.csv")
    return root


def found(*arguments: str) -> list[str]:
    return [place.shown for place in find_places(arguments, load_settings())]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "deep/b.csv", "deep/er/c.csv"]),
        ("**", ["a.csv", "deep/b.csv", "deep/er/c.csv", "deep/note"]),
        ("deep/**", ["deep/b.csv", "deep/er/c.csv", "deep/note"]),
        ("one/*.csv", ["one/a.csv"]),  # a link that is named is followed
        ("[a-c].cs?", ["a.csv"]),
        ("", ["a.csv", "deep/b.csv", "deep/er/c.csv"]),
        ("*.csv/", ["a.csv"]),
    ],
)
def test_patterns_mean_files_each_once_and_no_pipes_or_circles(
    tree: Path, pattern: str, names: list[str]
) -> None:
    assert found(f"{tree}/{pattern}") == [f"{tree}/{name}" for name in names]


def test_a_directory_means_its_spreadsheets_too(tmp_path: Path) -> None:
    names = ["a.xlsx", "b.XLSM", "c.xlsb", "d.ods", "e.xls"]
    for name in [*names, "f.docx"]:
        (tmp_path / name).touch()
    assert found(str(tmp_path)) == [f"{tmp_path}/{name}" for name in names]


def test_a_pipe_that_is_named_is_meant(tree: Path) -> None:
    assert found(f"{tree}/pipe.csv") == [f"{tree}/pipe.csv"]


@pytest.mark.parametrize("pattern", ["**.csv", "nothing/*.csv", "gone.csv", "[z-a].csv"])
def test_what_means_no_file_is_told(tree: Path, pattern: str) -> None:
    with pytest.raises((NotFoundError, InvalidRequestError)):
        found(f"{tree}/{pattern}")


@pytest.mark.parametrize("name", ["", "x" * 300, "x" * 300 + "/*.csv"])
def test_names_that_can_be_no_files_are_told(name: str) -> None:
    with pytest.raises(NotFoundError):
        found(name)


@pytest.mark.parametrize(
    "url",
    [
        *("http://[::1/x", "http://host:99999/x", "http://host:abc/x", "http:///x", "http://"),
        *("ftp://u:secret@host/x", "file:///etc/passwd", "https://u:secret@:80/x"),
    ],
)
def test_what_is_no_url_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        found(url)
    assert "secret" not in caught.value.detail + caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        *("s3://", "s3:///x", "s3://b/x", "s3://KEY:secret@bucket/x", "s3://host:80#/x"),
        *("s3://host#/x", "s3://host%2f/x", "s3://[::1]/x", "s3://ho st/x", "s3://host?secret/x"),
    ],
)
def test_a_bucket_is_no_server_and_holds_no_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        found(url)
    assert "secret" not in caught.value.detail + caught.value.hint


@pytest.mark.parametrize("key", ["[z-a]*", "*[z-a]"])
def test_patterns_of_objects_that_are_none_are_told(key: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no pattern"):
        found(f"s3://bucket/{key}")


@pytest.mark.parametrize(
    "odd",
    [
        *("\0", "a\0*", "\ud800/x", "\ud800*", "s3://bucket\0/x"),
        *("http://\ud800/", "http://h\x01/x", "http://a..b/x", "http://h/\ud800", "http://xn--a/x"),
    ],
)
def test_errors_are_of_the_hierarchy(odd: str) -> None:
    with pytest.raises(DuckDBException):
        find_places([odd], load_settings())[0].open(lambda done, total: None)
