import numpy as np
import pytest
import torch

from runtime.errors import BadInput
from runtime.hunyuan.encoders.audio import release_audio_features
from runtime.hunyuan.encoders.audio_chunks import clip_audio_features
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig
from tests.support.models.small_world import babble


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return AudioEncoder(AudioEncoderConfig(width=8, heads=2, layers=1, max_steps=1500)).eval()


@pytest.mark.parametrize("seconds", [0.3, 15.99])
def test_up_to_16_s_the_features_are_the_releases(encoder: AudioEncoder, seconds: float) -> None:
    pcm = babble(seconds)
    assert torch.equal(clip_audio_features(encoder, pcm), release_audio_features(encoder, pcm))


@pytest.mark.parametrize("frames", [401, 500, 501, 700, 705])
def test_longer_sound_has_features_for_every_frame(encoder: AudioEncoder, frames: int) -> None:
    features = clip_audio_features(encoder, babble(frames / 25))
    assert features.shape[1] == frames
    assert bool(features.flatten(2).any(dim=2).all())


def test_a_later_clip_has_the_features_of_its_part_of_the_audio(encoder: AudioEncoder) -> None:
    pcm = babble(20)
    features = clip_audio_features(encoder, pcm)
    alone = release_audio_features(encoder, pcm[12 * 16_000 :])
    assert torch.equal(features[:, :400], release_audio_features(encoder, pcm))
    assert torch.equal(features[:, 400:], alone[:, 100:])


def test_12_5_frames_a_second_have_the_encoder_steps_of_the_release(encoder: AudioEncoder) -> None:
    pcm = babble(3.1)
    halved = clip_audio_features(encoder, pcm, 12.5)
    assert halved.shape[1] == 38
    assert torch.equal(halved, release_audio_features(encoder, pcm, 12.5)[:, :38])


def test_another_frame_rate_is_refused(encoder: AudioEncoder) -> None:
    with pytest.raises(BadInput, match=r"fps is 30\. Use 25 or 12\.5"):
        clip_audio_features(encoder, babble(1), 30)


def test_sound_shorter_than_a_frame_is_refused(encoder: AudioEncoder) -> None:
    with pytest.raises(BadInput, match="100 samples"):
        clip_audio_features(encoder, np.zeros(100, np.float32))
