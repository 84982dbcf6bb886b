"""``chronoduck load`` of directories, patterns and URLs: every file once, and no half of one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chronoduck.settings import Settings, load_settings
from chronoduck.storage import StoreError, s3_store
from chronoduck.transfer import find_places
from tests.flaky_proxy import FlakyProxy
from tests.s3_server import S3Server
from tests.server import Server, run_cli
from tests.web_server import WebServer

pytestmark = pytest.mark.slow


def csv(*numbers: int) -> bytes:
    return b"n\n" + b"".join(b"%d\n" % number for number in numbers)


def load(directory: Path, *arguments: str, **settings: Any) -> str:
    done = run_cli(directory, "load", "--table", "t", *arguments, **settings)
    assert done.returncode == 0, done.stderr
    return done.stderr


def refused(directory: Path, *arguments: str, **settings: Any) -> str:
    done = run_cli(directory, "load", "--table", "t", *arguments, **settings)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def numbers(directory: Path, **settings: Any) -> list[int]:
    done = run_cli(directory, "query", "SELECT n FROM t ORDER BY n", "--json", **settings)
    assert done.returncode == 0, done.stderr
    return [row[0] for row in json.loads(done.stdout)["data"]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with files of data, and with what a directory may hold besides."""
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / "a.csv").write_bytes(csv(1))
    (root / "deep" / "b.csv.gz").write_bytes(gzip.compress(csv(2)))
    (root / "deep" / "er" / "c.ndjson").write_bytes(b'{"n":3}\n')
    (root / "README.md").write_text("no data")
    (root / ".hidden" / "x.csv").write_bytes(csv(90))
    (tmp_path / "outside.csv").write_bytes(csv(91))
    (root / "link.csv").symlink_to(tmp_path / "outside.csv")
    (root / "loop").symlink_to(root)
    return root


@pytest.mark.parametrize("is_served", [False, True])
def test_a_directory_is_its_files_of_data_and_a_pattern_what_it_says(
    tree: Path, tmp_path: Path, is_served: bool
) -> None:
    home = tmp_path / "home"
    home.mkdir()

    def check() -> None:
        load(home, str(tree))
        assert numbers(home) == [1, 2, 3]
        load(home, f"{tree}/**/*.csv*", "--mode", "upsert", "--key", "n")
        assert numbers(home) == [1, 2, 3, 91]  # a pattern means links, too
        load(home, str(tree / "a.csv"), "--mode", "replace")
        assert numbers(home) == [1]
        assert "would be added" in load(home, str(tree / "a.csv"), "--dry-run")
        assert numbers(home) == [1]
        assert "would replace" in refused(home, str(tree), "--mode", "replace")
        assert "no file" in refused(home, f"{tree}/*.parquet")
        assert numbers(home) == [1]

    if is_served:
        with Server(home):
            check()
    else:
        check()


@pytest.mark.parametrize("is_served", [False, True])
def test_after_a_failure_once_goes_on_with_what_is_left(tmp_path: Path, is_served: bool) -> None:
    files = [tmp_path / f"{n}.csv" for n in range(4)]
    for n, file in enumerate(files):
        file.write_bytes(csv(n))
    files[2].write_bytes(b"n\nno number\n")

    def check() -> None:
        arguments = ["--once", *map(str, files)]
        said = refused(tmp_path, *arguments)
        assert "2 of 4 files were loaded" in said
        files[2].write_bytes(csv(2))
        said = load(tmp_path, *arguments)
        assert said.count("loaded before, left out") == 2
        assert numbers(tmp_path) == [0, 1, 2, 3]

    if is_served:
        with Server(tmp_path):
            check()
    else:
        check()


