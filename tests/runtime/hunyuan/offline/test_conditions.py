"""A picture and voices to the whole conditioning of the sampler, on a tiny release."""

import logging
import weakref
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.errors import BadInput, CheckpointError
from runtime.hunyuan.encoders.audio import pad_release_features, release_audio_features
from runtime.hunyuan.encoders.embedding_cache import EmbeddingCache
from runtime.hunyuan.encoders.loadable import Loadable, release_encoders
from runtime.hunyuan.encoders.preprocess import Size
from runtime.hunyuan.encoders.prompts import Prompts
from runtime.hunyuan.encoders.whisper import load_whisper
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.offline.conditions import ClipRequest, prepare
from runtime.values import Box
from tests.support.released.released_folder import (
    AUDIO_WIDTH,
    POOLED_WIDTH,
    TEXT_WIDTH,
    TINY_SHALLOW,
    write_tiny_release,
)

pytestmark = pytest.mark.slow

SIZE = Size(64, 80)
FACE = Box(0.4, 0.4, 0.1, 0.1)
LEFT, RIGHT = Box(0.1, 0.3, 0.1, 0.2), Box(0.8, 0.3, 0.1, 0.2)


def voice(frames: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(640 * frames)
    return (0.1 * noise).astype(np.float32)


def request(**changes) -> ClipRequest:
    picture = Image.fromarray(np.arange(96 * 64 * 3).reshape(96, 64, 3).astype(np.uint8))
    asked = ClipRequest(picture, (voice(20),), (FACE,), size=SIZE)
    return replace(asked, **changes)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("release")
    write_tiny_release(root, dit=TINY_SHALLOW, parts=("vae", "whisper", "llava", "clip"))
    return root


@pytest.fixture(scope="module")
def encoders(release):
    return release_encoders(release, "cpu", torch.float32)


@pytest.fixture(scope="module")
def first(encoders, kept):
    """The encoders loaded for the plain request, and its conditions; they fill the cache `kept`."""
    watch = Watch(encoders)
    return watch, prepare(request(), watch.encoders, EmbeddingCache(kept))


@pytest.fixture(scope="module")
def made(first):
    return first[1]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


class Watch:
    """Loads the encoders, and records which were loaded and which are still in memory."""

    def __init__(self, encoders) -> None:
        self.loaded: list[str] = []
        self._alive: dict[str, weakref.ref] = {}
        self.most_at_once = 0
        self.encoders = replace(
            encoders, **{f.name: self._watched(encoders, f.name) for f in fields(encoders)}
        )

    @property
    def alive(self) -> list[str]:
        return [name for name, ref in self._alive.items() if ref() is not None]

    def _watched(self, encoders, name: str) -> Loadable:
        source = getattr(encoders, name)

        def load():
            encoder = source.load()
            self.loaded.append(name)
            self._alive[name] = weakref.ref(getattr(encoder, "module", encoder))
            self.most_at_once = max(self.most_at_once, len(self.alive))
            return encoder

        return Loadable(load, source.identity)


def assert_same(a, b) -> None:
    for one in ("ref_latents", "face_mask", "audio", "motion_exp", "motion_pose"):
        assert torch.equal(getattr(a, one), getattr(b, one)), one
    for prompt in ("positive", "negative"):
        for one in ("text_states", "text_mask", "pooled_text"):
            assert torch.equal(getattr(getattr(a, prompt), one), getattr(getattr(b, prompt), one))


def test_shapes_are_the_released_ones(made):
    assert made.positive.text_states.shape == (1, 831, TEXT_WIDTH)
    assert made.positive.text_mask.shape == (1, 831)
    assert made.positive.pooled_text.shape == (1, POOLED_WIDTH)
    assert made.ref_latents.shape == (1, 16, 33, 10, 8)
    assert made.face_mask.shape == (1, 1, 1, 10, 8)
    assert made.audio.shape == (1, 129, 10, 5, AUDIO_WIDTH)
    assert made.audio_frames == 20


def test_motion_and_fps_are_the_released_constants(made):
    assert made.motion_exp.tolist() == [[30] * 4]
    assert made.motion_pose.tolist() == [[25] * 4]
    assert made.fps == 25.0


def test_the_negative_prompt_is_another_one(made):
    assert not torch.equal(made.negative.pooled_text, made.positive.pooled_text)
    assert not torch.equal(made.negative.text_states, made.positive.text_states)


def test_audio_features_are_those_of_the_release(made, release):
    whisper = load_whisper(ReleasedLayout.find(release).whisper)
    features = release_audio_features(whisper, request().voices[0])
    assert torch.equal(made.audio, pad_release_features(features))


def test_no_two_encoders_are_in_memory_at_once(first):
    watch, _ = first
    assert watch.loaded == ["whisper", "llava", "clip", "vae"]
    assert watch.most_at_once == 1
    assert watch.alive == []


def test_results_for_a_character_are_cached_on_disk(made, encoders, kept):
    watch = Watch(encoders)
    again = prepare(request(), watch.encoders, EmbeddingCache(kept))
    assert watch.loaded == ["whisper"]
    assert_same(again, made)


def test_a_damaged_entry_is_computed_again(made, encoders, kept, caplog):
    (entry,) = kept.glob("clip-*.safetensors")
    entry.write_bytes(entry.read_bytes()[:-1])
    watch = Watch(encoders)
    with caplog.at_level(logging.WARNING):
        again = prepare(request(), watch.encoders, EmbeddingCache(kept))
    assert watch.loaded == ["whisper", "clip"]
    assert "is damaged" in caplog.text
    assert_same(again, made)


def test_another_prompt_needs_the_text_encoders_only(made, encoders, kept):
    watch = Watch(encoders)
    asked = request(prompts=Prompts("A man sings."))
    prepare(asked, watch.encoders, EmbeddingCache(kept))
    assert watch.loaded == ["whisper", "llava", "clip"]


def test_other_weights_find_no_entries_of_these(made, encoders, kept):
    watch = Watch(replace(encoders, clip=Loadable(encoders.clip.load, "another")))
    prepare(request(), watch.encoders, EmbeddingCache(kept))
    assert watch.loaded == ["whisper", "clip"]


def test_without_a_seed_the_reference_is_the_mean(made, encoders, kept):
    mean = prepare(request(reference_seed=None), encoders, EmbeddingCache(kept)).ref_latents
    assert not torch.equal(mean, made.ref_latents)


def test_at_half_the_frame_rate_there_are_half_the_frames(encoders, kept):
    told = prepare(request(fps=12.5), encoders, EmbeddingCache(kept))
    assert told.fps == 12.5
    assert told.audio_frames == 10


def test_several_voices_have_a_mask_and_features_each(encoders, kept):
    asked = request(voices=(voice(20, 0), voice(12, 1)), faces=(LEFT, RIGHT))
    told = prepare(asked, encoders, EmbeddingCache(kept))
    assert told.audio.shape[0] == 2
    assert told.audio_frames == 20
    left, right = told.face_mask[0, :, 0]
    assert left[:, 0].max() == 1
    assert left[:, -1].max() == 0
    assert right[:, -1].max() == 1


def test_faces_are_found_left_to_right_without_boxes(encoders, kept):
    found = replace(encoders, faces=Loadable(lambda: lambda picture: [RIGHT, LEFT], "fixed"))
    voices = (voice(20, 0), voice(12, 1))
    given = prepare(request(voices=voices, faces=(LEFT, RIGHT)), encoders, EmbeddingCache(kept))
    told = prepare(request(voices=voices, faces=()), found, EmbeddingCache(kept))
    assert torch.equal(told.face_mask, given.face_mask)


def test_no_face_found_is_refused_before_an_encoder_is_loaded(encoders):
    watch = Watch(replace(encoders, faces=Loadable(lambda: lambda picture: [], "blind")))
    with pytest.raises(BadInput, match=r"No face was found.*--face"):
        prepare(request(faces=()), watch.encoders)
    assert watch.loaded == ["faces"]


def test_more_boxes_than_voices_are_refused():
    with pytest.raises(BadInput, match=r"2 face boxes and 1 voices"):
        request(faces=(LEFT, RIGHT))


def test_another_frame_rate_is_refused_before_text_is_read(encoders):
    watch = Watch(encoders)
    with pytest.raises(BadInput, match=r"12\.5"):
        prepare(request(fps=30.0), watch.encoders)
    assert watch.loaded == ["whisper"]


def test_weights_that_give_no_finite_values_are_named(encoders, kept):
    def broken():
        whisper = encoders.whisper.load()
        whisper.conv1.bias.fill_(float("nan"))
        return whisper

    damaged = replace(encoders, whisper=Loadable(broken, "broken"))
    with pytest.raises(CheckpointError, match=r"whisper gave values that are not finite"):
        prepare(request(), damaged, EmbeddingCache(kept))
