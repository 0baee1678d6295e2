import pytest

from server.auth import wrong_keys
from server.auth.wrong_keys import BURST, REFILL_S, WrongKeys


def test_an_address_has_a_few_tries_and_then_waits():
    brake = WrongKeys(lambda: 0.0)
    assert [brake.count("a") for _ in range(BURST)] == [0.0] * BURST
    assert brake.count("a") == pytest.approx(REFILL_S)
    assert brake.count("b") == 0.0


def test_waiting_gives_one_try_back_at_a_time():
    now = 0.0
    brake = WrongKeys(lambda: now)
    for _ in range(BURST):
        brake.count("a")
    now = REFILL_S + 0.01
    assert brake.count("a") == 0.0
    assert brake.count("a") > 0


def test_the_memory_of_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(wrong_keys, "MOST_ADDRESSES", 100)
    brake = WrongKeys(lambda: 0.0)
    for number in range(1_000):
        brake.count(str(number))
    assert len(brake._allowances) == 100
