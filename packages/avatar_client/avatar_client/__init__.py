"""The Python client of Avatar Server: send speech, receive a talking character over WebRTC."""

from avatar_client.characters import find_character, list_characters
from avatar_client.client import AvatarClient
from avatar_client.errors import AvatarClientError, RecordingError
from avatar_client.received_media import ReceivedFrame, ReceivedMedia
from avatar_client.recording import Recorder
from avatar_client.session_socket import EventReader

__all__ = [
    "AvatarClient",
    "AvatarClientError",
    "EventReader",
    "ReceivedFrame",
    "ReceivedMedia",
    "Recorder",
    "RecordingError",
    "find_character",
    "list_characters",
]
