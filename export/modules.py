"""The exported modules: they take and return plain tensors in a fixed order.

They call the model's own code, so an export is the same function. This file decides only the order
of inputs, and what is left out: modulation weights, encoders, positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runtime.engine.parts import DenoiserPart, WindowShape
from runtime.models.audio_encoder import AudioEncoder
from runtime.models.autoencoder.autoencoder import Autoencoder
from runtime.models.autoencoder.compositing_decoder import ReferenceFeatures
from runtime.models.dit.conditioning import WindowInputs
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import patchify, unpatchify

DECODER_INPUTS = ("latent", "previous", "picture", "still", "quarter", "eighth")


@dataclass(frozen=True, slots=True)
class Exportable:
    """A module with the names of its inputs and outputs."""

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class PartModule(nn.Module):
    """A part of the denoiser; inputs are those of `DenoiserPart.inputs`, in that order."""

    def __init__(self, dit: DiT, part: DenoiserPart, shape: WindowShape) -> None:
        super().__init__()
        self.dit = dit
        self.part = part
        self.shape = shape
        self.names = part.inputs(dit.config)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(self.names, inputs, strict=True))
        if self.part.prologue:
            values["img"] = self._embed(values)
        for index in self.part.double:
            values |= self._double(index, values)
        outputs = self.part.outputs(self.dit.config)
        if self.part.double and "img_out" not in outputs:
            values["hidden"] = torch.cat((values["img"], values["txt"]), dim=1)
        for index in self.part.single:
            block, modulation = self.dit.single_blocks[index], values[f"single_{index:02}_mod"]
            values["hidden"] = block(values["hidden"], modulation, values["rotation"], None)
        if self.part.epilogue:
            values["prediction"] = self._project(values["hidden"], values["final_mod"])
        return tuple(values[name.removesuffix("_out")] for name in outputs)

    def _embed(self, values: dict[str, Tensor]) -> Tensor:
        patches = patchify(values["latents"], self.dit.config.patch_size)
        video = self.dit.img_in(patches) + values["injected"]
        return torch.cat((values["reference"], video), dim=1)

    def _double(self, index: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
        modulation = values[f"double_{index:02}_img_mod"], values[f"double_{index:02}_txt_mod"]
        img, txt = self.dit.double_blocks[index](
            values["img"], values["txt"], modulation, values["rotation"], None
        )
        if index % 2 == 1:
            img = self.dit.apply_adapters(img, index // 2, self._window(values))
        return {"img": img, "txt": txt}

    def _window(self, values: dict[str, Tensor]) -> WindowInputs:
        """The fields that `DiT.apply_adapters` reads; keys of other parts' adapters are empty."""
        nothing = values["img"].new_empty(0)
        adapters = range(self.dit.config.adapters)
        return WindowInputs(
            reference=nothing,
            injected=nothing,
            rotation=values["rotation"],
            masks=values["masks"],
            audio=tuple(values.get(f"audio_{i:02}", nothing) for i in adapters),
            emotion=tuple(values.get(f"emotion_{i:02}", nothing) for i in adapters),
            emotion_masks=values.get("emotion_masks"),
            tokens=None,
            still=nothing,
        )

    def _project(self, hidden: Tensor, modulation: Tensor) -> Tensor:
        _, ph, pw = self.dit.config.patch_size
        rows, first = self.shape.rows // ph, self.shape.rows // ph * (self.shape.columns // pw)
        if self.shape.kept_tokens is not None:  # only the active ones, see active_tokens.py
            rows, first = 1, self.shape.kept_tokens
        video = hidden[:, first : first + self.shape.latent_frames * first]
        patches = self.dit.final_layer(video, modulation)
        patches = torch.unflatten(patches, 1, (self.shape.latent_frames, first))
        return unpatchify(patches, self.dit.config.patch_size, rows)


class DecoderModule(nn.Module):
    """A scaled latent frame, the one before it and the anchor -> frames in [-1, 1]."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(
        self,
        latent: Tensor,
        previous: Tensor,
        picture: Tensor,
        still: Tensor,
        quarter: Tensor,
        eighth: Tensor,
    ) -> Tensor:
        anchor = ReferenceFeatures(picture, still, quarter, eighth)
        unscale = self.autoencoder.unscale
        pictures: Tensor = self.autoencoder.decoder(unscale(latent), unscale(previous), anchor)
        return pictures.clamp(-1.0, 1.0)


def denoiser_part(dit: DiT, part: DenoiserPart, shape: WindowShape) -> Exportable:
    """A part of the denoiser."""
    return Exportable(
        part.name,
        PartModule(dit, part, shape).eval(),
        part.inputs(dit.config),
        part.outputs(dit.config),
    )


def decoder(autoencoder: Autoencoder) -> Exportable:
    """The built-in decoder."""
    return Exportable("decoder", DecoderModule(autoencoder).eval(), DECODER_INPUTS, ("pictures",))


def audio_encoder(encoder: AudioEncoder) -> Exportable:
    """The built-in audio encoder for one window of audio."""
    return Exportable("audio_encoder", encoder.eval(), ("mel",), ("states",))
