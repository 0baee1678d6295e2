"""The released autoencoder from a folder: shapes, scales, noise and its stream of frames."""

import json
import sys

import numpy as np
import pytest
import torch

from runtime.errors import BadInput, CheckpointError, Unsupported
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.vae.autoencoder import load_vae, to_frames
from tests.support.released.released_folder import write_vae

pytestmark = pytest.mark.slow

LATENTS = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The release's files at tiny width; the tiles are small as well: 32 px and 16 frames."""
    layout = ReleasedLayout(tmp_path_factory.mktemp("ckpts"))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        write_vae(layout)
    set_config(layout.vae, layout.vae, sample_size=32, sample_tsize=16)
    return layout.vae


def set_config(source, target, **values):
    config = json.loads((source / "config.json").read_text()) | values
    (target / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def vae(folder):
    return load_vae(folder, "cpu", torch.float32)


@pytest.fixture(scope="module")
def latents():
    return torch.randn((1, 16, LATENTS, 2, 5), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def video():
    return torch.rand((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_four_frames_are_one_latent_frame(vae, video):
    assert vae.encode(video).shape == (1, 16, 2, 2, 3)


def test_a_video_comes_back_in_its_size(vae, video):
    assert vae.decode(vae.encode(video)).shape == video.shape


def test_decoded_video_is_a_picture(vae, latents):
    assert vae.decode(latents * 100).abs().max() <= 1.0


def test_latents_without_a_generator_are_the_scaled_mean(vae, video):
    torch.testing.assert_close(vae.encode(video), vae.moments(video).mean * 0.476986)


def test_latents_are_scaled_back_before_they_are_decoded(vae, latents):
    raw = vae.decode_raw(latents / 0.476986)
    torch.testing.assert_close(vae.decode(latents), raw.clamp(-1.0, 1.0))


def test_a_seed_decides_the_noise_of_latents(vae, video):
    first, again, other = (
        vae.encode(video, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_has_the_standard_deviation_of_the_latents(vae, video):
    moments = vae.moments(video)
    generator = torch.Generator().manual_seed(5)
    noise = torch.stack([moments.sample(generator) - moments.mean for _ in range(200)])
    shares = noise / (0.5 * moments.logvar).exp()
    assert shares.std().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("size", [1, 4, LATENTS])
def test_streamed_frames_equal_those_decoded_at_once(vae, latents, size):
    streamed = np.stack(list(vae.decode_stream(latents.split(size, dim=2))))
    assert np.array_equal(streamed, to_frames(vae.decode(latents)))


def test_frames_come_before_the_stream_ends(vae, latents):
    taken = []

    def pieces():
        for piece in latents.split(1, dim=2):
            taken.append(piece)
            yield piece

    next(vae.decode_stream(pieces()))
    assert len(taken) == 5  # a tile of 4 latent frames and one more


def test_a_stream_of_nothing_has_no_frames(vae):
    assert list(vae.decode_stream([])) == []


def test_levels_are_cut_off_not_rounded():
    shares = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 2.0])
    video = shares.reshape(1, 1, 6, 1, 1).expand(1, 3, 6, 1, 1)
    assert to_frames(video)[:, 0, 0, 0].tolist() == [0, 0, 127, 254, 255, 255]


def test_frames_are_rgb_pictures(vae, latents):
    frame = next(vae.decode_stream([latents]))
    assert (frame.shape, frame.dtype) == ((16, 40, 3), np.uint8)


def test_weights_are_half_precision_as_the_releases(folder):
    vae = load_vae(folder, "cpu")
    assert {tensor.dtype for tensor in vae.module.state_dict().values()} == {torch.float16}


@pytest.mark.parametrize(
    "shape", [(1, 3, 4, 16, 16), (1, 3, 5, 16, 20), (1, 1, 5, 16, 16), (2, 3, 5, 16, 16), (3, 5, 8)]
)
def test_a_video_that_cannot_be_encoded_is_refused(vae, shape):
    with pytest.raises(BadInput, match=r"instead of|it needs 4n \+ 1 frames"):
        vae.encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 8, 2, 2, 2), (2, 16, 2, 2, 2), (1, 16, 0, 2, 2), (16, 2, 2)])
def test_latents_that_cannot_be_decoded_are_refused(vae, shape):
    with pytest.raises(BadInput, match="instead of"):
        vae.decode(torch.zeros(shape))


def test_weights_that_do_not_fit_the_config_are_refused(folder, tmp_path):
    set_config(folder, tmp_path, layers_per_block=1)
    (tmp_path / "pytorch_model.pt").symlink_to(folder / "pytorch_model.pt")
    with pytest.raises(CheckpointError, match=r"unexpected: decoder\.up_blocks"):
        load_vae(tmp_path, "cpu")


def test_without_the_library_the_error_names_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(Unsupported, match=r"pip install 'avatar-server\[hunyuan\]'"):
        load_vae(folder, "cpu")
