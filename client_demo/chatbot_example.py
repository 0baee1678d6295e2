"""Give a chatbot a face: pipe what its voice model streams into a session.

    python -m client_demo.chatbot_example http://127.0.0.1:8080 wss://api.example.com/v1/realtime

Two ways. A voice model whose socket speaks as the OpenAI Realtime API does is piped through
unchanged: its audio deltas are speech, its "done" ends an utterance, and "the user began to speak"
interrupts the character. A plain text-to-speech stream goes through `AvatarClient.speak`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from avatar_client.client import AvatarClient
from websockets.asyncio.client import ClientConnection, connect


async def give_a_face(voice_model: ClientConnection, avatar: AvatarClient) -> None:
    """Pass a voice model's events on. The server takes what concerns it and ignores the rest."""
    async for event in voice_model:
        await avatar.pass_on(event)


async def say(avatar: AvatarClient, tts: AsyncIterator[bytes], rate: int) -> None:
    """Speak what a text-to-speech engine yields, chunk by chunk, while it is being made."""
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
