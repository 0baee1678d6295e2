import asyncio

import pytest

from server.protocol.errors import ProtocolError
from server.session.admission import Admission


async def wait_for_place(admission, positions, client="a"):
    task = asyncio.ensure_future(admission.enter(client, positions.append))
    await asyncio.sleep(0)
    return task


async def test_places_are_given_until_the_limit_and_then_in_order():
    admission, told = Admission(1, 4), ([], [], [])
    await admission.enter("a", told[0].append)
    second = await wait_for_place(admission, told[1])
    third = await wait_for_place(admission, told[2])
    admission.leave("a")
    await second
    assert not third.done()
    admission.leave("a")
    await third
    assert told == ([], [1], [2, 1])
    assert admission.active == 1


async def test_who_comes_to_a_full_queue_is_refused():
    admission = Admission(1, 0)
    await admission.enter("a", lambda _: None)
    with pytest.raises(ProtocolError) as refused:
        await admission.enter("a", lambda _: None)
    assert (refused.value.code, refused.value.retryable) == ("server_full", True)


async def test_who_leaves_the_queue_lets_the_others_move_up():
    admission, positions = Admission(1, 4), []
    await admission.enter("a", lambda _: None)
    second = await wait_for_place(admission, [])
    third = await wait_for_place(admission, positions)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert positions == [2, 1]
    admission.leave("a")
    await third
    assert (admission.active, admission.queued) == (1, 0)


async def test_a_place_given_to_someone_who_just_left_is_given_back():
    admission = Admission(1, 1)
    await admission.enter("a", lambda _: None)
    second = await wait_for_place(admission, [])
    admission.leave("a")
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert admission.active == 0
