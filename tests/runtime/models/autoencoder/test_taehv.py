"""The TAEHV decoder: published names and arithmetic, any cut of a stream, bytes out."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from runtime.errors import BadInput, CheckpointError
from runtime.models.autoencoder.taehv import Taehv, load_taehv
from tests.support.models.taehv_file import taehv_tensors, write_taehv

H, W = 1, 2
LATENT_FRAMES = 3


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Taehv:
    return load_taehv(
        write_taehv(tmp_path_factory.mktemp("taehv") / "taehv.pth"), "cpu", torch.float32
    )


def latents(frames: int = LATENT_FRAMES) -> Tensor:
    return 2 * torch.randn(1, 16, frames, H, W, generator=torch.Generator().manual_seed(3))


def published_arithmetic(tensors: dict[str, Tensor], video: Tensor) -> Tensor:
    """All frames at once, layer by layer in the published order: (4 T, 3, 8 H, 8 W) in [0, 1]."""
    x = 3 * torch.tanh(video[0].transpose(0, 1) / 3)
    x = F.relu(F.conv2d(x, tensors["decoder.1.weight"], tensors["decoder.1.bias"], padding=1))
    for first, growth in ((3, 1), (9, 2), (15, 2)):
        for block in range(first, first + 3):
            y = torch.cat([x, F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[:-1]], dim=1)
            for place in (0, 2, 4):
                name = f"decoder.{block}.conv.{place}"
                y = F.conv2d(y, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)
                y = F.relu(y) if place < 4 else F.relu(y + x)
            x = y
        x = F.conv2d(F.interpolate(x, scale_factor=2), tensors[f"decoder.{first + 4}.conv.weight"])
        x = x.reshape(growth * x.shape[0], -1, *x.shape[2:])
        x = F.conv2d(x, tensors[f"decoder.{first + 5}.weight"], padding=1)
    x = F.conv2d(F.relu(x), tensors["decoder.22.weight"], tensors["decoder.22.bias"], padding=1)
    return x.clamp(0, 1)


def test_frames_are_those_of_the_published_arithmetic(decoder: Taehv) -> None:
    expected = published_arithmetic(taehv_tensors(), latents())
    state, pictures = decoder.start(H, W), []
    for latent in latents().unbind(2):
        four, state = decoder.decode(latent, state)
        pictures.append(four[0].transpose(0, 1) / 2 + 0.5)
    torch.testing.assert_close(torch.cat(pictures), expected, atol=2e-5, rtol=0.0)


def test_the_random_frames_are_neither_black_nor_white(decoder: Taehv) -> None:
    frames, _ = decoder.decode_video(latents(), decoder.start(H, W))
    assert ((frames > 0) & (frames < 255)).float().mean() > 0.2


@pytest.mark.parametrize("chunk", [1, 2])
def test_decoding_in_chunks_equals_decoding_at_once(decoder: Taehv, chunk: int) -> None:
    at_once, _ = decoder.decode_video(latents(), decoder.start(H, W))
    state, parts = decoder.start(H, W), []
    for part in latents().split(chunk, dim=2):
        frames, state = decoder.decode_video(part, state)
        parts.append(frames)
    assert torch.equal(torch.cat(parts), at_once)


def test_a_stream_of_n_latent_frames_has_4n_minus_3_frames(decoder: Taehv) -> None:
    frames, state = decoder.decode_video(latents(2), decoder.start(H, W))
    assert frames.shape == (5, 8 * H, 8 * W, 3)
    more, _ = decoder.decode_video(latents(2), state)
    assert more.shape[0] == 8


def test_decoding_again_from_an_old_state_gives_the_same_frames(decoder: Taehv) -> None:
    _, before = decoder.decode_video(latents(1), decoder.start(H, W))
    first, _ = decoder.decode_video(latents(2), before)
    again, _ = decoder.decode_video(latents(2), before)
    assert torch.equal(first, again)


def test_later_latents_do_not_change_earlier_frames(decoder: Taehv) -> None:
    changed = latents()
    changed[:, :, 2:] += 1
    one, _ = decoder.decode_video(latents(), decoder.start(H, W))
    other, _ = decoder.decode_video(changed, decoder.start(H, W))
    assert torch.equal(one[:5], other[:5])
    assert not torch.equal(one[5:], other[5:])


def test_weights_and_features_lie_channels_last(decoder: Taehv) -> None:
    _, state = decoder.decode_video(latents(1), decoder.start(H, W))
    tensors = [*(p for p in decoder.parameters() if p.dim() == 4), *state.memories]
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in tensors)


def test_safetensors_load_too(decoder: Taehv, tmp_path: Path) -> None:
    save_file(taehv_tensors(), tmp_path / "taehv.safetensors")
    other = load_taehv(tmp_path / "taehv.safetensors", "cpu", torch.float32)
    assert torch.equal(other.decoder["22"].weight, decoder.decoder["22"].weight)


def test_weights_of_another_model_are_refused_with_their_shapes(tmp_path: Path) -> None:
    tensors = taehv_tensors() | {"decoder.22.weight": torch.zeros(12, 64, 3, 3)}
    torch.save(tensors, tmp_path / "taew2_2.pth")
    with pytest.raises(CheckpointError, match=r"decoder\.22\.weight.*taehv\.pth"):
        load_taehv(tmp_path / "taew2_2.pth", "cpu", torch.float32)


def test_a_missing_or_torn_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth is missing"):
        load_taehv(tmp_path / "none.pth", "cpu", torch.float32)
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(CheckpointError, match=r"torn\.pth is no whole file"):
        load_taehv(tmp_path / "torn.pth", "cpu", torch.float32)


def test_latents_of_another_size_are_refused(decoder: Taehv) -> None:
    with pytest.raises(BadInput, match=r"\(1, 16, any, 1, 2\)"):
        decoder.decode_video(torch.zeros(1, 16, 1, H, W + 1), decoder.start(H, W))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_half_precision_on_a_gpu_gives_the_same_frames(decoder: Taehv, tmp_path: Path) -> None:
    on_gpu = load_taehv(write_taehv(tmp_path / "taehv.pth"), "cuda", torch.float16)
    frames, _ = on_gpu.decode_video(latents().cuda(), on_gpu.start(H, W))
    expected, _ = decoder.decode_video(latents(), decoder.start(H, W))
    difference = (frames.cpu().int() - expected.int()).abs()
    assert difference.float().mean() < 1.0


@pytest.mark.fault("model-files")
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """A decoder file with NaN weights is refused, with the tensor named."""
    tensors = taehv_tensors()
    tensors["decoder.1.bias"] = torch.full_like(tensors["decoder.1.bias"], torch.nan)
    torch.save(tensors, tmp_path / "taehv.pth")
    with pytest.raises(CheckpointError, match=r"taehv\.pth has NaN .* decoder\.1\.bias first"):
        load_taehv(tmp_path / "taehv.pth", "cpu", torch.float32)
