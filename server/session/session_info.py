"""What a session was really granted: `session.created` and `session.updated`."""

from typing import TypeVar

from runtime.timing import OUTPUT_RATE
from server.config import IceServer, ServerConfig
from server.generation.interface import Backend
from server.protocol.client_events import FaceBox
from server.protocol.server_events import (
    AudioFormat,
    AudioInfo,
    AudioInput,
    AudioOutput,
    Capabilities,
    IceServerInfo,
    LatencyInfo,
    SessionCreated,
    SpeakerInfo,
)
from server.session.settings import Settings, granted_video
from server.webrtc.ice_credentials import credentials_for

Granted = TypeVar("Granted", bound=SessionCreated)

VIDEO_CODECS = ("VP8", "H264")


def session_info(
    kind: type[Granted],
    session_id: str,
    secret: str,
    settings: Settings,
    backend: Backend,
    config: ServerConfig,
    *,
    has_tts: bool,
) -> Granted:
    """The event `kind` for a session with these settings; `secret` resumes the session."""
    character, pcm = settings.character, settings.pcm
    return kind(
        session_id=session_id,
        resume_secret=secret,
        resume_ms=config.limits.resume_ms,
        character=character.id,
        speakers=tuple(
            SpeakerInfo(each.id, each.name, FaceBox(*each.box)) for each in character.speakers
        ),
        preset=settings.preset,
        video=granted_video(character),
        audio=AudioInfo(
            AudioInput(AudioFormat("audio/pcm", pcm.rate, pcm.channels)),
            AudioOutput("opus", OUTPUT_RATE),
        ),
        latency=_latency(settings, backend, config),
        ice_servers=tuple(_ice_server(each, session_id) for each in config.webrtc.ice_servers),
        capabilities=_capabilities(settings, backend, has_tts),
    )


def _ice_server(server: IceServer, session_id: str) -> IceServerInfo:
    """With credentials of the session's own if the server has a secret."""
    own = credentials_for(server, session_id)
    return IceServerInfo(server.urls, own.username, own.credential)


def _latency(settings: Settings, backend: Backend, config: ServerConfig) -> LatencyInfo:
    times = backend.times(settings.preset)
    return LatencyInfo(times.hop_ms, times.lag_ms, times.lookahead_ms, config.limits.max_buffer_ms)


def _capabilities(settings: Settings, backend: Backend, has_tts: bool) -> Capabilities:
    emotions = {"neutral", *settings.character.emotions} if backend.has_emotions() else ()
    return Capabilities(tuple(sorted(emotions)), VIDEO_CODECS, prompt=False, tts=has_tts)
