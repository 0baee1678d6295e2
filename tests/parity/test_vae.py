"""The released autoencoder equals the official one. Tolerances: README of the golden data."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.hunyuan.vae.autoencoder import ReleasedVae, load_vae, to_frames
from runtime.hunyuan.vae.checkpoint import VaeConfig
from runtime.hunyuan.vae.layers import build_layers
from runtime.hunyuan.vae.tiling import AxisTiles, Tiles
from tests.support.released.golden import GOLDEN, GoldenCase, case_names, manifest

ENCODED_ATOL = 3e-5
DECODED_ATOL = 5e-5
SCALE = 0.476986
UNCUT = AxisTiles(sys.maxsize, sys.maxsize, 0, sys.maxsize)


def runs() -> list[tuple[str, str]]:
    """Every run of every golden case, by the names of both."""
    return [
        (name, run["name"])
        for name in case_names("vae", "vae_*")
        for run in json.loads((GOLDEN / "vae" / f"{name}.json").read_text())["runs"]
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vae")


def load(case: GoldenCase, tiling: str, folder: Path) -> ReleasedVae:
    """The case's weights, by way of files in the release's format, with its run's tiles."""
    config: dict[str, Any] = case.facts["config"] | {"scaling_factor": SCALE}
    (folder / "config.json").write_text(json.dumps(config))
    torch.save({"state_dict": case.under("weights.")}, folder / "pytorch_model.pt")
    vae = load_vae(folder, "cpu", torch.float32)

    def cut(tiles: Tiles) -> Tiles:
        return Tiles(
            tiles.time if tiling in ("temporal", "both") else UNCUT,
            tiles.space if tiling in ("spatial", "both") else UNCUT,
        )

    return replace(vae, encoding=cut(vae.encoding), decoding=cut(vae.decoding))


class VaeRun:
    """A golden run: its inputs, its outputs, and our autoencoder."""

    def __init__(self, name: str, run: str, folder: Path) -> None:
        self.case = GoldenCase.load("vae", name)
        facts = next(facts for facts in self.case.facts["runs"] if facts["name"] == run)
        self.vae = load(self.case, facts["tiling"], folder)
        self.tensors = self.case.under(f"{run}.")


@pytest.fixture(scope="module", params=runs(), ids="-".join)
def run(request, folder):
    return VaeRun(*request.param, folder)


def test_there_is_a_golden_autoencoder():
    assert case_names("vae", "vae_*"), f"no vae_*.safetensors in {GOLDEN}"


def test_latents_equal_the_releases(run):
    moments = run.vae.moments(run.tensors["in.video"])
    for ours, name in ((moments.mean, "mode"), (moments.logvar, "logvar_clamped")):
        golden = run.tensors[f"out.{name}"]
        torch.testing.assert_close(ours, golden, atol=ENCODED_ATOL, rtol=0.0)


def test_decoded_video_equals_the_releases(run):
    decoded = run.vae.decode_raw(run.tensors["in.latent"])
    torch.testing.assert_close(decoded, run.tensors["out.decoded"], atol=DECODED_ATOL, rtol=0.0)


def test_streamed_frames_equal_the_releases(run):
    pieces = (run.tensors["in.latent"] * SCALE).split(1, dim=2)
    frames = np.stack(list(run.vae.decode_stream(pieces)))
    golden = to_frames(run.tensors["out.decoded"])
    assert frames.shape == golden.shape
    assert np.abs(frames.astype(int) - golden.astype(int)).max() <= 1  # a level is cut off


def test_layers_equal_the_releases(run):
    golden = {
        name.removeprefix("mid."): tensor
        for name, tensor in run.tensors.items()
        if name.startswith("mid.")
    }  # only some of the runs hold them
    found = {}
    hooks = [
        run.vae.module.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.update({name: output})
        )
        for name in golden
    ]
    run.vae.moments(run.tensors["in.video"])
    run.vae.decode_raw(run.tensors["in.latent"])
    for hook in hooks:
        hook.remove()
    assert set(found) == set(golden)
    for name, tensor in golden.items():
        torch.testing.assert_close(found[name], tensor, atol=DECODED_ATOL, rtol=0.0, msg=name)


def test_tiles_are_the_releases():
    constants = manifest("vae_884_16c_hy0801_info")["tile_constants"]
    config = VaeConfig.from_dict(manifest("vae_884_16c_hy0801_info")["config"])
    sizes = {
        "tile_sample_min_tsize": config.encoding.time.size,
        "tile_latent_min_tsize": config.decoding.time.size,
        "tile_sample_min_size": config.encoding.space.size,
        "tile_latent_min_size": config.decoding.space.size,
    }
    assert sizes == {name: constants[name] for name in sizes}


@pytest.mark.parametrize("causal", [True, False])
def test_names_and_shapes_are_the_released_ones(causal):
    facts = manifest("vae_884_16c_hy0801_info")["config"] | {"mid_block_causal_attn": causal}
    module = build_layers(VaeConfig.from_dict(facts))
    ours = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    assert ours == manifest("vae_884_16c_hy0801")
