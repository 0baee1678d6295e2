import asyncio

import pytest

from server.protocol.inbox import OVERHEAD_BYTES, Inbox


async def test_messages_leave_in_order_and_then_comes_the_end():
    inbox = Inbox(1000)
    await inbox.put("a")
    await inbox.put(b"b")
    inbox.end()
    assert [await inbox.get() for _ in range(4)] == ["a", b"b", None, None]
    assert inbox.held_bytes == 0


@pytest.mark.fault("crowds")
def test_what_is_offered_is_bounded_by_bytes_and_by_number():
    """What one client may store before it has a session is bounded to kilobytes."""
    inbox = Inbox(65_536)
    assert inbox.offer(bytes(60_000))
    assert not inbox.offer(bytes(60_000))
    empty = Inbox(65_536)
    assert sum(empty.offer("") for _ in range(10_000)) == 65_536 // OVERHEAD_BYTES


async def test_a_message_waits_for_room_and_a_large_one_for_all_of_it():
    inbox = Inbox(1000)
    await inbox.put(bytes(500))
    large = asyncio.create_task(inbox.put(bytes(5000)))
    await asyncio.sleep(0)
    assert not large.done()
    assert len(await inbox.get()) == 500
    await large
    second = asyncio.create_task(inbox.put(b"x"))
    await asyncio.sleep(0)
    assert not second.done()
    assert len(await inbox.get()) == 5000
    await second
    assert await inbox.get() == b"x"
