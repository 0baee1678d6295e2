"""How the character's picture reaches the video: the three variants of the paper's figure 3.

The paper (arXiv 2505.20156, the section on the character image injection module, and its ablation)
compares, and `DiTConfig.injection` names:

    "token"    (a)  the picture goes through the video's own patch embedding (tokenizer 1), and its
                    tokens are concatenated with the video tokens.
    "channel"  (b)  the picture, repeated over time, is concatenated with the noisy video along the
                    channels before tokenizer 1; the picture alone goes through a second embedding
                    (tokenizer 2) and is concatenated along the tokens as well.
    "add"      (c)  the picture, repeated over time, goes through tokenizer 2 and a fully connected
                    layer and is added to the video tokens. The paper's choice, and the release.

Its ablation finds motion but weak identity in (a), identity but little motion in (b), both in (c).

Where the paper is ambiguous, and what holds here:
- The text describes (c) as addition alone; the table calls it "token + add" and the released code
  concatenates the picture's tokens too. So does "add": all three variants have these tokens.
- The numbering of the tokenizers changes between the text and the appendix. Here `img_in` is the
  one that sees the noisy video and `ref_in` the other, as in the released state dict; in "add",
  as released, the concatenated tokens come from `img_in`.
- The paper puts the picture's tokens behind the video's and shifts their rows and columns by the
  picture's size; the release puts them in front, at time -1, unshifted. So do all three variants:
  nothing but the injection differs between them.
- The paper copies tokenizer 2 from a trained tokenizer 1; trained from scratch, both start random.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.dit.layers import PatchEmbed


class VideoPictureEmbed(PatchEmbed):
    """Tokenizer 1 of (b): an embedding of video and picture, concatenated along the channels.

    A convolution of a concatenation is the sum of a convolution of each part, so the weight is held
    in two: `proj` for the video, `picture_proj` for the picture. The picture's part does not depend
    on the noise and is computed once a window, which costs a call nothing.
    """

    def __init__(self, channels: int, hidden_size: int, patch_size: tuple[int, int, int]) -> None:
        """`channels` of the video; the picture has as many."""
        super().__init__(channels, hidden_size, patch_size)
        self.picture_proj = nn.Conv3d(
            channels, hidden_size, patch_size, stride=patch_size, bias=False
        )

    def picture(self, patches: Tensor) -> Tensor:
        """What the picture's patches (B, T, n, C * patch) add to the tokens (B, T * n, D)."""
        return F.linear(patches, self.picture_proj.weight.flatten(1)).flatten(1, 2)
