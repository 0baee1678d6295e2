import pytest

from server.protocol.public_text import without_folders


@pytest.mark.parametrize(
    ("message", "public"),
    [
        ("/srv/avatar/characters/named exists.", "named exists."),
        ("/home/a b/c d/x exists. Use 1/2.", "x exists. Use 1/2."),
        ("'/srv/x/character.json' is no JSON", "'character.json' is no JSON"),
        ("See (/var/lib/x/y.onnx), then go on.", "See (y.onnx), then go on."),
        ("No such file: '~/data/x'", "No such file: 'x'"),
    ],
)
def test_folders_are_left_out(message, public):
    assert without_folders(message) == public


@pytest.mark.parametrize(
    "message",
    [
        "Use POST /v1/realtime/sessions, or try when /readyz answers.",
        "Send audio/pcm and UDP/TLS/RTP/SAVPF.",
        "Open https://app.example/a/b/c or 1/2/3.",
    ],
)
def test_other_slashes_stay(message):
    assert without_folders(message) == message