def test_urls_are_fetched_whole_and_private_ones_only_if_wanted(tmp_path: Path) -> None:
    with WebServer({"/a.csv": csv(*range(50_000)), "/b.csv.gz": gzip.compress(csv(7))}) as web:
        web.cuts = 1
        secret = web.url("/a.csv?signature=secret").replace("//", "//ann:secret@")
        said = refused(tmp_path, secret)
        assert "private address" in said
        assert "secret" not in said
        assert not web.asked
        said = load(tmp_path, "--allow-private", secret, web.url("/b.csv.gz"))
        assert "secret" not in said
        assert sorted(numbers(tmp_path)) == sorted([*range(50_000), 7])
        assert "404" in refused(tmp_path, "--allow-private", web.url("/c.csv"))
        web.files["/bomb.csv.gz"] = gzip.compress(b"n\n" + b"1\n" * 5_000_000)
        small = {"DUCKDB_MAX_UPLOAD_SIZE": "1MB"}
        said = refused(tmp_path, "--allow-private", web.url("/bomb.csv.gz"), **small)
        assert "decompressed" in said
        assert len(numbers(tmp_path)) == 50_001
    assert "http, https or s3" in refused(tmp_path, "ftp://example.com/a.csv")


# --- S3 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("data")
        yield server


def settings_of(s3: S3Server, monkeypatch: pytest.MonkeyPatch, **changes: str) -> Settings:
    for name, value in {**s3.environment, **changes}.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_objects_prefixes_and_patterns_of_s3(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_store("s3://data", settings_of(s3, monkeypatch))
    names = ["in/a.csv", "in/x/b.csv", "in/x/y/c.csv", "in/notes.txt", "inner.csv"]
    for number, name in enumerate(names):
        bucket.put_file(name, _written(tmp_path / "one", csv(number)))
    load(tmp_path, "s3://data/in/", **s3.environment)
    assert numbers(tmp_path) == [0, 1, 2]
    expected = {
        "s3://data/in/a.csv": ["in/a.csv"],
        "s3://data/in/*.csv": ["in/a.csv"],
        "s3://data/in/*/?.csv": ["in/x/b.csv"],
        "s3://data/in/**/*.csv": ["in/a.csv", "in/x/b.csv", "in/x/y/c.csv"],
        "s3://data/in*.csv": ["inner.csv"],
        "s3://data/in/[!b]*": ["in/a.csv", "in/notes.txt"],
        "s3://data/": ["in/a.csv", "in/x/b.csv", "in/x/y/c.csv", "inner.csv"],
    }
    for address, wanted in expected.items():
        found = find_places([address], settings_of(s3, monkeypatch))
        assert [each.shown for each in found] == [f"s3://data/{name}" for name in wanted], address
    assert "no object" in refused(tmp_path, "s3://data/in/none.csv", **s3.environment)


def test_a_listing_of_many_pages_is_whole(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(s3, monkeypatch)
    bucket = s3_store("s3://data", settings)
    for number in range(120):
        bucket.put(f"many/{number:05}.csv", csv(number))
    assert len(find_places(["s3://data/many/"], settings)) == 120


def test_a_store_that_fails_loads_nothing_and_says_why(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_store("s3://data", settings_of(s3, monkeypatch))
    bucket.put_file("large.csv", _written(tmp_path / "large", csv(*range(400_000))))
    wrong = {**s3.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    said = refused(tmp_path, "s3://data/large.csv", **wrong)
    assert "access denied" in said
    assert "wrong" not in said
    missing = refused(tmp_path, "s3://nothing-here/large.csv", **s3.environment)
    assert "no such bucket" in missing
    with FlakyProxy(s3.port, failing=0.5, after_request=True) as proxy:
        settings = settings_of(
            s3, monkeypatch, DUCKDB_REPLICA_ENDPOINT=f"http://127.0.0.1:{proxy.port}"
        )
        whole = broken = 0
        while not (whole and broken) and proxy.cut < 60:
            try:
                [place] = find_places(["s3://data/large.csv"], settings)
                with place.open(lambda done, total: None) as source:
                    assert source.read() == csv(*range(400_000))
                whole += 1
            except StoreError:
                broken += 1
        assert whole
        assert proxy.cut


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
