"""The released model as a `StreamModel`.

    model = load_live(folder, torch.device("cuda"), LiveOptions("fp8", characters=characters))

It has the released transformer, Whisper, LLaVA and CLIP. TAEHV's decoder replaces the released one,
which normalises over time and cannot stream. The released weights need 50 steps with guidance; in
the few steps of a live preset they show little. Live streams need a checkpoint with the same tensor
names that was distilled to few steps. Speed does not depend on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from runtime.character.character import Character
from runtime.engine.kinds import WeightPrecision
from runtime.errors import CheckpointError, NotFound, Unsupported
from runtime.hunyuan.encoders.loadable import release_encoders
from runtime.hunyuan.encoders.preprocess import Size
from runtime.hunyuan.encoders.whisper import load_whisper
from runtime.hunyuan.layout import Form, ReleasedLayout
from runtime.hunyuan.live.options import DEFAULT_OPTIONS, LiveOptions
from runtime.hunyuan.live.texts import CharacterTexts
from runtime.hunyuan.live.whisper import LiveWhisper
from runtime.hunyuan.offline.conditions import mask_faces
from runtime.hunyuan.vae.autoencoder import ReleasedVae, load_vae
from runtime.hunyuan.weights.loading import empty_dit, load_dit, read_config
from runtime.models.autoencoder.taehv import Taehv, TaehvState, load_taehv
from runtime.models.dit.dit import DiT
from runtime.models.fp8.linear import use_scaled_products
from runtime.stream.model import Prompt
from runtime.timing import FRAMES_PER_LATENT
from runtime.values import Box
from runtime.weights.device_weights import bytes_on_device, load_to_device

DECODER_FILE = "taehv.pth"  # looked for in a released folder
LATENT_PX = 8
SETTLED = 3  # latent frames after which the latents of a still video hardly change
BESIDE_GB = 4.0  # autoencoder, encoders, activations and CUDA itself, of one session at 512 x 512


def precision_named(name: str) -> WeightPrecision:
    """The precision of that name. NotFound lists the names."""
    for precision in get_args(WeightPrecision):
        if precision == name:
            found: WeightPrecision = precision
            return found
    raise NotFound.among("precision", name, get_args(WeightPrecision), param="precision")


def find_decoder(layout: ReleasedLayout, named: Path | None) -> Path:
    """The TAEHV file: `named`, or the one in the released folder. CheckpointError if missing."""
    ckpts = layout.ckpts
    places = [named] if named else [ckpts / DECODER_FILE, ckpts.parent / DECODER_FILE]
    for file in places:
        if file.is_file():
            return file
    raise CheckpointError(
        f"{places[0]} is missing. The released autoencoder cannot stream, so a live stream needs "
        f"the small TAEHV decoder: put {DECODER_FILE} of github.com/madebyollin/taehv there, or "
        "name it with --decoder."
    )


@dataclass(frozen=True, slots=True)
class LiveRelease:
    """A `StreamModel` of released weights."""

    dit: DiT
    autoencoder: LiveAutoencoder
    audio_encoder: LiveWhisper
    texts: CharacterTexts
    device: torch.device

    @property
    def picture_multiple_px(self) -> int:
        return LATENT_PX * self.dit.config.patch_size[1]

    def prompt_of(self, character: Character) -> Prompt:
        """LLaVA's states of the character's prompt and picture, and CLIP's of its prompt."""
        return self.texts.of(character)

    def masks_of(self, boxes: Sequence[Box], rows: int, columns: int) -> Tensor:
        """The released mask for one face, three times as large as its box; several share theirs."""
        return mask_faces(boxes, Size(columns * LATENT_PX, rows * LATENT_PX))[0, :, 0]

    def precision(self) -> AbstractContextManager[object]:
        """Autocast, as in the release: norms and softmax run in float32."""
        dtype = self.dit.img_in.proj.weight.dtype
        if dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype)


