"""Injection of the reference image into the video: the three variants of the paper's figure 3.

The paper (arXiv 2505.20156, the section on the character image injection module, and its ablation)
compares, and `DiTConfig.injection` names:

    "token"    (a)  the image goes through the video's own patch embedding (tokenizer 1), and its
                    tokens are concatenated with the video tokens.
    "channel"  (b)  the image, repeated over time, is concatenated with the noisy video along the
                    channels before tokenizer 1. The image alone also goes through a second
                    embedding (tokenizer 2) and is concatenated along the tokens.
    "add"      (c)  the image, repeated over time, goes through tokenizer 2 and a fully connected
                    layer and is added to the video tokens. The paper's choice, and the release's.

Its ablation finds motion but weak identity in (a), identity but little motion in (b), both in (c).

The paper is ambiguous on four points. This code decides:
- The text describes (c) as addition only, but the table calls it "token + add" and the released
  code concatenates the image's tokens too. All three variants here concatenate them.
- The numbering of the tokenizers changes between the text and the appendix. Here `img_in` is the
  embedding of the noisy video and `ref_in` the other one, as in the released state dict. In "add",
  as released, the concatenated tokens come from `img_in`.
- The paper puts the image's tokens after the video's and shifts their rows and columns by the
  image's size. The release puts them first, at time -1, unshifted, and so do all three variants:
  they differ in the injection only.
- The paper copies tokenizer 2 from a trained tokenizer 1. Trained from scratch, both start random.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.dit.layers import PatchEmbed


class VideoReferenceEmbed(PatchEmbed):
    """Tokenizer 1 of (b): an embedding of video and reference image, concatenated by channels.

    A convolution of a concatenation is a sum of two convolutions, so the weight has two parts:
    `proj` for the video and `picture_proj` for the image. The image's part does not depend on the
    noise and is computed once per window, at no cost for a call.
    """

    def __init__(self, channels: int, hidden_size: int, patch_size: tuple[int, int, int]) -> None:
        """`channels` of the video; the image has as many."""
        super().__init__(channels, hidden_size, patch_size)
        self.picture_proj = nn.Conv3d(
            channels, hidden_size, patch_size, stride=patch_size, bias=False
        )

    def reference_part(self, patches: Tensor) -> Tensor:
        """The image's part of the tokens (B, T * n, D), from its patches (B, T, n, C * patch)."""
        return F.linear(patches, self.picture_proj.weight.flatten(1)).flatten(1, 2)
