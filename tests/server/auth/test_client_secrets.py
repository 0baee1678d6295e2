import pytest

from server.auth import client_secrets
from server.auth.client_secrets import ClientSecrets
from server.protocol.errors import ProtocolError


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.fault("intruders")
def test_one_who_issues_many_ends_only_their_own_oldest():
    """Whoever issues client secrets without end loses their own oldest, and nobody else's."""
    issued = ClientSecrets(60, max_each=5)
    others = issued.issue("10.0.0.1").value
    mine = [issued.issue("10.0.0.2").value for _ in range(10_001)]
    assert len(issued) == 6
    assert not issued.spend(mine[-6])
    assert all(issued.spend(each) for each in [others, *mine[-5:]])


def test_spent_and_expired_secrets_take_no_room():
    clock = Clock(0.0)
    issued = ClientSecrets(60, max_each=2, clock=clock)
    first = issued.issue("a").value
    assert issued.spend(first)
    assert not issued.spend(first)
    kept = issued.issue("a").value
    clock.now = 59.0
    issued.issue("a")
    assert issued.spend(kept)
    clock.now = 200.0
    assert not issued.spend("guess")
    assert len(issued) == 0


@pytest.mark.fault("clocks")
@pytest.mark.parametrize("step_s", [-86_400, 3_600])
def test_a_step_of_the_wall_clock_neither_ends_nor_prolongs_a_secret(step_s):
    """A step of the wall clock neither ends a client secret nor prolongs it."""
    monotonic, wall = Clock(0.0), Clock(1_700_000_000.0)
    issued = ClientSecrets(60, max_each=9, clock=monotonic, wall_clock=wall)
    used, late = issued.issue("a"), issued.issue("a")
    assert used.expires_at == 1_700_000_060
    wall.now += step_s
    monotonic.now = 59.0
    assert issued.spend(used.value)
    monotonic.now = 61.0
    assert not issued.spend(late.value)


def test_there_is_a_limit_for_all_issuers_together(monkeypatch):
    monkeypatch.setattr(client_secrets, "MOST_SECRETS", 3)
    issued = ClientSecrets(60, max_each=9)
    kept = [issued.issue(f"10.0.0.{n}").value for n in range(3)]
    with pytest.raises(ProtocolError, match="Try again in 60 s") as refused:
        issued.issue("10.0.0.9")
    assert refused.value.code == "rate_limited"
    assert all(issued.spend(each) for each in kept)
