"""The files of a downloaded release, and where they are.

The names are those of the folder `tencent/HunyuanVideo-Avatar` on the Hugging Face hub. Two kinds
of file are ours: `transformers/config.json` gives the sizes of a transformer that is not the
released 13 B one, and `avatar weights convert` writes `transformers/*.safetensors`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from runtime.errors import CheckpointError, NotFound

Form = Literal["bf16", "fp8"]  # of the transformer's weights
FORMS: tuple[Form, ...] = get_args(Form)

REPOSITORY = "tencent/HunyuanVideo-Avatar"


def form_named(name: str) -> Form:
    """The form of that name. NotFound lists the names."""
    for form in FORMS:
        if form == name:
            return form
    raise NotFound.among("form", name, FORMS, param="form")


@dataclass(frozen=True, slots=True)
class ReleasedLayout:
    """The parts of a release below its folder `ckpts`. A path here need not exist."""

    ckpts: Path

    @classmethod
    def find(cls, folder: Path) -> "ReleasedLayout":
        """The release in `folder`, which is `ckpts` or contains it. Raises CheckpointError."""
        for ckpts in (folder, folder / "ckpts", folder / "weights" / "ckpts"):
            if (ckpts / "hunyuan-video-t2v-720p").is_dir():
                return cls(ckpts)
        found = "does not exist" if not folder.exists() else "is no released folder"
        raise CheckpointError(
            f"{folder} {found}: hunyuan-video-t2v-720p must be in it or in its ckpts. Name the "
            f"folder that `avatar weights fetch` or a download of {REPOSITORY} filled."
        )

    @property
    def dit(self) -> Path:
        """The folder of the video transformer."""
        return self.ckpts / "hunyuan-video-t2v-720p" / "transformers"

    def pickle(self, form: Form) -> Path:
        """The released file of the transformer's weights in a form."""
        return self.dit / f"mp_rank_00_model_states{'_fp8' if form == 'fp8' else ''}.pt"

    @property
    def fp8_map(self) -> Path:
        """The scales of the FP8 weights, by the names of their linear layers."""
        return self.dit / "mp_rank_00_model_states_fp8_map.pt"

    @property
    def dit_config(self) -> Path:
        """Ours: the sizes of the transformer. Without this file they are the 13 B release's."""
        return self.dit / "config.json"

    def shard_index(self, form: Form) -> Path:
        """Ours: which safetensors file holds which tensor, in the hub's usual format."""
        return self.dit / f"model{'_fp8' if form == 'fp8' else ''}.safetensors.index.json"

    def has(self, form: Form) -> bool:
        """Whether the transformer's weights exist in this form, released or converted."""
        return self.pickle(form).is_file() or self.shard_index(form).is_file()

    @property
    def vae(self) -> Path:
        return self.ckpts / "hunyuan-video-t2v-720p" / "vae"

    @property
    def llava(self) -> Path:
        """LLaVA with Llama 3 8B: prompt and reference image to the text states."""
        return self.ckpts / "llava_llama_image"

    @property
    def clip(self) -> Path:
        """CLIP-L: text to the pooled text state."""
        return self.ckpts / "text_encoder_2"

    @property
    def whisper(self) -> Path:
        """Whisper tiny; its encoder makes the audio features."""
        return self.ckpts / "whisper-tiny"
