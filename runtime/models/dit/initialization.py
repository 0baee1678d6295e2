"""Starting weights for training from scratch.

Gates and the output start at zero (adaLN-zero, arXiv 2212.09748, section 3.2): the untrained model
is the identity in every block and predicts zero. The adapters start small rather than at zero, so
that the audio has an effect from the first training step on.
"""

from __future__ import annotations

from torch import nn

from runtime.models.dit.audio_adapter import AudioAdapter, FrameMaps
from runtime.models.dit.emotion_adapter import EmotionAdapter
from runtime.models.dit.image_injection import VideoReferenceEmbed
from runtime.models.dit.layers import FinalLayer, Modulation, NumberEmbedder, PatchEmbed
from runtime.models.dit.text_refiner import RefinerBlock

SMALL = 0.02


def initialize(model: nn.Module) -> None:
    """Fill every parameter of a DiT in place. On the meta device this does nothing."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        _initialize_special(module)
    for name, parameter in model.named_parameters():
        if name.endswith("position") or name.endswith("positions"):
            nn.init.trunc_normal_(parameter, std=SMALL)


def _initialize_special(module: nn.Module) -> None:
    if isinstance(module, PatchEmbed):
        nn.init.xavier_uniform_(module.proj.weight.flatten(1))
        nn.init.zeros_(module.proj.get_parameter("bias"))
        if isinstance(module, VideoReferenceEmbed):
            nn.init.xavier_uniform_(module.picture_proj.weight.flatten(1))
    elif isinstance(module, FrameMaps):
        for weight in module.weight:
            nn.init.xavier_uniform_(weight)
    elif isinstance(module, NumberEmbedder):
        for linear in (module.mlp[0], module.mlp[2]):
            nn.init.trunc_normal_(linear.get_parameter("weight"), std=SMALL)
    elif isinstance(module, Modulation):
        nn.init.zeros_(module.linear.weight)
    elif isinstance(module, RefinerBlock):
        nn.init.zeros_(module.adaLN_modulation[1].get_parameter("weight"))
    elif isinstance(module, FinalLayer):
        nn.init.zeros_(module.adaLN_modulation[1].get_parameter("weight"))
        nn.init.zeros_(module.linear.weight)
    elif isinstance(module, AudioAdapter | EmotionAdapter):
        nn.init.trunc_normal_(module.to_out.weight, std=SMALL)
