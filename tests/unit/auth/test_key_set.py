"""The platform's public keys: fetched beside the requests, kept while their source fails."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import orjson
import pytest

from chronoduck.auth.key_set import KeySet, KeySetError, fetch_file, fetch_url, parse_key_set
from tests.patience import PATIENCE_SECONDS
from tests.platform import KeyServer, Platform


class Source:
    """A source that can be held up, and the clock of its reader."""

    def __init__(self) -> None:
        self.platforms = [Platform("ES256", "k1")]
        self.is_failing = False
        self.fetches = 0
        self.now = 1000.0
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self) -> bytes:
        self.fetches += 1
        self.gate.wait(PATIENCE_SECONDS)
        if self.is_failing:
            raise KeySetError("down")
        return orjson.dumps({"keys": [each.jwk for each in self.platforms]})

    def keys(self) -> KeySet:
        return KeySet(self.fetch, "ES256", 600.0, 3600.0, lambda: self.now)


async def settle(keys: KeySet) -> None:
    """Wait for a fetch that is on its way."""
    if keys._running is not None:
        await keys._running


async def test_many_tokens_wait_for_one_fetch() -> None:
    source = Source()
    keys = source.keys()
    source.gate.clear()
    waiting = [asyncio.create_task(keys.find("k1")) for _ in range(50)]
    await asyncio.sleep(0)
    source.gate.set()
    found = await asyncio.gather(*waiting)
    assert len(found) == 50
    assert None not in found
    assert source.fetches == 1


async def test_an_unknown_key_id_fetches_again_but_not_more_often_than_every_10_seconds() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("k1")
    for number in range(1000):
        assert await keys.find(f"forged-{number}") is None
    assert source.fetches == 1
    source.platforms.append(Platform("ES256", "k2"))
    source.now += 11
    assert await keys.find("k2") is not None
    assert source.fetches == 2


async def test_a_key_that_was_taken_out_is_gone_after_the_next_fetch() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("k1")
    before = keys.generation
    source.platforms = [Platform("ES256", "k2")]
    source.now += 601
    assert await keys.find("k1") is not None  # nobody waits for what is known
    await settle(keys)
    assert await keys.find("k1") is None
    assert keys.generation > before


async def test_the_last_good_keys_are_used_for_a_bounded_time_while_the_source_fails() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("k1")
    source.is_failing = True
    for _ in range(59):
        source.now += 60
        assert await keys.find("k1") is not None
        await settle(keys)
    source.now += 61
    assert await keys.find("k1") is None
    assert not keys.is_usable
    source.is_failing = False
    source.now += 11
    assert await keys.find("k1") is not None


async def test_a_source_that_hangs_holds_up_no_token_whose_key_is_known() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("k1")
    source.gate.clear()
    source.now += 601
    for _ in range(100):
        assert await asyncio.wait_for(keys.find("k1"), PATIENCE_SECONDS) is not None
    while source.fetches < 2:  # it begins when the loop gets to it
        await asyncio.sleep(0)
    assert source.fetches == 2
    source.gate.set()
    await settle(keys)


async def test_a_request_that_is_cancelled_does_not_end_the_fetch_of_the_others() -> None:
    source = Source()
    keys = source.keys()
    source.gate.clear()
    first, second = (asyncio.create_task(keys.find("k1")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert await second is not None
    assert first.cancelled()


async def test_closing_ends_a_fetch() -> None:
    source = Source()
    keys = source.keys()
    source.gate.clear()
    keys.follow()
    await asyncio.sleep(0)
    await keys.close()
    source.gate.set()


def test_a_key_set_is_fetched_by_http_and_from_a_file(tmp_path: Path) -> None:
    platform = Platform("ES256")
    with KeyServer(platform) as server:
        assert list(parse_key_set(fetch_url(server.url), "ES256")) == ["k1"]
        server.is_failing = True
        with pytest.raises(KeySetError, match="500"):
            fetch_url(server.url)
    with pytest.raises(KeySetError):
        fetch_url(server.url)
    path = tmp_path / "keys.json"
    with pytest.raises(KeySetError, match="No such file"):
        fetch_file(path)
    path.write_bytes(orjson.dumps({"keys": [platform.jwk]}))
    assert list(parse_key_set(fetch_file(path), "ES256")) == ["k1"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [1]}']
)
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(text, "ES256")
