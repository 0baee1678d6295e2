import pytest

from server.auth import Authenticator, may_resume
from server.config import Limits, Listen
from server.protocol.errors import ProtocolError

KEY = "a-key-of-24-characters-0"
HOME = {"host": "localhost:8080"}
SHOWN = {"authorization": f"Bearer {KEY}"}
CLIENT = "127.0.0.1"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def guarded(clock=None, **listen) -> Authenticator:
    return Authenticator(Listen(api_key=KEY, **listen), Limits(), clock or Clock(), Clock())


def refusal(check, headers: dict[str, str]) -> str | None:
    """The code with which the headers are refused."""
    try:
        check(headers, CLIENT)
    except ProtocolError as reason:
        return str(reason.code)
    return None


def offering(secret: str) -> dict[str, str]:
    return HOME | {"sec-websocket-protocol": f"avatar.v1, avatar.secret.{secret}"}


def test_without_a_key_this_machine_may_come_in():
    access = Authenticator(Listen(), Limits())
    assert refusal(access.check, HOME) is None
    assert refusal(access.check_handshake, HOME) is None


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
    access = guarded()
    assert refusal(access.check, HOME | headers) == "unauthorized"
    assert refusal(access.check_handshake, HOME | headers) == "unauthorized"


def test_the_key_opens():
    access = guarded()
    assert refusal(access.check, HOME | SHOWN) is None
    assert refusal(access.check_handshake, HOME | SHOWN) is None


@pytest.mark.fault("intruders")
def test_a_client_secret_opens_one_socket_and_not_another():
    """A client secret opens one WebSocket, once."""
    access = guarded()
    offered = offering(access.new_secret(CLIENT).value)
    assert refusal(access.check_handshake, offered) is None
    assert refusal(access.check_handshake, offered) == "unauthorized"


@pytest.mark.fault("intruders")
def test_a_client_secret_opens_no_route():
    """A client secret is no API key: every HTTP route refuses it, however it is shown."""
    access = guarded()
    secret = access.new_secret(CLIENT).value
    assert refusal(access.check, offering(secret)) == "unauthorized"
    assert refusal(access.check, HOME | {"authorization": f"Bearer {secret}"}) == "unauthorized"
    assert refusal(access.check_handshake, offering(secret)) is None  # and was not spent by that


def test_a_handshake_of_a_foreign_page_spends_no_secret():
    access = guarded()
    offered = offering(access.new_secret(CLIENT).value)
    foreign = offered | {"origin": "https://evil.example"}
    assert refusal(access.check_handshake, foreign) == "forbidden"
    assert refusal(access.check_handshake, offered) is None


def test_a_client_secret_lives_for_a_minute():
    clock = Clock()
    access = guarded(clock)
    secret = access.new_secret(CLIENT).value
    clock.now += 61
    assert refusal(access.check_handshake, offering(secret)) == "unauthorized"


def test_a_session_is_taken_up_with_its_own_secret_only():
    assert may_resume({"sec-websocket-protocol": "avatar.v1,avatar.secret.s3"}, "s3")
    assert may_resume({"authorization": "Bearer s3"}, "s3")
    assert not may_resume({"authorization": "Bearer s4"}, "s3")
    assert not may_resume({}, "s3")


# ------------------------------------------------------------ hosts and origins


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9"])
def test_pages_of_other_sites_may_not_come_in_through_a_users_browser(origin):
    access = Authenticator(Listen(), Limits())
    assert refusal(access.check, HOME | {"origin": origin}) == "forbidden"
    assert refusal(guarded().check, HOME | SHOWN | {"origin": origin}) == "forbidden"


@pytest.mark.parametrize(
    "origin", ["http://localhost:8080", "https://app.example", "HTTPS://APP.example:443"]
)
def test_the_servers_own_page_and_named_origins_may(origin):
    access = Authenticator(Listen(allowed_origins=("https://App.example",)), Limits())
    assert refusal(access.check, HOME | {"origin": origin}) is None


@pytest.mark.parametrize("host", ["avatar.example", "avatar.example:443"])
def test_the_port_that_a_proxy_adds_to_the_host_changes_nothing(host):
    headers = SHOWN | {"host": host, "origin": "https://avatar.example"}
    assert refusal(guarded().check, headers) is None


@pytest.mark.parametrize("name", ["rebound.example:8080", "192.168.1.4", "localhost.evil.example"])
def test_a_foreign_name_for_this_machine_is_refused_without_a_key(name):
    assert refusal(Authenticator(Listen(), Limits()).check, {"host": name}) == "forbidden"


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("name", ["127.0.0.2:8080", "[::1]", "[::ffff:127.0.0.1]:80", "LOCALHOST."])
def test_every_loopback_address_is_a_known_host(name):
    """A server that listens on any loopback address answers under it."""
    access = Authenticator(Listen(host="127.0.0.2"), Limits())
    assert refusal(access.check, {"host": name}) is None


@pytest.mark.parametrize("access", [Authenticator(Listen(), Limits()), guarded()])
def test_advice_for_a_refused_origin_names_both_remedies(access):
    headers = HOME | SHOWN | {"origin": "https://app.example"}
    with pytest.raises(ProtocolError, match="allowed_origins") as refused:
        access.check(headers, CLIENT)
    assert "proxy_set_header Host $http_host" in str(refused.value)
    assert "api_key" not in str(refused.value)  # with a key, origins are checked too


def test_what_a_stranger_sent_is_repeated_short_and_escaped():
    with pytest.raises(ProtocolError) as refused:
        guarded().check(HOME | {"origin": "https://a\n2026 ERROR é" + "x" * 900}, CLIENT)
    assert "\n" not in str(refused.value)
    assert str(refused.value).isascii()
    assert len(str(refused.value)) < 700


# ------------------------------------------------------------ wrong keys


@pytest.mark.fault("intruders")
def test_wrong_keys_are_slowed_down_and_the_right_one_is_not():
    """An address that tries many wrong keys must wait; the right key is let in all the same."""
    clock = Clock()
    access = guarded(clock)
    wrong = HOME | {"authorization": "Bearer wrong"}
    codes = [refusal(access.check, wrong) for _ in range(300)]
    assert codes[0] == "unauthorized"
    assert set(codes[20:]) == {"rate_limited"}
    assert refusal(access.check, HOME | SHOWN) is None
    with pytest.raises(ProtocolError) as refused:
        access.check(wrong, CLIENT)
    assert refused.value.retry_after_s is not None
    clock.now += refused.value.retry_after_s + 0.01
    assert refusal(access.check, wrong) == "unauthorized"


def test_wrong_client_secrets_count_as_wrong_keys():
    access = guarded()
    codes = [refusal(access.check_handshake, offering("guess")) for _ in range(30)]
    assert codes[-1] == "rate_limited"


def test_requests_without_any_key_are_told_so_however_many_they_are():
    access = guarded()
    assert {refusal(access.check, HOME) for _ in range(100)} == {"unauthorized"}


def test_other_addresses_are_not_slowed_down():
    access = guarded()
    wrong = HOME | {"authorization": "Bearer wrong"}
    for _ in range(100):
        refusal(access.check, wrong)
    with pytest.raises(ProtocolError) as refused:
        access.check(wrong, "10.0.0.9")
    assert refused.value.code == "unauthorized"
