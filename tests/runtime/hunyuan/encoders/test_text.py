"""Prompts and pictures to text states on a tiny LLaVA and CLIP in the released layout."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime.errors import BadInput, CheckpointError
from runtime.hunyuan.encoders.prompts import Prompts, llava_text
from runtime.hunyuan.encoders.text import load_clip, load_llava
from runtime.hunyuan.layout import ReleasedLayout
from tests.support.released.released_folder import (
    POOLED_WIDTH,
    TEXT_WIDTH,
    TINY_SHALLOW,
    write_tiny_release,
)

PROMPT = "A person speaks."
GREY = torch.zeros(1, 3, 336, 336)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    root = tmp_path_factory.mktemp("release")
    write_tiny_release(root, dit=TINY_SHALLOW, parts=("llava", "clip"))
    return ReleasedLayout.find(root)


@pytest.fixture(scope="module")
def llava(layout):
    return load_llava(layout.llava, "cpu", torch.float32)


@pytest.fixture(scope="module")
def clip(layout):
    return load_clip(layout.clip, "cpu", torch.float32)


def test_the_encoder_reads_template_prompt_and_picture_sentence():
    text = llava_text("A {braced} prompt.")
    assert "A {braced} prompt." in text
    assert text.endswith("\nThe person looks like<image>")


def test_the_prefix_goes_before_the_prompt_unchanged():
    assert Prompts("B", prefix="A, ").positive == "A, B"


def test_states_have_the_released_lengths(llava):
    text = llava(PROMPT, GREY)
    assert text.states.shape == (1, 831, TEXT_WIDTH)
    assert text.mask.shape == (1, 831)


def test_prompt_and_picture_both_change_the_states(llava):
    states = llava(PROMPT, GREY).states
    assert not torch.equal(llava("A dog barks.", GREY).states, states)
    assert not torch.equal(llava(PROMPT, GREY + 1).states, states)


def test_a_prompt_that_cuts_the_picture_off_is_refused_with_its_length(llava):
    with pytest.raises(BadInput, match=r"tokens with its template; 351 are allowed.*Shorten"):
        llava("word " * 300, GREY)


def test_a_prompt_with_a_second_picture_is_refused(llava):
    with pytest.raises(BadInput, match=r"2 times.*Leave <image> out"):
        llava("A person <image>", GREY)


def test_clip_pools_a_prompt(clip):
    pooled = clip(PROMPT)
    assert pooled.shape == (1, POOLED_WIDTH)
    assert not torch.equal(clip("A dog barks."), pooled)


def test_clip_reads_77_tokens_of_a_long_prompt(clip):
    long = "word " * 100
    assert torch.equal(clip(long), clip(long + "more"))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json is missing.*avatar weights fetch"):
        load_llava(tmp_path / "llava", "cpu", torch.float32)


def damaged_copy(folder, to):
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to / "model.safetensors"


def test_missing_weights_are_named(layout, tmp_path):
    file = damaged_copy(layout.clip, tmp_path / "clip")
    weights = load_file(file)
    name = next(name for name in sorted(weights) if "layers.0" in name)
    del weights[name]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 weights are missing.*layers\.0.*Download"):
        load_clip(file.parent, "cpu", torch.float32)


def test_a_truncated_file_is_named(layout, tmp_path):
    file = damaged_copy(layout.clip, tmp_path / "clip")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"cannot be loaded as CLIPTextModel.*Download"):
        load_clip(file.parent, "cpu", torch.float32)
