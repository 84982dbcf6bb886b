"""Limits of one connection, on a real server with an application that reads and answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import uvicorn

from chronoduck.api.access import ADMITTED
from chronoduck.api.http_protocol import guarded_protocol
from chronoduck.settings import TransportSettings
from tests.patience import PATIENCE_SECONDS

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Serve = Callable[..., Awaitable[int]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body; ``/early`` answers before it is read.

    A credential that says ``known`` is valid.
    """
    if (b"authorization", b"Bearer known") in scope["headers"]:
        scope["state"][ADMITTED] = True
    length = 0
    if scope["path"] != "/early":
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            length += len(message.get("body", b""))
            if not message.get("more_body"):
                break
    body = str(length).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[int]:
    """Serve ``echo`` on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        echo,
        http=guarded_protocol(TransportSettings(**limits)),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()[1]
    finally:
        await server.shutdown(sockets=[listener])


async def talk(port: int, data: bytes, *more: bytes) -> bytes:
    """Send, and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    for piece in more:
        writer.write(piece)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    finally:
        writer.close()


def problem(answer: bytes) -> tuple[int, str]:
    """Return status and code of an answer that is one problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b"x-content-type-options: nosniff" in head
    fields = orjson.loads(body)
    assert int(head.split()[1]) == fields["status"]
    return fields["status"], fields["code"]


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1_0\r\n\r\n0123456789",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/7.3\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ],
)
async def test_what_could_be_read_in_two_ways_is_400_once_and_the_end(data: bytes) -> None:
    async with serving() as port:
        answer = await talk(port, data, GET)
    assert problem(answer) == (400, "bad_request")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 2000 + b"\r\n",
        b"GET /" + b"a" * 2000,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 30 + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"X: a\r\n" * 400,
    ],
)
async def test_headers_without_end_are_431_before_their_end(data: bytes) -> None:
    async with serving(http_header_size=1000, http_header_count=20) as port:
        assert problem(await talk(port, data)) == (431, "headers_too_large")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ", 400),
    ],
)
async def test_one_header_or_extension_without_end_is_not_kept(head: bytes, status: int) -> None:
    """The parser would keep all of it until the line ends."""
    async with serving(http_header_size=1000) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        for _ in range(100):
            await asyncio.sleep(0.005)  # pieces of their own
            writer.write(b"x" * 100)
            if reader.at_eof() or writer.transport.is_closing():
                break
        assert problem(await reader.read())[0] == status
        writer.close()


async def test_headers_that_come_byte_by_byte_are_counted_too() -> None:
    async with serving(http_header_size=1000) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: abcdefgh\r\n" * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert problem(await reader.read())[0] == 431
        writer.close()


async def test_one_byte_chunks_are_a_body_like_others() -> None:
    async with serving(http_header_size=1000) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for _ in range(2000):
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
        writer.write(b"0\r\nTrailer: ignored\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n2000")
        writer.close()


async def test_a_client_that_sends_no_headers_is_let_go_in_time() -> None:
    async with serving(http_header_timeout=0.2) as port:
        silent, dribbling = await asyncio.gather(
            talk(port, b""), talk(port, b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        )
    assert silent == b""
    assert problem(dribbling) == (408, "request_timeout")


async def test_a_body_that_stops_is_let_go_in_time() -> None:
    async with serving(http_header_timeout=0.2) as port:
        waiting = [
            talk(port, HEAD + b"Content-Length: 10\r\n\r\nabc"),
            talk(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        ]
        for answer in await asyncio.gather(*waiting):
            assert problem(answer) == (408, "request_timeout")


async def test_a_body_that_goes_on_may_take_longer_than_headers_may() -> None:
    async with serving(http_header_timeout=0.5, http_body_rate=1000) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 60000\r\nConnection: close\r\n\r\n")
        for _ in range(30):
            writer.write(b"x" * 2000)
            await asyncio.sleep(0.1)
        assert (await reader.read()).endswith(b"\r\n\r\n60000")
        writer.close()


async def test_an_answer_before_the_end_of_a_large_body_arrives_and_the_rest_is_not_waited_for() -> (
    None
):
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 300_000
        )
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
    assert b"connection: close" in answer
    assert answer.endswith(b"\r\n\r\n0")


async def test_an_answer_before_the_end_of_a_small_body_keeps_the_connection() -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        first = await reader.readuntil(b"\r\n\r\n0")
        assert b"connection: close" not in first
        writer.write(b"cde" + GET)
        assert await reader.readuntil(b"\r\n\r\n0")
        writer.close()


async def test_a_few_pipelined_requests_are_answered_in_order_and_many_are_refused() -> None:
    async with serving() as port:
        posts = [HEAD + b"Content-Length: %d\r\n\r\n" % n + b"x" * n for n in range(6)]
        last = HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        answers = (await talk(port, b"".join(posts) + last)).split(b"HTTP/1.1 200 OK")[1:]
        assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == [
            b"0", b"1", b"2", b"3", b"4", b"5", b"0"
        ]  # fmt: skip
        assert b"200" not in await talk(port, GET * 500)


async def test_rubbish_after_a_request_never_gets_into_its_answer() -> None:
    async with serving() as port:
        assert (await talk(port, GET + b"RUBBISH\r\n\r\n")).count(b"HTTP/1.1") <= 1


async def test_an_upgrade_that_is_not_known_is_answered_as_plain_http() -> None:
    async with serving() as port:
        answer = await talk(
            port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer


async def test_the_longest_idle_connection_makes_room_for_a_new_one() -> None:
    async with serving(http_max_connections=8) as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        for reader, writer in idle:
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n0")
        assert (await talk(port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))[
            :12
        ] == b"HTTP/1.1 200"
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await idle[0][0].readexactly(1)
        idle[7][1].write(GET)
        assert await idle[7][0].readuntil(b"\r\n\r\n0")
        for _, writer in idle:
            writer.close()


async def test_when_all_are_busy_a_new_connection_gets_503() -> None:
    async with serving(http_max_connections=8) as port:
        busy = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        for reader, writer in busy:
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n0")
            writer.write(HEAD + b"Content-Length: 5\r\n\r\nab")
        await asyncio.sleep(0)
        answer = await talk(port, b"")
        for _, writer in busy:
            writer.close()
    assert problem(answer) == (503, "too_many_connections")
    assert b"retry-after" in answer


async def test_one_address_gets_no_more_than_its_share_and_a_trusted_proxy_does() -> None:
    async with serving(http_max_connections_per_client=2) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert problem(await talk(port, b"")) == (503, "too_many_connections")
        for _, writer in held:
            writer.close()
    async with serving(http_max_connections_per_client=2, trusted_proxies="127.0.0.0/8") as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        answer = await talk(port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.startswith(b"HTTP/1.1 200")
        for _, writer in held:
            writer.close()


async def test_one_credential_never_keeps_all_connections_busy() -> None:
    async with serving(http_max_connections=8) as port:
        spelled = (b"Bearer evil", b"bearer evil", b"Bearer  evil", b"BEARER evil")
        slow = []
        for number in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = b"Authorization: " + spelled[number] + b"\r\nContent-Length: 5\r\n\r\na"
            writer.write(HEAD + head)
            slow.append((reader, writer))
        await asyncio.sleep(0.1)
        evil = HEAD + b"Authorization: bEARER evil\r\nContent-Length: 1\r\n\r\n1"
        assert problem(await talk(port, evil)) == (429, "too_many_requests")
        for _ in range(3):
            other = HEAD + b"Authorization: Bearer good\r\nConnection: close\r\n\r\n"
            assert (await talk(port, other)).startswith(b"HTTP/1.1 200")
        # One is answered, one breaks off: then there is room again, as often as one likes.
        slow[0][1].write(b"bcde")
        assert (await slow[0][0].readline()).startswith(b"HTTP/1.1 200")
        slow[1][1].close()
        for _ in range(6):
            last = evil.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
            answer = b""
            while not answer.startswith(b"HTTP/1.1 200"):
                answer = await talk(port, last)
        for _, writer in slow:
            writer.close()


async def test_of_many_new_connections_only_those_of_a_second_are_taken() -> None:
    loop = asyncio.get_running_loop()
    async with serving(http_connection_rate_per_client=3) as port:
        began = loop.time()
        answered = 0
        for _ in range(40):
            try:
                answered += (await talk(port, HEAD + b"Connection: close\r\n\r\n")) != b""
            except ConnectionError:
                continue
        seconds = loop.time() - began
    assert 3 <= answered <= 3 * (seconds + 2)
    async with serving(http_connection_rate_per_client=3, trusted_proxies="127.0.0.1") as port:
        for _ in range(10):
            assert await talk(port, HEAD + b"Connection: close\r\n\r\n")


async def test_whoever_connects_when_all_are_idle_finds_room_however_many_come() -> None:
    async with serving(http_max_connections=8) as port:
        for _ in range(3):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            answer = await talk(port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert answer.startswith(b"HTTP/1.1 200")
            for _, writer in held:
                writer.close()


async def _requests(port: int, count: int, head: bytes = b"") -> list[int]:
    """Return the statuses of requests that are sent one after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return [await _request(reader, writer, head) for _ in range(count)]
    finally:
        writer.close()


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> int:
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
    status = (await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)).split()[1]
    length = 0
    while (line := await reader.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    await reader.readexactly(length)
    return int(status)


async def _given_up(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_strangers_wait_for_their_turn_and_who_is_known_does_not() -> None:
    """Fails when a flood from one address is worked on as fast as it comes, or keeps others out."""
    limits = {"http_anonymous_rate_per_client": 1, "http_anonymous_rate": 1000}
    async with serving(**limits) as port:
        known = b"Authorization: Bearer known\r\n"
        assert await _requests(port, 1, known) == [200]
        flood = [asyncio.create_task(_requests(port, 5)) for _ in range(6)]
        await asyncio.sleep(0.1)
        assert await _requests(port, 50, known) == [200] * 50
        assert not all(each.done() for each in flood)  # they need half a minute
        await _given_up(flood)


async def test_who_was_refused_is_a_stranger_again() -> None:
    limits = {"http_anonymous_rate_per_client": 5, "http_anonymous_rate": 1000}
    now = asyncio.get_running_loop().time
    async with serving(**limits) as port:
        began = now()
        assert await _requests(port, 20, b"Authorization: Bearer wrong\r\n") == [200] * 20
        assert now() - began > (20 - 11) / 5


async def test_too_many_that_wait_get_429_and_the_end() -> None:
    limits = {"http_anonymous_rate_per_client": 1, "http_anonymous_rate": 1000}
    async with serving(**limits) as port:
        tasks = [asyncio.create_task(talk(port, GET)) for _ in range(110)]
        while not (done := [each for each in tasks if each.done()]):
            await asyncio.sleep(0.01)
        assert problem(await done[0]) == (429, "too_many_requests")
        await _given_up(tasks)


async def test_clients_behind_a_trusted_proxy_have_a_turn_each_and_others_cannot_pretend() -> None:
    limits = {"http_anonymous_rate_per_client": 1, "http_anonymous_rate": 1000}
    now = asyncio.get_running_loop().time
    async with serving(**limits, trusted_proxies=("127.0.0.1",)) as port:
        flood = [
            asyncio.create_task(_requests(port, 3, b"X-Forwarded-For: 10.0.0.1\r\n"))
            for _ in range(6)
        ]
        await asyncio.sleep(0.1)
        assert await _requests(port, 1, b"X-Forwarded-For: 10.0.0.2\r\n") == [200]
        assert not any(each.done() for each in flood)
        await _given_up(flood)
    async with serving(**limits) as port:
        began = now()
        for number in range(5):
            told = b"X-Forwarded-For: 10.0.0.%d\r\n" % number
            assert await _requests(port, 1, told) == [200]
        assert now() - began > 2


async def test_a_request_that_waits_makes_room_for_a_new_connection() -> None:
    limits = {"http_anonymous_rate_per_client": 1, "http_anonymous_rate": 1000}
    async with serving(**limits, http_max_connections=8) as port:
        waiting = [asyncio.create_task(talk(port, GET)) for _ in range(8)]
        await asyncio.sleep(0.1)
        known = b"Authorization: Bearer known\r\n"
        assert await _requests(port, 1, known) == [200]
        await _given_up(waiting)
