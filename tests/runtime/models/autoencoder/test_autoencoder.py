"""The autoencoder: causal in groups, exact in streaming, relative to its reference image."""

import pytest
import torch
from einops import rearrange

from runtime.models.autoencoder.autoencoder import Autoencoder, AutoencoderConfig
from runtime.models.autoencoder.compositing_decoder import PATCH, SPATIAL_STRIDE


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    torch.manual_seed(3)
    model = Autoencoder(AutoencoderConfig(latent_channels=4, widths=(8, 8), decoder_widths=(8, 8)))
    model.latent_mean.normal_()
    model.latent_std.fill_(0.7)
    return model.eval()


@pytest.fixture
def video() -> torch.Tensor:
    torch.manual_seed(5)
    return torch.rand(1, 3, 13, 32, 48) * 2 - 1


def decoded(model: Autoencoder, picture: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    state, parts = model.start(picture), []
    for n in range(latents.shape[2]):
        pictures, state = model.decode(latents[:, :, n], state)
        parts.append(pictures)
    return torch.cat(parts, dim=2)


@torch.inference_mode()
def test_thirteen_frames_are_four_latent_frames(autoencoder, video):
    latents = autoencoder.encode(video)
    assert latents.shape == (1, 4, 4, 32 // SPATIAL_STRIDE, 48 // SPATIAL_STRIDE)


@torch.inference_mode()
def test_later_frames_change_no_earlier_latent(autoencoder, video):
    changed = video.clone()
    changed[:, :, 9:] = 0.5
    before, after = autoencoder.encode(video), autoencoder.encode(changed)
    assert torch.equal(before[:, :, :3], after[:, :, :3])
    assert not torch.equal(before[:, :, 3], after[:, :, 3])


@torch.inference_mode()
def test_encoding_group_by_group_equals_encoding_at_once(autoencoder, video):
    at_once = autoencoder.encode(video)
    groups = rearrange(video[:, :, 1:], "b c (t f) h w -> b t c f h w", f=4)
    one_by_one = [autoencoder.encode_groups(groups[:, t : t + 1]) for t in range(3)]
    torch.testing.assert_close(torch.cat(one_by_one, dim=2), at_once[:, :, 1:])


@torch.inference_mode()
def test_a_still_video_encodes_to_the_still_latent(autoencoder):
    picture = torch.rand(2, 3, 32, 32) * 2 - 1
    latents = autoencoder.encode(picture[:, :, None].expand(-1, -1, 5, -1, -1))
    still = autoencoder.still(picture)
    torch.testing.assert_close(latents, still[:, :, None].expand_as(latents))


@torch.inference_mode()
def test_decoding_again_from_an_old_state_gives_the_same_frames(autoencoder, video):
    latents = autoencoder.encode(video)
    state = autoencoder.start(video[:, :, 0])
    for n in range(2):
        _, state = autoencoder.decode(latents[:, :, n], state)
    first, _ = autoencoder.decode(latents[:, :, 2], state)
    again, _ = autoencoder.decode(latents[:, :, 2], state)
    assert torch.equal(first, again)
    assert torch.equal(first, decoded(autoencoder, video[:, :, 0], latents)[:, :, 8:12])


@torch.inference_mode()
def test_frames_depend_on_one_latent_frame_of_the_past_only(autoencoder, video):
    latents = autoencoder.encode(video)
    changed = latents.clone()
    changed[:, :, 0] += 1.0
    first, second = (decoded(autoencoder, video[:, :, 0], each) for each in (latents, changed))
    assert not torch.equal(first[:, :, 4:8], second[:, :, 4:8])
    assert torch.equal(first[:, :, 8:], second[:, :, 8:])


@torch.inference_mode()
def test_a_linear_start_reconstructs_what_its_components_span():
    torch.manual_seed(1)
    model = Autoencoder(AutoencoderConfig(latent_channels=6, widths=(8, 8), decoder_widths=(8, 8)))
    values = 3 * 4 * SPATIAL_STRIDE**2
    components = torch.linalg.qr(torch.randn(values, 6)).Q.T
    model.start_from(components)
    for head in (model.encoder.out, model.decoder.flow, model.decoder.paint[-1]):
        head.weight.zero_()
        head.bias.zero_()
    model.decoder.paint[-1].bias[: 2 * PATCH**2] = 30.0  # opaque, and all reconstruction
    picture = torch.zeros(1, 3, 16, 16)
    change = (0.1 * torch.randn(1, 2, 2, 6) @ components).reshape(1, 2, 2, 3, 4, 8, 8)
    group = rearrange(change, "b h w c f p q -> b 1 c f (h p) (w q)")
    pictures, _ = model.decode(model.encode_groups(group)[:, :, 0], model.start(picture))
    torch.testing.assert_close(pictures, group[:, 0].clamp(-1, 1), atol=1e-5, rtol=0)


def test_sizes_are_read_as_written():
    config = AutoencoderConfig(5, widths=(16, 24), decoder_widths=(4, 12), max_flow_px=3.0)
    assert AutoencoderConfig.from_dict(config.to_dict()) == config
