from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
import trio

from rainbowd.peers.channel import MESSAGE_BYTES, Channel
from rainbowd.peers.messages import Cut, Leases, Stop


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def ends() -> tuple[Channel, Channel]:
    ours, theirs = Channel.pair()
    return ours, Channel(theirs)


async def test_messages_arrive_in_order_with_their_descriptors(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    reading, writing = os.pipe()
    await ours.send(Stop(1.5))
    await ours.send(Cut(3, 2, tunnels=True), [writing])
    os.close(writing)
    assert await theirs.receive() == ({"kind": "stop", "seconds": 1.5}, [])
    message, (received,) = await theirs.expect(Cut)
    assert message == Cut(3, 2, tunnels=True)
    assert not os.get_inheritable(received)
    os.write(received, b"x")
    assert os.read(reading, 1) == b"x"
    for descriptor in (reading, received):
        os.close(descriptor)
    ours.close()
    theirs.close()


async def test_a_message_that_was_not_waited_for_is_dropped(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    await ours.send(Stop(1.0))
    await ours.send(Leases())
    assert (await theirs.expect(Leases))[0] == Leases()
    assert theirs.receive_now() is None
    ours.close()
    theirs.close()


async def test_a_large_message_arrives_whole_and_leaves_no_descriptor(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    text = "x" * (5 * MESSAGE_BYTES)
    reading, writing = os.pipe()
    before = descriptors()
    await ours.send(Leases(failed={1: [text]}), [writing])
    message, (received,) = await theirs.expect(Leases)
    assert message.failed == {1: [text]}
    assert descriptors() == before + 1
    for descriptor in (reading, writing, received):
        os.close(descriptor)
    ours.close()
    theirs.close()


async def test_the_end_of_the_other_process_is_an_end_of_file_and_loses_what_is_sent() -> None:
    channel, theirs = Channel.pair()
    theirs.send(json.dumps({"kind": "stop", "seconds": 1}).encode())
    theirs.close()
    assert await channel.expect(Stop) == (Stop(1), [])
    assert channel.send_now(Stop(2))
    with pytest.raises(EOFError):
        await channel.receive()
    with pytest.raises(EOFError):
        channel.receive_now()
    channel.close()


async def test_without_room_a_message_is_not_sent_until_the_other_process_reads() -> None:
    channel, theirs = Channel.pair()
    sent = 0
    while channel.send_now(Stop(sent)):
        sent += 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.send, Stop(sent))
        theirs.settimeout(10)
        numbers = [json.loads(theirs.recv(MESSAGE_BYTES))["seconds"] for _ in range(sent)]
        assert numbers == list(range(sent))
    assert json.loads(theirs.recv(MESSAGE_BYTES))["seconds"] == sent
    theirs.close()
    channel.close()
    channel.close()


def test_a_channel_is_a_socket_that_preserves_boundaries() -> None:
    async def close(channel: Channel) -> None:
        channel.close()

    channel, theirs = Channel.pair()
    assert theirs.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_SEQPACKET
    theirs.close()
    trio.run(close, channel)
