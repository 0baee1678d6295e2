"""Give a chatbot a face: send the stream of its voice model into a session.

    python -m client_demo.chatbot_example http://127.0.0.1:8080 wss://api.example.com/v1/realtime

Two ways. If the voice model's socket uses the events of the OpenAI Realtime API, send them on
unchanged: audio deltas are speech, "done" ends an utterance, and "speech started" interrupts the
character. For a plain text-to-speech stream use `AvatarClient.speak`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from avatar_client.client import AvatarClient
from websockets.asyncio.client import ClientConnection, connect


async def give_a_face(voice_model: ClientConnection, avatar: AvatarClient) -> None:
    """Send a voice model's events on. The server acts on those it knows and ignores the rest."""
    async for event in voice_model:
        await avatar.pass_on(event)


async def say(avatar: AvatarClient, tts: AsyncIterator[bytes], rate: int) -> None:
    """Speak the chunks of a text-to-speech engine while it makes them."""
    await avatar.speak(tts, rate=rate)


async def main(avatar_url: str, voice_model_url: str) -> None:
    headers = {"Authorization": f"Bearer {os.environ['VOICE_MODEL_API_KEY']}"}
    async with (
        await AvatarClient.connect(avatar_url, rate=24_000) as avatar,
        connect(voice_model_url, additional_headers=headers) as voice_model,
    ):
        await avatar.open_media()
        avatar.record(Path("chat.mp4"))  # or show `avatar.media.video` and play `.audio`
        await give_a_face(voice_model, avatar)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
