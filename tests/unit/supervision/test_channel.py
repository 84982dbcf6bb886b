"""The conversation between supervisor and server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from chronoduck.supervision.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, inherited = Channel.pair()
    theirs = Channel(inherited)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_message_arrives_with_its_fields(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    assert theirs.say("replace", reason="stück")
    message = ours.hear()
    assert message is not None
    assert (message.kind, message.fields, message.listener) == (
        "replace",
        {"reason": "stück"},
        None,
    )


def test_a_socket_goes_with_a_message_and_stays_open_on_both_sides(
    ends: tuple[Channel, Channel],
) -> None:
    ours, theirs = ends
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs.say("bound", listener)
        message = ours.hear()
        assert message is not None
        assert message.listener is not None
        address = listener.getsockname()
    with message.listener as kept, socket.create_connection(address):
        assert kept.getsockname() == address
        kept.accept()[0].close()


def test_nothing_to_hear_is_not_the_end(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    with pytest.raises(BlockingIOError):
        ours.hear()
    theirs.close()
    assert ours.hear() is None
    assert ours.say("go") is False


def test_a_supervisor_that_does_not_read_holds_nobody_up(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.never_block()
    while theirs.say("alive"):
        pass
    assert ours.hear() is not None
    assert theirs.say("alive") is True
