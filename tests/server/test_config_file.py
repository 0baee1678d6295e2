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


ICE_URLS = (
    "http://x", "stun:", "stun", "", "turn:x", "stun:x:0", "stun:x:65536", "stun:x:", "stun://x",
    "stun:x?transport=udp", "stun:[::1]:3478", "turn:[::1]", "stun:x y", "turns:x?transport=quic",
)  # fmt: skip


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
        ("[listen]\napi_key = 'a key with spaces in it'\n", "listen.api_key"),
        ("[listen]\napi_key = 'schlüssel-für-alle-türen'\n", "listen.api_key"),
        ("[listen]\napi_key_file = '/nowhere/key'\n", "listen.api_key_file"),
        ("[listen]\napi_key_file = '/'\n", "listen.api_key_file"),
        ("[listen]\nweb_dir = '/nowhere'\n", "listen.web_dir"),
        ("[listen]\nsamples_dir = '/nowhere'\n", "listen.samples_dir"),
        ("[listen]\nallowed_origins = ['https://a/', 'b']\n", "listen.allowed_origins.0"),
        ("[listen]\nallowed_origins = ['*']\n", "listen.allowed_origins.0"),
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
        (
            "[[webrtc.ice_servers]]\nurls = ['turn:t']\nsecret = 's'\nusername = 'u'\n",
            "webrtc.ice_servers.0",
        ),
        ("[[webrtc.ice_servers]]\nurls = ['turn:t']\nsecret = ''\n", "webrtc.ice_servers.0.secret"),
        ("[[webrtc.ice_servers]]\nusername = 'u'\n", "webrtc.ice_servers.0.urls"),
        ("[webrtc]\nallowed_networks = ['10.0.0.1/8']\n", "webrtc.allowed_networks"),
        ("listen = 3\n", "listen"),
        ("not toml", "server.toml"),
    ],
)
def test_a_wrong_key_fails_with_its_path(tmp_path, text, path):
    with pytest.raises(ConfigError, match=path.replace(".", r"\.")):
        load_config(write(tmp_path, text))


KEY = "0123456789abcdef"


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  \n\n"])
def test_the_line_end_of_a_secret_file_is_no_part_of_the_key(tmp_path, end):
    """A key from a file, the environment or TOML is taken without the space around it."""
    file = tmp_path / "key"
    file.write_bytes(f"{KEY}{end}".encode())
    assert load_config(None, {"listen": {"api_key_file": file}}).listen.api_key == KEY
    assert load_config(None, {"listen": {"api_key": KEY + end}}).listen.api_key == KEY


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("content", ["", "\n", "short\n", "zwölf-und-mehr-zeichen", "a b" * 9])
def test_a_file_without_a_usable_key_stops_the_start(tmp_path, content):
    """A key that no client could send stops the start, and is not printed."""
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"listen\.api_key") as refused:
        load_config(None, {"listen": {"api_key_file": file}})
    assert not content.strip() or content.strip() not in str(refused.value)


def test_of_two_sources_of_the_key_the_higher_one_wins(tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY)
    toml = write(tmp_path, f'[listen]\napi_key_file = "{tmp_path / "gone"}"\n')
    assert load_config(toml, {"listen": {"api_key": KEY}}).listen.api_key == KEY
    toml = write(tmp_path, '[listen]\napi_key = "fedcba9876543210"\n')
    assert load_config(toml, {"listen": {"api_key_file": file}}).listen.api_key == KEY
    with pytest.raises(ConfigError, match="both set"):
        load_config(None, {"listen": {"api_key": KEY, "api_key_file": file}})


def test_a_key_file_is_written_as_the_file_and_read_back(tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY)
    config = load_config(None, {"listen": {"api_key_file": file}})
    assert KEY not in to_toml(config)
    assert load_config(write(tmp_path, to_toml(config))) == config


def test_a_key_file_that_nobody_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="was not read"):
        ServerConfig(Listen(api_key_file=tmp_path))


def test_a_missing_file_fails_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        load_config(tmp_path / "gone.toml")


def test_what_is_written_is_read_back(tmp_path):
    folder = tmp_path / 'a "quoted" \\ folder, with an é'
    folder.mkdir()
    config = ServerConfig(
        Listen(port=1234, allowed_origins=("https://a.example", "https://b.example")),
        model=Model(characters=(folder, tmp_path), checkpoint=folder, threads=2),
        webrtc=Webrtc(ice_servers=(IceServer(("stun:s",)), IceServer(("stun:t",), "u"))),
    )
    assert load_config(write(tmp_path, to_toml(config))) == config


def test_every_line_that_is_written_has_its_meaning_before_it():
    lines = to_toml(ServerConfig()).splitlines()
    values = [n for n, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(values) > 25
    assert all(lines[n - 1].startswith("# ") for n in values)


def test_secrets_are_not_written():
    ice = IceServer(("turn:t",), "u", "the-credential")
    other = IceServer(("turn:t",), secret="the-turn-secret")
    servers = Webrtc(ice_servers=(ice, other))
    config = ServerConfig(Listen(api_key="0123456789abcdef"), webrtc=servers)
    text = to_toml(config)
    assert "0123456789abcdef" not in text
    assert "the-credential" not in text
    assert "the-turn-secret" not in text
    assert "the-turn-secret" not in repr(config)
    assert "# api_key is set, and not shown; pass it by AVATAR_API_KEY" in text


@pytest.mark.fault("relays")
@pytest.mark.parametrize("url", ICE_URLS)
def test_a_wrong_address_of_a_stun_or_turn_server_stops_the_start(tmp_path, url):
    """A wrong address of a STUN or TURN server is refused at the start, with its key."""
    text = f"[[webrtc.ice_servers]]\nurls = ['{url}']\n"
    with pytest.raises(ConfigError, match=r"webrtc\.ice_servers\.0"):
        load_config(write(tmp_path, text))


def test_usual_addresses_of_stun_and_turn_servers_are_taken(tmp_path):
    urls = "['stun:a.example', 'turn:10.0.0.1:3478?transport=udp', 'turns:t.example:443']"
    text = f"[[webrtc.ice_servers]]\nurls = {urls}\nusername = 'u'\ncredential = 'c'\n"
    assert len(load_config(write(tmp_path, text)).webrtc.ice_servers[0].urls) == 3
