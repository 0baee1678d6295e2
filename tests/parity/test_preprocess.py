"""Sizes, pixels and face masks equal the release's: integers and pixels exactly.

Tolerances (README of the golden data): LLaVA's half precision pixels 1e-3, latent masks 1e-6.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from runtime.hunyuan.encoders.preprocess import (
    Size,
    face_mask_pixels,
    latent_mask,
    llava_pixels,
    pixel_box,
    reference_video,
    release_size,
    resized,
)
from runtime.hunyuan.encoders.prompts import (
    PICTURE_SENTENCE,
    TEMPLATE_TOKENS,
    Prompts,
    llava_template,
)
from runtime.values import Box
from tests.support.released.golden import GOLDEN, GoldenCase, case_names

FOLDER = GOLDEN / "preprocess"
SIZE_TABLES = sorted(FOLDER.glob("size_table*.json"))
IMAGES = case_names("preprocess", "image_*")
MASKS = case_names("preprocess", "face_mask*")
by_stem = {"ids": lambda path: path.stem}


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def image_case(name: str) -> tuple[dict[str, torch.Tensor], Image.Image]:
    """Tensors only, no JSON; the picture is one of them."""
    tensors = load_file(FOLDER / f"{name}.safetensors")
    return tensors, Image.fromarray(tensors["in.image_hwc_uint8"].numpy())


def mask_cases() -> list[tuple[str, int]]:
    return [
        (name, number)
        for name in MASKS
        for number in range(len(read(FOLDER / f"{name}.json")["cases"]))
    ]


def mask_case(name: str, number: int) -> tuple[dict, dict[str, torch.Tensor]]:
    case = GoldenCase.load("preprocess", name)
    return case.facts["cases"][number], case.under(f"case{number}.")


def test_there_is_golden_preprocessing():
    assert SIZE_TABLES, f"no size_table*.json in {FOLDER}"
    assert IMAGES, f"no image_*.safetensors in {FOLDER}"
    assert MASKS, f"no face_mask*.safetensors in {FOLDER}"


@pytest.mark.parametrize("table", SIZE_TABLES, **by_stem)
def test_sizes_equal_the_releases(table):
    for row in read(table)["rows"]:
        size = release_size(row["in_w"], row["in_h"], row["image_size"])
        assert size == (row["out_w"], row["out_h"]), row
        assert (size.latent_rows, size.latent_columns) == (row["latent_h"], row["latent_w"])


@pytest.mark.parametrize("name", IMAGES)
def test_reference_pixels_equal_the_releases(name):
    tensors, picture = image_case(name)
    wanted = tensors["out.pixel_value_ref"][0].permute(1, 2, 0).to(torch.uint8)
    size = Size(wanted.shape[1], wanted.shape[0])
    found = resized(picture, size)
    assert np.array_equal(np.asarray(found), wanted.numpy())
    video = reference_video(found)
    assert video.shape == (1, 3, 129, size.height, size.width)
    assert torch.equal(((video[0, :, -1] + 1) * 127.5).round().byte(), wanted.permute(2, 0, 1))


@pytest.mark.parametrize("name", IMAGES)
def test_llava_pixels_equal_the_releases(name):
    tensors, picture = image_case(name)
    height, width = tensors["out.pixel_value_ref"].shape[2:]
    found = llava_pixels(resized(picture, Size(width, height)))
    wanted = tensors["out.pixel_value_ref_llava"]
    torch.testing.assert_close(found, wanted.float(), atol=1e-3, rtol=0.0)


@pytest.mark.parametrize(("name", "number"), mask_cases())
def test_face_masks_equal_the_releases(name, number):
    about, wanted = mask_case(name, number)
    size = Size(about["image_w"], about["image_h"])
    box = about["bbox_xywh"]
    mask = face_mask_pixels(tuple(box) if box else None, size)
    assert np.array_equal(mask, wanted["mask_pixels"].numpy())
    found = latent_mask(mask)
    torch.testing.assert_close(found, wanted["mask_latent"], atol=1e-6, rtol=0.0)
    one_token_in_four = found[..., 0::2, 0::2]
    torch.testing.assert_close(
        one_token_in_four, wanted["mask_tokens_one_frame"], atol=1e-6, rtol=0.0
    )


@pytest.mark.parametrize(("name", "number"), mask_cases())
def test_boxes_in_fractions_of_the_picture_give_the_same_masks(name, number):
    about, wanted = mask_case(name, number)
    if about["bbox_xywh"] is None:
        pytest.skip("this case has no box")
    size = Size(about["image_w"], about["image_h"])
    x, y, width, height = about["bbox_xywh"]
    box = Box(x / size.width, y / size.height, width / size.width, height / size.height)
    mask = face_mask_pixels(pixel_box(box, size), size)
    assert np.array_equal(mask, wanted["mask_pixels"].numpy())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("defaults*.json")), **by_stem)
def test_the_encoder_reads_prefix_and_prompt(path):
    facts = read(path)
    prefix, seen = facts["prompt_prefix"], facts["prompt_seen_by_text_encoder"]
    assert Prompts(seen.removeprefix(prefix), prefix=prefix).positive == seen


@pytest.mark.parametrize("path", sorted(FOLDER.glob("prompts*.json")), **by_stem)
def test_the_frame_of_words_is_the_releases(path):
    facts = read(path)
    template = llava_template()
    assert len(template) == facts["llava_template"]["chars"]
    assert hashlib.sha256(template.encode()).hexdigest() == facts["llava_template"]["sha256"]
    assert facts["suffix_appended_after_template"] == PICTURE_SENTENCE
    assert facts["crop_start"] == TEMPLATE_TOKENS
