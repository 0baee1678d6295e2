"""What the autoencoder's trainer is given, and that a step of it helps."""

import numpy as np
import pytest
import torch

from runtime.models.autoencoder.autoencoder import Autoencoder, AutoencoderConfig
from runtime.models.autoencoder.compositing_decoder import SPATIAL_STRIDE
from training.data.pictures import PictureClips, draw_clip, reference_image, scene_of
from training.drawing.people import Renderer
from training.train.autoencoder import (
    MOUTH_COMPONENTS,
    CropSampler,
    change_patches,
    linear_code,
    losses,
    mouth_patches,
    principal_components,
)

pytestmark = pytest.mark.slow

CHANNELS = MOUTH_COMPONENTS + 8


@pytest.fixture(scope="module")
def pictures() -> PictureClips:
    scene = scene_of(0, 256)
    renderer, rng = Renderer(scene), np.random.default_rng(3)
    return PictureClips(
        clips=np.stack([draw_clip(scene, renderer, rng) for _ in range(3)]),
        scene=np.zeros(3, np.int64),
        rest=reference_image(scene)[None],
        mouth_boxes=[list(scene.mouth_boxes())],
        eye_boxes=[list(scene.eye_boxes())],
    )


@pytest.fixture(scope="module")
def code(pictures: PictureClips) -> torch.Tensor:
    torch.manual_seed(0)
    return linear_code(pictures, np.random.default_rng(0), CHANNELS)


def energy_left(patches: torch.Tensor, rows: torch.Tensor) -> float:
    left = patches - (patches @ rows.T) @ rows
    return (left.square().sum() / patches.square().sum()).item()


def test_the_linear_code_is_orthonormal_and_spends_its_end_on_mouths(pictures, code):
    torch.testing.assert_close(code @ code.T, torch.eye(CHANNELS), atol=1e-3, rtol=0)
    mouths = mouth_patches(pictures, np.random.default_rng(1), 6)
    every = change_patches(pictures, np.random.default_rng(0), 100)
    assert energy_left(mouths, code) < energy_left(mouths, principal_components(every, CHANNELS))


def test_a_crop_of_generated_clips_has_the_latents_of_its_place(pictures):
    side = 256 // SPATIAL_STRIDE
    rows, columns = np.mgrid[:side, :side].astype(np.float16)
    latents = np.tile(np.stack([rows, columns]), (3, 3, 1, 1, 1))
    sampler = CropSampler(pictures, 64, 5, latents)
    crops = sampler.batch(4)
    for crop, anchor in zip(crops.latents, crops.anchors, strict=True):
        top, left = (int(v) * SPATIAL_STRIDE for v in crop[0, :, 0, 0])
        there = torch.from_numpy(pictures.rest[0, top : top + 64, left : left + 64])
        torch.testing.assert_close(anchor, there.permute(2, 0, 1) / 127.5 - 1)


def test_training_steps_lower_the_error(pictures, code):
    torch.manual_seed(0)
    config = AutoencoderConfig(CHANNELS, widths=(8, 8), decoder_widths=(8, 8))
    model = Autoencoder(config)
    model.start_from(code)
    crops = CropSampler(pictures, 64, 1).batch(4)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    history = []
    for _ in range(12):
        loss = losses(model, crops)["pixels"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.9 * history[0]
