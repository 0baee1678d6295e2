"""Characters that are broken, or deleted at the wrong moment, behind a real server."""

import shutil
from pathlib import Path

import pytest
from avatar_client.events import Error, OutputStopped, SessionClosed, SessionCreated

from runtime.errors import BadInput
from server.config import Model, ServerConfig
from server.generation.interface import CallTimes
from tests.support.models.small_model import random_model
from tests.support.models.small_world import small_character
from tests.support.serving.backends import SmallBackend, make_characters
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import client, serving

pytestmark = pytest.mark.fault("pictures")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_characters(tmp_path / "characters")


def break_card(root: Path, name: str) -> None:
    (root / name / "character.json").write_text("{")


async def test_a_broken_character_is_refused_to_its_own_session_only(root, speech):
    """A character that breaks while the server runs is refused by name; other sessions go on."""
    async with (
        serving(ServerConfig(), FlashBackend(root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        await talk.say(speech(500))
        break_card(root, "pair")
        stand.hub.backend.characters.forget()  # as a second later
        async with client(stand, "?character=pair", media=False) as refused:
            fatal = await refused.until(Error)
        assert fatal.error.code == "unknown_character"
        assert "'pair' is broken" in fatal.error.message
        assert str(root) not in fatal.error.message
        assert (await talk.until(OutputStopped)).audio_end_ms == 500
        async with client(stand, media=False) as other:
            await other.until(SessionCreated)


async def test_a_broken_default_character_is_named_at_the_start(root):
    """A server whose default character is broken does not start, and says what is wrong with it."""
    break_card(root, "ana")
    config = ServerConfig(model=Model(default_character="ana"))
    with pytest.raises(
        BadInput, match=r"model\.default_character: .*ana/character\.json is no JSON"
    ):
        async with serving(config, FlashBackend(root)):
            pass


async def test_an_unknown_default_character_is_named_at_the_start(root):
    """A server whose default character does not exist does not start, and lists those that do."""
    config = ServerConfig(model=Model(default_character="bob"))
    with pytest.raises(BadInput, match=r"model\.default_character: .*'bob'.* ana, pair"):
        async with serving(config, FlashBackend(root)):
            pass


async def test_without_any_character_the_server_does_not_start(root):
    """A server all of whose characters are broken does not start, and says what to do."""
    break_card(root, "ana")
    break_card(root, "pair")
    with pytest.raises(BadInput, match=r"no character\. Add one"):
        async with serving(ServerConfig(), FlashBackend(root)):
            pass


async def test_a_broken_emotion_does_not_keep_the_server_from_starting(root, tmp_path, caplog):
    """A character whose emotion picture is broken does not keep the server from starting."""
    broken = small_character(tmp_path).folder
    assert broken.parent == root
    (broken / "happy.webp").write_bytes(b"no picture")
    async with (
        serving(ServerConfig(), SmallBackend(root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        assert talk.video.at
    assert "small" in caplog.text


class ColdBackend(SmallBackend):
    """Its characters' files were not read yet when a stream opens."""

    def load(self) -> CallTimes:
        self._model = random_model(0)
        return CallTimes()


async def test_a_character_deleted_before_its_stream_opens_ends_its_session_only(root, tmp_path):
    """A character that is deleted before its stream opens ends that session with a clear error."""
    small_character(tmp_path)
    backend = ColdBackend(root)
    async with (
        serving(ServerConfig(), backend) as stand,
        client(stand, "?character=ana") as other,
        client(stand, "?character=small", media=False) as talk,
    ):
        await talk.until(SessionCreated)
        shutil.rmtree(root / "small")
        await talk.open_media()
        fatal = await talk.until(Error)
        assert (fatal.error.type, fatal.error.code) == ("fatal", "generator_failed")
        assert "of small was deleted" in fatal.error.message
        await talk.until(SessionClosed)
        seen = len(other.video.at)
        await other.till(lambda: len(other.video.at) > seen + 5)
