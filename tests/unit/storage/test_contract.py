"""What every blob store must do, shown on all of them: memory, a directory, a real S3 server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chronoduck.storage import BlobConflictError, BlobNotFoundError, BlobStore
from chronoduck.storage.directory import DirectoryBlobStore
from chronoduck.storage.memory import MemoryBlobStore
from chronoduck.storage.s3 import S3BlobStore, S3Location
from tests.s3_server import S3Server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("bucket")
        yield server


@pytest.fixture(params=["memory", "directory", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "memory":
        return MemoryBlobStore()
    if request.param == "directory":
        return DirectoryBlobStore(tmp_path / "store")
    server: S3Server = request.getfixturevalue("s3")
    return S3BlobStore(
        S3Location(
            "bucket",
            f"prefix-{secrets.token_hex(4)}",
            server.region,
            server.endpoint,
            server.access_key_id,
            server.secret_access_key,
        )
    )


def test_what_was_put_is_there_whole(store: BlobStore) -> None:
    big = bytes(range(256)) * 40_000
    for name, data in (("a", b""), ("deep/er/b", b"x"), ("big", big)):
        store.put(name, data)
        assert store.get(name) == data
    store.put("a", b"again")
    assert store.get("a") == b"again"
    sizes = {blob.name: blob.size for blob in store.list()}
    assert sizes == {"a": 5, "deep/er/b": 1, "big": len(big)}


def test_a_listing_is_of_a_folder(store: BlobStore) -> None:
    names = {f"{folder}/{number:03d}" for folder in ("one", "two") for number in range(12)}
    for name in names:
        store.put(name, b"x")
    assert {blob.name for blob in store.list()} == names
    assert {blob.name for blob in store.list("one/")} == {n for n in names if n.startswith("one")}
    assert list(store.list("none/")) == []


def test_what_is_not_there_is_told(store: BlobStore) -> None:
    with pytest.raises(BlobNotFoundError):
        store.get("missing")
    assert store.get_versioned("missing") is None
    assert list(store.list()) == []


def test_deleting_is_idempotent(store: BlobStore) -> None:
    for name in ("a/1", "a/2", "b"):
        store.put(name, b"x")
    store.delete(["a/1", "never", "b"])
    store.delete(["a/1"])
    assert [blob.name for blob in store.list()] == ["a/2"]


def test_replace_keeps_what_another_has_written(store: BlobStore) -> None:
    first = store.replace("lease", b"1", None)
    with pytest.raises(BlobConflictError):
        store.replace("lease", b"other", None)
    second = store.replace("lease", b"2", first)
    with pytest.raises(BlobConflictError):
        store.replace("lease", b"late", first)
    current = store.get_versioned("lease")
    assert current is not None
    assert (current.data, current.version) == (b"2", second)


def test_many_threads_at_once(store: BlobStore) -> None:
    def work(number: int) -> bytes:
        store.put(f"t/{number}", str(number).encode())
        return store.get(f"t/{number}")

    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(work, range(40))) == [str(n).encode() for n in range(40)]
    assert len(list(store.list("t/"))) == 40


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/../b", "a/."])
def test_names_that_lead_elsewhere_are_refused(store: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        store.put(name, b"x")
