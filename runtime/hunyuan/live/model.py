"""The released model as a model that streams: presets, windows and carried state of stream.py.

    model = load_live(LiveChoice(folder, torch.device("cuda"), "fp8"), characters)

The released transformer, Whisper, LLaVA and CLIP, with TAEHV's decoder in place of the released
one, which normalises over time and cannot stream. The released weights take 50 steps with guidance
and show little in the few steps of a live preset: what a live stream needs is a checkpoint of the
same names that was distilled to few steps. Speed does not depend on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from runtime.character.character import Character
from runtime.errors import CheckpointError, NotFound, Unsupported
from runtime.hunyuan.encoders.loadable import release_encoders
from runtime.hunyuan.encoders.preprocess import Size
from runtime.hunyuan.encoders.whisper import load_whisper
from runtime.hunyuan.layout import Form, ReleasedLayout
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
from runtime.weights.device_weights import bytes_on_device, place

Precision = Literal["fp32", "bf16", "fp8"]

DECODER_FILE = "taehv.pth"  # looked for in a released folder
LATENT_PX = 8
SETTLED = 3  # latent frames after which a still picture's latents no longer change much
BESIDE_GB = 4.0  # autoencoder, encoders, activations and CUDA itself, of one session at 512 x 512


def precision_named(name: str) -> Precision:
    """The precision of that name. Raises NotFound that lists what there is."""
    for precision in get_args(Precision):
        if precision == name:
            found: Precision = precision
            return found
    raise NotFound.among("precision", name, get_args(Precision), param="precision")


@dataclass(frozen=True, slots=True)
class LiveChoice:
    """Which weights, in what precision, on which device.

    `decoder` None: `taehv.pth` in the folder. `blocks_on_device` False: engines in files run the
    blocks, whose weights then stay in host memory.
    """

    folder: Path
    device: torch.device
    precision: Precision = "bf16"
    decoder: Path | None = None
    embeddings: Path | None = None
    blocks_on_device: bool = True

    @property
    def decoder_file(self) -> Path:
        """CheckpointError where there is none."""
        ckpts = ReleasedLayout.find(self.folder).ckpts
        places = (
            [self.decoder] if self.decoder else [ckpts / DECODER_FILE, ckpts.parent / DECODER_FILE]
        )
        for file in places:
            if file.is_file():
                return file
        raise CheckpointError(
            f"{places[0]} is missing. The released autoencoder cannot stream, so a live stream "
            f"needs the small TAEHV decoder: put {DECODER_FILE} of github.com/madebyollin/taehv "
            "there, or name it with --decoder."
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
        """LLaVA's and CLIP's states of the character's prompt about its picture."""
        return self.texts.of(character)

    def masks_of(self, boxes: Sequence[Box], rows: int, columns: int) -> Tensor:
        """The release's for one face, three times as large as its box; several share theirs."""
        return mask_faces(boxes, Size(columns * LATENT_PX, rows * LATENT_PX))[0, :, 0]

    def precision(self) -> AbstractContextManager[object]:
        """The release's own: autocast, with norms and softmax in float32."""
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
        """As `PictureCodec.reference`: the first latent frames of the still video, its mean."""
        frames = FRAMES_PER_LATENT * (latent_frames - 1) + 1
        video = picture[:, :, None].expand(-1, -1, frames, -1, -1)
        return self.encoder.encode(video).float()

    def still(self, picture: Tensor) -> Tensor:
        """A latent frame (1, C, h, w) of the still video, none of its first, which differ."""
        return self.reference(picture, SETTLED)[:, :, -1]

    def start(self, picture: Tensor) -> TaehvState:
        """The decoder after it has shown the picture at rest."""
        still = self.still(picture)
        state = self.decoder.start(still.shape[2], still.shape[3])
        for _ in range(SETTLED):
            _, state = self.decoder.decode(still, state)
        return state

    def decode(self, latent: Tensor, state: TaehvState) -> tuple[Tensor, TaehvState]:
        """As `PictureCodec.decode`, float32."""
        pictures, following = self.decoder.decode(latent, state)
        return pictures.float(), following


def load_live(choice: LiveChoice, characters: Sequence[Character] = ()) -> LiveRelease:
    """The model, with the prompts of `characters` already read: LLaVA does not fit beside it.

    Raises CheckpointError for files that are missing or do not fit, Unsupported where the device
    has too little memory, in that order and before anything large is loaded.
    """
    layout, decoder = ReleasedLayout.find(choice.folder), choice.decoder_file
    check_memory(choice)
    narrow = torch.float32 if choice.device.type == "cpu" else torch.float16
    encoders = release_encoders(choice.folder, choice.device, narrow)
    texts = CharacterTexts(encoders, choice.embeddings, choice.device)
    texts.read(characters)
    return LiveRelease(
        load_transformer(choice),
        LiveAutoencoder(
            load_vae(layout.vae, choice.device, narrow), load_taehv(decoder, choice.device, narrow)
        ),
        LiveWhisper(load_whisper(layout.whisper, choice.device)).eval(),
        texts,
        choice.device,
    )


def load_transformer(choice: LiveChoice) -> DiT:
    """The transformer, its modulations and what engines run in host memory."""
    dtype = torch.float32 if choice.precision == "fp32" else torch.bfloat16
    form: Form = "fp8" if choice.precision == "fp8" else "bf16"
    dit = load_dit(choice.folder, dtype=dtype, form=form)
    if choice.precision == "fp8":
        use_scaled_products(dit, choice.device)
    place(dit, choice.device, blocks=choice.blocks_on_device)
    return dit


def check_memory(choice: LiveChoice) -> None:
    """Unsupported where the GPU has less free than the model needs, with both numbers."""
    if choice.device.type != "cuda":
        return
    free = torch.cuda.mem_get_info(choice.device)[0] / 1e9
    name = torch.cuda.get_device_name(choice.device)
    check_free(free, weights_gb(choice), name, choice.precision)


def weights_gb(choice: LiveChoice) -> float:
    """What the transformer takes on the device."""
    config = read_config(ReleasedLayout.find(choice.folder))
    dit = empty_dit(config, "fp8" if choice.precision == "fp8" else "bf16")
    width = 2 if choice.precision == "fp32" else 1  # the empty one is counted in bfloat16
    return width * bytes_on_device(dit, blocks=choice.blocks_on_device) / 1e9


def check_free(free_gb: float, weights_gb: float, name: str, precision: Precision) -> None:
    """Unsupported where `free_gb` of the GPU of that name is too little."""
    if free_gb >= weights_gb + BESIDE_GB:
        return
    smaller = "Use" if precision == "fp8" else "Ask for --precision fp8, or use"
    raise Unsupported(
        f"{name} has {free_gb:.1f} GB free; the transformer takes {weights_gb:.1f} GB in "
        f"{precision}, and about {BESIDE_GB:.0f} GB more are needed beside it. {smaller} a larger "
        "GPU.",
        param="device",
    )
