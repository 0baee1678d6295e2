"""The layers of the released autoencoder: diffusers' HunyuanVideo autoencoder with our attention.

The library always attends causally; in the release config.json decides. The tensors have the
released names and shapes (see `checkpoint.py`).

Axes: B batch, C channels, T frames or latent frames, H W their size.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import Unsupported
from runtime.hunyuan.vae.checkpoint import VaeConfig


class VaeLayers(nn.Module):
    """Encoder and decoder of one tile, with unscaled latents."""

    encoder: nn.Module
    decoder: nn.Module
    quant_conv: nn.Conv3d
    post_quant_conv: nn.Conv3d

    def __init__(self, library: Any, is_causal: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = library.encoder, library.decoder
        self.quant_conv, self.post_quant_conv = library.quant_conv, library.post_quant_conv
        for half in (library.encoder, library.decoder):
            half.mid_block = MidBlock(half.mid_block, is_causal)

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, 4(T-1)+1, H, W) -> (B, 2C, T, H/8, W/8): mean, then log variance."""
        moments: Tensor = self.quant_conv(self.encoder(video))
        return moments

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, T, h, w) -> (B, 3, 4(T-1)+1, 8h, 8w), about [-1, 1]."""
        video: Tensor = self.decoder(self.post_quant_conv(latents))
        return video


class MidBlock(nn.Module):
    """The library's middle block with attention over whole frames, without its mask.

    With causal attention a frame attends to itself and to earlier frames. Frame by frame this needs
    no mask, whose size would be the square of all tokens of a tile. The tensors keep the library's
    names.
    """

    def __init__(self, block: Any, is_causal: bool) -> None:
        super().__init__()
        self.attentions: nn.ModuleList = block.attentions
        self.resnets: nn.ModuleList = block.resnets
        self.is_causal = is_causal

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> same shape."""
        x = self.resnets[0](x)
        for attention, resnet in zip(self.attentions, self.resnets[1:], strict=True):
            if attention is not None:
                x = x + self._attend(attention, x)
            x = resnet(x)
        return x

    def _attend(self, attention: Any, x: Tensor) -> Tensor:
        frames, height, width = x.shape[2:]
        tokens = rearrange(attention.group_norm(x), "b c t h w -> b 1 (t h w) c")
        keys, values = attention.to_k(tokens), attention.to_v(tokens)
        attended = []
        for frame, queries in enumerate(attention.to_q(tokens).chunk(frames, dim=2)):
            visible = (frame + 1 if self.is_causal else frames) * height * width
            k, v = keys[:, :, :visible], values[:, :, :visible]
            attended.append(functional.scaled_dot_product_attention(queries, k, v))
        out: Tensor = attention.to_out[0](torch.cat(attended, dim=2))
        return rearrange(out, "b 1 (t h w) c -> b c t h w", t=frames, h=height)


def build_layers(config: VaeConfig) -> VaeLayers:
    """The layers on the meta device: shapes without memory. Unsupported without diffusers."""
    try:
        from diffusers import AutoencoderKLHunyuanVideo
    except ImportError as error:
        raise Unsupported(
            f"The released autoencoder needs diffusers ({error}). "
            "Install it: pip install 'avatar-server[hunyuan]'."
        ) from error
    build: Any = AutoencoderKLHunyuanVideo  # the library's types are incomplete
    with torch.device("meta"):
        library = build(
            latent_channels=config.latent_channels,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            norm_num_groups=config.norm_num_groups,
            scaling_factor=config.scaling_factor,
            mid_block_add_attention=config.mid_block_add_attention,
        )
    return VaeLayers(library, config.mid_block_causal_attn)
