"""What a session was really granted: the body of `session.created` and `session.updated`."""

from typing import Any, Protocol

from runtime.timing import OUTPUT_RATE, VIDEO_FPS
from server.api.tts import find_synthesizer
from server.config import ServerConfig
from server.generation.interface import Backend
from server.session.settings import Settings


class Resumable(Protocol):
    """What takes a session up again."""

    id: str
    secret: str


def granted(
    settings: Settings, engine: Backend, config: ServerConfig, session: Resumable
) -> dict[str, Any]:
    character, times = settings.character, engine.times(settings.preset)
    height, width = character.picture.height, character.picture.width
    moods = sorted({"neutral", *character.emotions}) if engine.has_emotions() else []
    return {
        "session_id": session.id,
        "resume_secret": session.secret,
        "resume_ms": config.limits.resume_ms,
        "character": character.id,
        "speakers": [
            {"id": each.id, "name": each.name, "box": each.box.as_dict()}
            for each in character.speakers
        ],
        "preset": settings.preset,
        "video": {"width": width, "height": height, "fps": VIDEO_FPS},
        "audio": {
            "input": {
                "format": {
                    "type": "audio/pcm",
                    "rate": settings.pcm.rate,
                    "channels": settings.pcm.channels,
                }
            },
            "output": {"codec": "opus", "rate": OUTPUT_RATE},
        },
        "latency": {
            "hop_ms": times.hop_ms,
            "lag_ms": times.lag_ms,
            "lookahead_ms": times.lookahead_ms,
            "max_buffer_ms": config.limits.max_buffer_ms,
        },
        "ice_servers": [
            {"urls": list(each.urls), "username": each.username, "credential": each.credential}
            for each in config.webrtc.ice_servers
        ],
        "capabilities": {
            "emotions": moods,
            "video_codecs": ["VP8", "H264"],
            "prompt": False,
            "tts": find_synthesizer() is not None,
        },
    }
