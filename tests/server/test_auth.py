import pytest

from server.auth import Authenticator, may_resume
from server.config import Listen
from server.protocol.errors import ProtocolError

KEY = "a-key-of-24-characters-0"
HOME = {"host": "localhost:8080"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def guarded(clock=None) -> Authenticator:
    return Authenticator(Listen(api_key=KEY), 60_000, clock or Clock())


def refused(access: Authenticator, headers: dict[str, str]) -> bool:
    try:
        access.check(headers)
    except ProtocolError as reason:
        return reason.code == "unauthorized"
    return False


def test_without_a_key_this_machine_may_come_in():
    assert not refused(Authenticator(Listen(), 1), HOME)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": KEY},
        {"sec-websocket-protocol": "avatar.v1, avatar.secret.guess"},
        {"sec-websocket-protocol": f"avatar.v1, {KEY}"},
    ],
)
def test_with_a_key_others_may_not(headers):
    assert refused(guarded(), HOME | headers)


def test_the_key_opens():
    assert not refused(guarded(), HOME | {"authorization": f"Bearer {KEY}"})


def test_a_client_secret_opens_for_a_minute():
    clock = Clock()
    access = guarded(clock)
    secret = access.new_secret().value
    offered = HOME | {"sec-websocket-protocol": f"avatar.v1, avatar.secret.{secret}"}
    assert not refused(access, offered)
    clock.now += 61
    assert refused(access, offered)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9"])
def test_pages_of_other_sites_may_not_come_in_through_a_users_browser(origin):
    assert refused(Authenticator(Listen(), 1), HOME | {"origin": origin})


def test_the_servers_own_page_and_named_origins_may():
    access = Authenticator(Listen(allowed_origins=("https://app.example",)), 1)
    assert not refused(access, HOME | {"origin": "http://localhost:8080"})
    assert not refused(access, HOME | {"origin": "https://app.example"})


def test_a_foreign_name_for_this_machine_is_refused_without_a_key():
    assert refused(Authenticator(Listen(), 1), {"host": "rebound.example:8080"})


def test_a_session_is_taken_up_with_its_own_secret_only():
    assert may_resume({"sec-websocket-protocol": "avatar.v1,avatar.secret.s3"}, "s3")
    assert may_resume({"authorization": "Bearer s3"}, "s3")
    assert not may_resume({"authorization": "Bearer s4"}, "s3")
    assert not may_resume({}, "s3")
