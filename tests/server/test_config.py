import dataclasses

import pytest

from server.config import ConfigError, Limits, Listen, ServerConfig
from server.config_file import load_config


def write(tmp_path, text):
    path = tmp_path / "server.toml"
    path.write_text(text)
    return path


def test_the_defaults_listen_on_this_machine_only():
    config = load_config()
    assert config == ServerConfig()
    assert config.listen.is_loopback


def test_flags_win_over_the_file_and_absent_flags_do_not(tmp_path):
    path = write(tmp_path, "[listen]\nport = 1234\n[limits]\nmax_sessions = 7\n")
    config = load_config(path, {"listen": {"port": 99, "host": None}, "limits": {}})
    assert (config.listen.port, config.limits.max_sessions) == (99, 7)
    assert config.listen.host == "127.0.0.1"


def test_ice_servers_are_read_from_an_array_of_tables(tmp_path):
    text = '[[webrtc.ice_servers]]\nurls = ["turn:t.example"]\nusername = "u"\ncredential = "c"\n'
    (server,) = load_config(write(tmp_path, text)).webrtc.ice_servers
    assert server.urls == ("turn:t.example",)
    assert "'c'" not in repr(server)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[listen]\nprot = 1\n", "listen.prot"),
        ("[lisen]\nport = 1\n", "lisen"),
        ("[listen]\nport = 'x'\n", "listen.port"),
        ("[listen]\nport = 70000\n", "listen.port"),
        ("[listen]\nport = true\n", "listen.port"),
        ("[listen]\nhost = '0.0.0.0'\n", "listen.host"),
        ("[listen]\napi_key = 'short'\n", "listen.api_key"),
        ("[limits]\nmax_sessions = 0\n", "limits.max_sessions"),
        ("[pacing]\nmax_lead_ms = -1\n", "pacing.max_lead_ms"),
        ("[model]\ncheckpoint = '/nowhere/at/all'\n", "model.checkpoint"),
        ("[model]\ncharacters = ['/nowhere/at/all']\n", "model.characters.0"),
        ("[model]\ncharacters = 3\n", "model.characters"),
        ("[model]\ndefault_preset = 'fast'\n", "model.default_preset"),
        ("[model]\ndevices = []\n", "model.devices"),
        ("[model]\ndevices = ['gpu']\n", "model.devices"),
        ("[model]\ndevices = ['cuda:0', 'cuda:1']\n", "limits.max_sessions"),
        ("[[webrtc.ice_servers]]\nurl = 'x'\n", "webrtc.ice_servers.0.url"),
        ("listen = 3\n", "listen"),
        ("not toml", "server.toml"),
    ],
)
def test_a_wrong_key_fails_with_its_path(tmp_path, text, path):
    with pytest.raises(ConfigError, match=path.replace(".", r"\.")):
        load_config(write(tmp_path, text))


def test_a_missing_file_fails_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        load_config(tmp_path / "gone.toml")


def test_other_machines_may_speak_to_the_server_once_there_is_a_key():
    key = "0123456789abcdef"
    assert not load_config(None, {"listen": {"host": "0.0.0.0", "api_key": key}}).listen.is_loopback


def test_the_key_stands_in_no_representation():
    assert "0123456789abcdef" not in repr(Listen(api_key="0123456789abcdef"))


def test_the_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().max_sessions = 3