class LiveAutoencoder:
    """The released encoder for the character's picture, TAEHV's decoder for the stream."""

    def __init__(self, encoder: ReleasedVae, decoder: Taehv) -> None:
        self.encoder = encoder
        self.decoder = decoder

    def reference(self, picture: Tensor, latent_frames: int) -> Tensor:
        """As `PictureCodec.reference`: the mean latents of the picture as a still video."""
        frames = FRAMES_PER_LATENT * (latent_frames - 1) + 1
        video = picture[:, :, None].expand(-1, -1, frames, -1, -1)
        return self.encoder.encode(video).float()

    def still(self, picture: Tensor) -> Tensor:
        """A latent frame (1, C, h, w) of the still video, after the first ones, which differ."""
        return self.reference(picture, SETTLED)[:, :, -1]

    def start(self, picture: Tensor) -> TaehvState:
        """The decoder's state after it has decoded the still picture."""
        still = self.still(picture)
        state = self.decoder.start(still.shape[2], still.shape[3])
        for _ in range(SETTLED):
            _, state = self.decoder.decode(still, state)
        return state

    def decode(self, latent: Tensor, state: TaehvState) -> tuple[Tensor, TaehvState]:
        """As `PictureCodec.decode`, float32."""
        pictures, following = self.decoder.decode(latent, state)
        return pictures.float(), following


def load_live(
    folder: Path, device: torch.device, options: LiveOptions = DEFAULT_OPTIONS
) -> LiveRelease:
    """Loads a released folder. LLaVA reads the characters first: it does not fit beside the model.

    Raises NotFound for an unknown precision, CheckpointError for files that are missing or do not
    fit, and Unsupported if the device has too little memory, before anything large is loaded.
    """
    precision = precision_named(options.precision)
    layout = ReleasedLayout.find(folder)
    decoder = find_decoder(layout, options.decoder)
    if device.type == "cuda":
        check_memory(device, weights_gb(layout, precision, options.blocks_on_device), precision)
    narrow = torch.float32 if device.type == "cpu" else torch.float16
    texts = CharacterTexts(release_encoders(folder, device, narrow), options.embeddings, device)
    texts.read(options.characters)
    return LiveRelease(
        load_transformer(folder, device, precision, blocks_on_device=options.blocks_on_device),
        LiveAutoencoder(load_vae(layout.vae, device, narrow), load_taehv(decoder, device, narrow)),
        LiveWhisper(load_whisper(layout.whisper, device)).eval(),
        texts,
        device,
    )


def load_transformer(
    folder: Path, device: torch.device, precision: WeightPrecision, *, blocks_on_device: bool
) -> DiT:
    """The transformer; modulations, and blocks that engines run, stay in host memory."""
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    dit = load_dit(folder, dtype=dtype, form=form_of(precision))
    if precision == "fp8":
        use_scaled_products(dit, device)
    load_to_device(dit, device, blocks=blocks_on_device)
    return dit


def form_of(precision: WeightPrecision) -> Form:
    """The form of the weights that a precision is computed with."""
    return "fp8" if precision == "fp8" else "bf16"


def check_memory(device: torch.device, weights_gb: float, precision: WeightPrecision) -> None:
    """Unsupported if the GPU has less memory free than the model needs, with both numbers."""
    free = torch.cuda.mem_get_info(device)[0] / 1e9
    check_free(free, weights_gb, torch.cuda.get_device_name(device), precision)


def weights_gb(layout: ReleasedLayout, precision: WeightPrecision, blocks_on_device: bool) -> float:
    """GB that the transformer takes on the device."""
    dit = empty_dit(read_config(layout), form_of(precision))
    width = 2 if precision == "fp32" else 1  # `bytes_on_device` counts in bfloat16
    return width * bytes_on_device(dit, blocks=blocks_on_device) / 1e9


def check_free(free_gb: float, weights_gb: float, name: str, precision: WeightPrecision) -> None:
    """Unsupported if `free_gb` of the GPU of that name is too little."""
    if free_gb >= weights_gb + BESIDE_GB:
        return
    smaller = "Use" if precision == "fp8" else "Ask for --precision fp8, or use"
    raise Unsupported(
        f"{name} has {free_gb:.1f} GB free; the transformer takes {weights_gb:.1f} GB in "
        f"{precision}, and the rest needs about {BESIDE_GB:.0f} GB more. {smaller} a larger GPU.",
        param="device",
    )
