import asyncio

import pytest

from server.config import Limits
from server.protocol.errors import ErrorCode, ProtocolError
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


@pytest.mark.fault("shutdown")
async def test_who_waits_when_the_server_ends_is_refused():
    """Closing admission refuses who waits and who comes later, and frees no slot twice."""
    reason = ProtocolError(ErrorCode.UNAVAILABLE, "The server ends.")
    admission = Admission(1, 3)
    await admission.enter("a", lambda _: None)
    waiting = asyncio.ensure_future(admission.enter("b", lambda _: None))
    gone = asyncio.ensure_future(admission.enter("c", lambda _: None))
    await asyncio.sleep(0)
    gone.cancel()
    admission.close(reason)
    with pytest.raises(ProtocolError, match="The server ends"):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await gone
    with pytest.raises(ProtocolError, match="The server ends"):
        await admission.enter("d", lambda _: None)
    assert (admission.active, admission.queued) == (1, 0)
    admission.leave("a")
    assert admission.active == 0


@pytest.mark.fault("crowds")
async def test_one_client_takes_its_share_and_others_are_admitted_past_it():
    """One client cannot take every session: who has its share waits while others are admitted."""
    admission = Admission(4, 8, 3)
    for _ in range(3):
        await admission.enter("greedy", lambda _: None)
    fourth = await wait_for_place(admission, [], "greedy")
    await admission.enter("other", lambda _: None)
    assert not fourth.done()
    later = await wait_for_place(admission, [], "third")
    admission.leave("other")
    await later
    assert not fourth.done()
    admission.leave("greedy")
    await fourth
    assert (admission.active, admission.queued) == (4, 0)


@pytest.mark.fault("crowds")
async def test_one_client_takes_at_most_half_of_the_queue():
    """One client cannot take the whole queue, and is told which limit it met."""
    admission = Admission(4, 8, 3)
    greedy = [await wait_for_place(admission, [], "192.0.2.1") for _ in range(12)]
    refused = [task.exception() for task in greedy if task.done() and task.exception()]
    assert (admission.active, admission.queued, len(refused)) == (3, 4, 5)
    assert all(one.code == "rate_limited" and one.retryable for one in refused)
    assert "limits.max_sessions_per_address" in str(refused[0])
    await admission.enter("other", lambda _: None)
    waiting = [await wait_for_place(admission, [], f"other {n}") for n in range(5)]
    assert [task.done() for task in waiting] == [False, False, False, False, True]
    assert waiting[-1].exception().code == "server_full"
    for task in (*greedy, *waiting):
        task.cancel()
    await asyncio.gather(*greedy, *waiting, return_exceptions=True)
    assert admission.queued == 0


@pytest.mark.fault("crowds")
async def test_those_who_leave_the_queue_free_their_share_of_it():
    """Clients that come, wait and vanish, in any number, leave no place taken."""
    admission = Admission(1, 2)
    await admission.enter("a", lambda _: None)
    for number in range(100):
        task = await wait_for_place(admission, [], "b")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert admission.queued == 0, number
    admission.leave("a")
    assert admission.active == 0


@pytest.mark.parametrize(("sessions", "share"), [(1, 1), (2, 2), (3, 2), (4, 3), (100, 99)])
def test_the_share_of_an_address_leaves_a_session_for_others(sessions, share):
    assert Limits(max_sessions=sessions).sessions_per_address == share
    assert Limits(max_sessions=sessions, max_sessions_per_address=7).sessions_per_address == 7
