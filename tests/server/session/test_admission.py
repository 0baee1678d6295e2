import asyncio

import pytest

from server.protocol.errors import ErrorCode, ProtocolError
from server.session.admission import Admission


async def wait_for_place(admission, positions):
    task = asyncio.ensure_future(admission.enter(positions.append))
    await asyncio.sleep(0)
    return task


async def test_places_are_given_until_the_limit_and_then_in_order():
    admission, told = Admission(1, 2), ([], [], [])
    await admission.enter(told[0].append)
    second = await wait_for_place(admission, told[1])
    third = await wait_for_place(admission, told[2])
    admission.leave()
    await second
    assert not third.done()
    admission.leave()
    await third
    assert told == ([], [1], [2, 1])
    assert admission.active == 1


async def test_who_comes_to_a_full_queue_is_refused():
    admission = Admission(1, 0)
    await admission.enter(lambda _: None)
    with pytest.raises(ProtocolError) as refused:
        await admission.enter(lambda _: None)
    assert (refused.value.code, refused.value.retryable) == ("server_full", True)


async def test_who_leaves_the_queue_lets_the_others_move_up():
    admission, positions = Admission(1, 2), []
    await admission.enter(lambda _: None)
    second = await wait_for_place(admission, [])
    third = await wait_for_place(admission, positions)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert positions == [2, 1]
    admission.leave()
    await third
    assert (admission.active, admission.queued) == (1, 0)


async def test_a_place_given_to_someone_who_just_left_is_given_back():
    admission = Admission(1, 1)
    await admission.enter(lambda _: None)
    second = await wait_for_place(admission, [])
    admission.leave()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert admission.active == 0


@pytest.mark.fault("shutdown")
async def test_who_waits_when_the_server_ends_is_refused():
    """Closing admission refuses who waits and who comes later, and frees no slot twice."""
    reason = ProtocolError(ErrorCode.UNAVAILABLE, "The server ends.")
    admission = Admission(1, 3)
    await admission.enter(lambda _: None)
    waiting = asyncio.ensure_future(admission.enter(lambda _: None))
    gone = asyncio.ensure_future(admission.enter(lambda _: None))
    await asyncio.sleep(0)
    gone.cancel()
    admission.close(reason)
    with pytest.raises(ProtocolError, match="The server ends"):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await gone
    with pytest.raises(ProtocolError, match="The server ends"):
        await admission.enter(lambda _: None)
    assert (admission.active, admission.queued) == (1, 0)
    admission.leave()
    assert admission.active == 0
