import pytest

from server.config import ConfigError, IceServer, Listen, Model, ServerConfig, Webrtc
from server.config_file import load_config, to_toml


def write(tmp_path, text):
    path = tmp_path / "server.toml"
    path.write_text(text)
    return path


def test_without_a_file_and_flags_the_defaults_hold():
    assert load_config() == ServerConfig()


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


def test_the_file_wins_over_defaults(tmp_path):
    defaults = {"model": {"characters": [tmp_path], "threads": 3}}
    path = write(tmp_path, "[model]\ncharacters = []\n")
    model = load_config(path, None, defaults).model
    assert (model.characters, model.threads) == ((), 3)


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


def test_what_is_written_is_read_back(tmp_path):
    folder = tmp_path / 'a "quoted" \\ folder, with an é'
    folder.mkdir()
    config = ServerConfig(
        Listen(port=1234, allowed_origins=("https://a.example", "https://b.example")),
        model=Model(characters=(folder, tmp_path), checkpoint=folder, threads=2),
        webrtc=Webrtc(ice_servers=(IceServer(("stun:s",)), IceServer(("turn:t",), "u"))),
    )
    assert load_config(write(tmp_path, to_toml(config))) == config


def test_every_line_that_is_written_has_its_meaning_before_it():
    lines = to_toml(ServerConfig()).splitlines()
    values = [n for n, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(values) > 25
    assert all(lines[n - 1].startswith("# ") for n in values)


def test_secrets_are_not_written():
    ice = IceServer(("turn:t",), "u", "the-credential")
    config = ServerConfig(Listen(api_key="0123456789abcdef"), webrtc=Webrtc(ice_servers=(ice,)))
    text = to_toml(config)
    assert "0123456789abcdef" not in text
    assert "the-credential" not in text
    assert "# api_key is set, and not shown; pass it by AVATAR_API_KEY" in text
