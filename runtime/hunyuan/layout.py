"""Where the files of a downloaded release lie.

The names are those of the folder `tencent/HunyuanVideo-Avatar` on the Hugging Face hub. Two files
are ours: `transformers/config.json` gives the sizes of a transformer that is not the released
13 B one, and `transformers/*.safetensors` is what `avatar weights convert` writes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from runtime.errors import CheckpointError, NotFound

Form = Literal["bf16", "fp8"]  # of the transformer's weights
FORMS: tuple[Form, ...] = get_args(Form)

REPOSITORY = "tencent/HunyuanVideo-Avatar"


def form_named(name: str) -> Form:
    """The form of that name. Raises NotFound that lists what there is."""
    for form in FORMS:
        if form == name:
            return form
    raise NotFound.among("form", name, FORMS, param="form")


@dataclass(frozen=True, slots=True)
class ReleasedLayout:
    """The parts of a release below its folder `ckpts`; a path that is named need not exist."""

    ckpts: Path

    @classmethod
    def find(cls, folder: Path) -> "ReleasedLayout":
        """The release in `folder`, which is `ckpts` or holds it. Raises CheckpointError."""
        for ckpts in (folder, folder / "ckpts", folder / "weights" / "ckpts"):
            if (ckpts / "hunyuan-video-t2v-720p").is_dir():
                return cls(ckpts)
        found = "does not exist" if not folder.exists() else "is no released folder"
        raise CheckpointError(
            f"{folder} {found}: hunyuan-video-t2v-720p was expected in it or in its ckpts. Name "
            f"the folder that `avatar weights fetch` or a download of {REPOSITORY} filled."
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
        """Ours: the sizes of the transformer; without it they are those of the 13 B release."""
        return self.dit / "config.json"

    def shard_index(self, form: Form) -> Path:
        """Ours: which safetensors file holds which tensor, in the hub's usual form."""
        return self.dit / f"model{'_fp8' if form == 'fp8' else ''}.safetensors.index.json"

    def has(self, form: Form) -> bool:
        """Are the transformer's weights there in this form, released or converted?"""
        return self.pickle(form).is_file() or self.shard_index(form).is_file()

    @property
    def vae(self) -> Path:
        return self.ckpts / "hunyuan-video-t2v-720p" / "vae"

    @property
    def llava(self) -> Path:
        """LLaVA with Llama 3 8B: text and picture to the long text states."""
        return self.ckpts / "llava_llama_image"

    @property
    def clip(self) -> Path:
        """CLIP-L: text to the pooled text state."""
        return self.ckpts / "text_encoder_2"

    @property
    def whisper(self) -> Path:
        """Whisper tiny; its encoder hears the sound."""
        return self.ckpts / "whisper-tiny"
