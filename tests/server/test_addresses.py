"""Where a client may make the server send packets."""

import socket
import threading
from ipaddress import ip_address, ip_network

import pytest

from server.addresses import AddressRules, NameLookup, client_network, parse_address

PUBLIC, LAN, HERE = "8.8.8.8", "192.168.1.5", "127.0.0.1"


def permits(client: str, address: str, *allowed: str) -> bool:
    found = parse_address(address)
    assert found is not None
    rules = AddressRules(parse_address(client), tuple(ip_network(each) for each in allowed))
    return rules.permits(found)


@pytest.mark.fault("outputs")
@pytest.mark.parametrize("client", [PUBLIC, LAN, HERE, "", "::1"])
@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "0.0.0.0", "255.255.255.255", "224.0.0.251", "100.100.100.200", "fe80::1",
     "ff02::1", "::", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
     "2002:a9fe:a9fe::1", "::169.254.169.254", "64:ff9b:1::a00:1"],
)  # fmt: skip
def test_metadata_services_and_multicast_are_never_sent_to(client, address):
    """Metadata services, multicast and broadcast addresses are never sent to, for no client."""
    assert not permits(client, address)


@pytest.mark.fault("outputs")
@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.9", "fd12::1", "100.64.0.1"]
)
def test_private_networks_are_for_clients_from_there(address):
    """A client from the internet cannot make the server send into a private network."""
    assert not permits(PUBLIC, address)
    assert permits(LAN, address)
    assert permits(HERE, address)
    assert permits(PUBLIC, address, "10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12", "fd00::/8",
                   "100.64.0.0/10")  # fmt: skip


@pytest.mark.fault("outputs")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_for_clients_on_it(address):
    """Only a client on the same machine can make the server send to loopback."""
    assert permits(HERE, address)
    assert permits("::1", address)
    assert not permits(LAN, address)
    assert not permits(PUBLIC, address)
    assert not permits("", address)


def test_public_addresses_are_open_to_all():
    assert all(permits(client, "1.1.1.1") for client in (PUBLIC, LAN, HERE, ""))


@pytest.mark.parametrize("text", ["", "host.local", "1.2.3", "999.1.1.1", "http://1.1.1.1"])
def test_what_is_no_address_is_none(text):
    assert parse_address(text) is None


def test_a_zone_is_left_out():
    assert parse_address("fe80::1%eth0") == ip_address("fe80::1")


@pytest.mark.fault("outputs")
@pytest.mark.parametrize("address", ["64:ff9b::a00:1", "2002:a00:1::1", "::ffff:10.0.0.1"])
def test_an_address_inside_another_one_counts(address):
    """A private IPv4 address is private inside an IPv6 address, too."""
    assert not permits(PUBLIC, address)
    assert permits(LAN, address)


@pytest.mark.fault("outputs")
def test_a_name_is_permitted_if_all_of_its_addresses_are():
    """One forbidden address among those of a name forbids the name."""
    rules = AddressRules(parse_address(PUBLIC))
    good, bad = ip_address("9.9.9.9"), ip_address("10.0.0.1")
    assert rules.permits_all([good])
    assert not rules.permits_all([good, bad])
    assert not rules.permits_all([])


async def test_names_are_looked_up():
    lookup = NameLookup()
    assert await lookup.addresses("127.0.0.1", 1.0) == (ip_address("127.0.0.1"),)
    assert ip_address("127.0.0.1") in await lookup.addresses("localhost", 5.0)
    assert await lookup.addresses("x" * 80 + ".invalid", 5.0) == ()


@pytest.mark.fault("relays")
async def test_a_silent_name_server_is_not_waited_for(monkeypatch):
    """A name server that does not answer costs no more than the time allowed."""
    hangs = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hangs.wait(20) and [])
    lookup = NameLookup()
    try:
        assert await lookup.addresses("a.example", 0.02) == ()
        assert await lookup.addresses("a.example", 0.02) == ()
    finally:
        hangs.set()


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_a_client_is_an_address_or_a_network_of_one_customer(host, client):
    assert client_network(host) == client
