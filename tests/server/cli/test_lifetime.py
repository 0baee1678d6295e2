import socket

import pytest

from server.cli.lifetime import bind
from server.config import ConfigError, Listen, ServerConfig


def config(host: str = "127.0.0.1", port: int = 0) -> ServerConfig:
    return ServerConfig(Listen(host=host, port=port))


@pytest.mark.fault("shutdown")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_bound_port_is_taken_before_the_server_answers(host):
    """A port belongs to one server from the moment of its start on."""
    with bind(config(host)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"{host}:{port} \(Address already in use\)"):
            bind(config(host, port))


def test_a_port_is_free_again_at_once():
    with bind(config()) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), listener.accept()[0]:
            pass  # closed by the server's side first: it stays in TIME_WAIT
    with bind(config(port=address[1])) as again:
        assert again.getsockname() == address
