"""Windows cut from clips: sound, cues and mouths of the same video frames."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from runtime.models.dit.config import TINY
from training.data import clips
from training.data.latent_clips import WindowSampler
from training.data.pictures import scene_of
from training.shipped import load_autoencoder

LATENTS, LAYERS, WIDTH = clips.LATENTS, TINY.audio_layers, TINY.audio_dim


def test_sound_cues_and_mouths_of_a_window_are_of_its_latent_frames(sampler: WindowSampler) -> None:
    clip, start = torch.tensor([0]), torch.tensor([5])
    windows = sampler.windows(torch.Generator(), 1, clip, start, 3, 24)
    expected = torch.arange(21.0, 33.0)  # of latent frames 6, 7, 8
    assert torch.equal(windows.clean[0, 0, :, 0, 0], torch.tensor([6.0, 7.0, 8.0]))
    assert torch.equal(windows.cond.audio[0, 0, :, 0, 0, 0], expected)
    assert windows.cond.cues is not None
    assert torch.equal(windows.cond.cues[0, 0, :, 0], expected)
    mouths = windows.drawn_mouths
    assert mouths.shape == (1, 3, 1, 24)
    assert torch.equal(mouths.view(3, 4, 6)[..., 0].flatten(), expected)


@pytest.fixture(scope="module")
def two_people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindowSampler]:
    """Three clips of random numbers, each of another scene of two people."""
    tmp_path = tmp_path_factory.mktemp("clips")
    (tmp_path / "train").mkdir()
    rng, numbers = np.random.default_rng(2), (n for n in range(999) if people_in(n) == 2)
    for index in range(3):
        np.savez(
            tmp_path / "train" / f"{index:05d}.npz",
            latents=rng.random((LATENTS, TINY.in_channels, 32, 32)).astype(np.float16),
            features=rng.random(
                (2, 2, LATENTS, 4, TINY.audio_steps, LAYERS, WIDTH), np.float32
            ).astype(np.float16),
            mouth=rng.random((1 + 4 * LATENTS, 2, 6), np.float32),
            cues=rng.random((1 + 4 * LATENTS, 2, 8)).astype(np.float16),
            moods=rng.integers(5, size=2),
            strengths=np.array([0.5, 1], np.float32),
            scene=np.array(next(numbers)),
        )
    prompt = torch.zeros(1, 2, TINY.text_dim), torch.zeros(1, TINY.pooled_text_dim)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clips, "FOLDER", tmp_path)
        yield WindowSampler(load_autoencoder(), TINY, prompt, "train", dropping=False)


def people_in(scene: int) -> int:
    return len(scene_of(scene, 256).placements)


def test_windows_of_a_batch_are_those_of_the_files(two_people: WindowSampler) -> None:
    picked, starts = [2, 0], [7, 40]
    windows = two_people.windows(
        torch.Generator(), 2, torch.tensor(picked), torch.tensor(starts), 2, 24
    )
    cond, scenes = windows.cond, two_people.clips[2].scenes
    assert cond.cues is not None
    assert cond.emotion_latents is not None
    assert cond.emotion_scale is not None
    for row, (index, start) in enumerate(zip(picked, starts, strict=True)):
        file = np.load(clips.FOLDER / "train" / f"{index:05d}.npz")
        latents = file["latents"][start : start + 2].swapaxes(0, 1)
        assert np.array_equal(windows.clean[row], latents)
        features = file["features"][:, :, start : start + 2]
        variants = features.reshape(2, 2, 8, *features.shape[4:])
        assert any(np.array_equal(cond.audio[row], variant) for variant in variants)
        frames = slice(1 + 4 * start, 9 + 4 * start)
        assert np.array_equal(cond.cues[row], file["cues"][frames].swapaxes(0, 1))
        mouth = windows.drawn_mouths[row].unflatten(-1, (4, 6)).transpose(1, 2).flatten(0, 1)
        assert np.array_equal(mouth, file["mouth"][frames])
        emotions = scenes.emotions.unflatten(0, (3, 5))[
            index
        ]  # scenes in the order of their numbers
        assert torch.equal(cond.emotion_latents[row], emotions[torch.from_numpy(file["moods"])])
        assert torch.equal(cond.ref_latents[row, :, 1], emotions[0])
        assert np.array_equal(cond.emotion_scale[row], file["strengths"])


def test_a_seed_decides_a_batch(two_people: WindowSampler) -> None:
    first, second, other = (
        two_people.batch(torch.Generator().manual_seed(seed), 4, 2, 1, 24) for seed in (1, 1, 2)
    )
    assert torch.equal(first.clean, second.clean)
    assert torch.equal(first.cond.audio, second.cond.audio)
    assert not torch.equal(first.clean, other.clean)
