"""The paper's three ways to inject the reference image into the transformer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from runtime.character.character import Character
from runtime.engine.torch_engine import default_engines
from runtime.errors import CheckpointError
from runtime.models.dit.conditioning import WindowInputs
from runtime.models.dit.config import DiTConfig, Injection
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import patchify
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import StreamPreset
from runtime.weights.checkpoint import load
from tests.support.models.small_dit import (
    ALIKE,
    SMALL,
    TOKENS,
    T,
    conditioning,
    every_injection,
    noisy,
    random_dit,
    with_emotion,
)
from tests.support.models.small_model import SMALL_DIT, random_model
from tests.support.models.small_world import babble, pixels, run, save_model, small_character

PRESET = StreamPreset("two a tick", window=3, hop=2, shift=0, steps=2)


def config_of(injection: Injection) -> DiTConfig:
    return replace(SMALL, injection=injection)


def window_of(dit: DiT) -> WindowInputs:
    with torch.inference_mode():
        return dit.prepare_window(conditioning(config=dit.config), T)


def embedded(dit: DiT) -> torch.Tensor:
    """The video tokens as they enter the first block, (B, T * n, D)."""
    x = noisy()[0]
    with torch.inference_mode():
        video: torch.Tensor = dit.img_in(patchify(x, SMALL.patch_size))
    return video + window_of(dit).injected


def names_of(injection: Injection) -> set[str]:
    return set(DiT(config_of(injection)).state_dict())


# Each variant by the paper's description


def test_a_description_without_an_injection_is_the_released_variant():
    described = {k: v for k, v in SMALL.to_dict().items() if k != "injection"}
    assert DiTConfig.from_dict(described).injection == "add"


def test_variants_differ_in_their_embeddings_only():
    released, token, channel = names_of("add"), names_of("token"), names_of("channel")
    projection = {"before_proj.weight", "before_proj.bias"}
    assert released - channel == projection
    assert channel - released == {"img_in.picture_proj.weight"}
    assert released - token == projection | {"ref_in.proj.weight", "ref_in.proj.bias"}
    assert token < released


def test_token_concatenation_leaves_the_video_tokens_alone():
    dit = random_dit(config_of("token"))
    picture = patchify(conditioning().ref_latents[:, :, :1], SMALL.patch_size)
    window = window_of(dit)
    assert not window.injected.any()
    assert window.injected.shape == (1, T * TOKENS, SMALL.hidden_size)
    with torch.inference_mode():
        assert torch.equal(window.reference, dit.img_in(picture))


def test_channel_concatenation_is_a_convolution_of_video_and_picture():
    dit, cond, x = random_dit(config_of("channel")), conditioning(), noisy()[0]
    with torch.inference_mode():
        weight = torch.cat((dit.img_in.proj.weight, dit.img_in.picture_proj.weight), dim=1)
        both = torch.cat((x, cond.ref_latents), dim=1)
        together = F.conv3d(both, weight, dit.img_in.proj.bias, stride=SMALL.patch_size)
        picture = dit.ref_in(patchify(cond.ref_latents[:, :, :1], SMALL.patch_size))
    torch.testing.assert_close(embedded(dit), together.flatten(2).transpose(1, 2), **ALIKE)
    assert torch.equal(window_of(dit).reference, picture)


def test_addition_projects_the_second_embedding_of_every_frame():
    dit, cond, x = random_dit(config_of("add")), conditioning(), noisy()[0]
    with torch.inference_mode():
        video = dit.img_in.proj(x).flatten(2).transpose(1, 2)
        picture = dit.ref_in.proj(cond.ref_latents).flatten(2).transpose(1, 2)
        expected = video + dit.before_proj(picture)
        first = dit.img_in.proj(cond.ref_latents[:, :, :1]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embedded(dit), expected, **ALIKE)
    torch.testing.assert_close(window_of(dit).reference, first, **ALIKE)


# All variants


@every_injection
def test_the_reference_reaches_the_output(injection):
    dit, cond, (x, t) = random_dit(config_of(injection)), conditioning(), noisy()
    other = replace(cond, ref_latents=cond.ref_latents + 1)
    with torch.inference_mode():
        assert (dit(x, t, cond) - dit(x, t, other)).abs().max() > 1e-2


@every_injection
def test_all_tokens_as_a_subset_equal_no_subset(injection):
    dit, cond, (x, t) = random_dit(config_of(injection)), with_emotion(conditioning(2)), noisy()
    with torch.inference_mode():
        patches = dit(x, t, cond, torch.arange(TOKENS))
        whole = dit(x, t, cond)
    torch.testing.assert_close(patches, patchify(whole, SMALL.patch_size), **ALIKE)


@every_injection
def test_every_weight_is_trained_on_a_subset_of_tokens(injection):
    dit = random_dit(config_of(injection)).train()
    cond, (x, t) = with_emotion(conditioning(2, batch=2)), noisy(2)
    dit.predict_clean(x, t, cond, torch.tensor([6, 1, 3])).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in dit.parameters())


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Character:
    return small_character(tmp_path_factory.mktemp("one"))


@every_injection
def test_any_cut_of_the_sound_gives_the_same_video(injection, character):
    model = random_model(0, replace(SMALL_DIT, injection=injection))
    sound = babble(1.5)
    whole = StreamingGenerator(model, character, PRESET, engines=default_engines(model))
    whole.push("ana", sound)
    expected = pixels(run(whole))
    cut, frames = StreamingGenerator(model, character, PRESET, engines=default_engines(model)), []
    for piece in np.split(sound, [317, 9000, 9001, 20000]):
        cut.push("ana", piece)
        frames += run(cut)
    assert np.array_equal(pixels(frames), expected)


@every_injection
def test_a_model_folder_keeps_its_variant(injection, tmp_path):
    model = random_model(0, replace(SMALL_DIT, injection=injection))
    folder = save_model(model, tmp_path / "model")
    read = load(folder).dit
    assert read.config.injection == injection
    assert set(read.state_dict()) == set(model.dit.state_dict())


def test_weights_of_another_variant_are_refused_by_name(tmp_path):
    token = save_model(random_model(0, replace(SMALL_DIT, injection="token")), tmp_path / "a")
    add = save_model(random_model(0), tmp_path / "b")
    assert "before_proj.bias" not in load_file(token / "dit.safetensors")
    (token / "dit.safetensors").rename(add / "dit.safetensors")
    with pytest.raises(CheckpointError, match=r"4 missing: before_proj\.bias, before_proj"):
        load(add)


def test_a_variant_that_the_paper_does_not_have_is_refused():
    with pytest.raises(CheckpointError, match="'cross' must be one of token, channel, add"):
        DiTConfig.from_dict({**SMALL.to_dict(), "injection": "cross"})
