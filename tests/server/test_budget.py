"""A token bucket on a virtual clock."""

import pytest

from server.budget import TokenBucket


def test_a_burst_at_once_then_the_rate():
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s(10.0) == pytest.approx(0.5)
    assert not bucket.take(10.4)
    assert bucket.take(10.6)


def test_idle_time_saves_up_no_more_than_the_burst():
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert bucket.take(0.0)
    assert sum(bucket.take(1_000_000.0) for _ in range(10)) == 3


def test_more_than_the_burst_is_taken_from_a_full_bucket_and_paid_for_later():
    bucket = TokenBucket(rate=10.0, burst=5.0)
    assert bucket.take(0.0, 20.0)
    assert bucket.wait_s(0.0) == pytest.approx(1.6)
    assert not bucket.take(1.5)
    assert bucket.take(1.7)


def test_a_clock_that_steps_back_gives_nothing_away():
    bucket = TokenBucket(rate=1.0, burst=1.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(50.5)
    assert bucket.take(51.5)


def test_what_is_spent_in_any_case_delays_those_who_come_later():
    bucket = TokenBucket(10.0, 20.0)
    bucket.spend(0.0, 25.0)
    assert bucket.wait_s(0.0) == pytest.approx(0.6)
    assert not bucket.take(0.5)
    assert bucket.take(0.61)


def test_a_budget_is_used_up_and_fills_again() -> None:
    budget = TokenBucket(rate=10, burst=10)
    assert sum(budget.take(5.0) for _ in range(50)) == 10
    assert not budget.take(5.05)
    assert budget.take(5.16)


def test_a_changed_budget_keeps_no_more_than_its_new_burst():
    bucket = TokenBucket(rate=1.0, burst=10.0)
    bucket.change(rate=2.0, burst=3.0)
    assert sum(bucket.take(5.0) for _ in range(10)) == 3
    assert bucket.wait_s(5.0) == pytest.approx(0.5)
