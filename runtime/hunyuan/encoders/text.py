"""The released text encoders, LLaVA (prompt and picture) and CLIP (prompt), by transformers.

The release runs transformers 4.45, which expands one `<image>` into 576 states and masks them with
ones at other places than the valid states. Newer versions need `<image>` 576 times. Here the one is
expanded by hand, so that every version gives the release's result.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from runtime.errors import BadInput, CheckpointError, Unsupported
from runtime.hunyuan.encoders.prompts import TEMPLATE_TOKENS, llava_text

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer, LlavaModel, PreTrainedTokenizerFast

LLAVA_TOKENS = 351  # template and prompt, padded on the right
CLIP_TOKENS = 77
HIDDEN_STATE = -3  # of LLaVA's language model: two layers before the last, not normalised
_NAMES_SHOWN = 3

# Parts of the published files that this use of the models does not need.
_NOT_NEEDED = (
    "lm_head.",
    "vision_model.",
    "visual_projection.",
    "text_projection.",
    "logit_scale",
    "position_ids",
    "inv_freq",
)


@dataclass(frozen=True, slots=True)
class TextStates:
    """The input of the denoiser's text refiner: L = 831 with LLaVA's 576 tokens of a picture.

    The mask is the release's: its sum is the number of valid states, but its ones are at other
    places (ones, zeros, ones). Padding has the states of zeroed embeddings, not zeros.
    """

    states: Tensor  # (1, L, D)
    mask: Tensor  # (1, L) int64


class LlavaText:
    """LLaVA as the release uses it: template, prompt and picture to hidden states."""

    def __init__(self, model: LlavaModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model = model
        self._tokenizer = tokenizer

    def __call__(self, prompt: str, pixels: Tensor) -> TextStates:
        """States of a (prefixed) prompt about the picture of `llava_pixels`, (1, 3, 336, 336).

        Raises BadInput for a prompt so long that the picture would be cut off.
        """
        tokens = self._tokenizer(
            llava_text(prompt), max_length=LLAVA_TOKENS, padding="max_length", return_tensors="pt"
        )
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        if ids.shape[1] > LLAVA_TOKENS:
            raise _too_long(ids.shape[1])
        return self.encode(ids, mask, pixels)

    @torch.no_grad()
    def encode(self, ids: Tensor, mask: Tensor, pixels: Tensor) -> TextStates:
        """The same from token ids and their mask (1, 351); exactly one token is the picture."""
        language = self._model.language_model
        device = language.embed_tokens.weight.device
        ids, mask = ids.to(device), mask.to(device)
        embeddings, valid = self._expanded(ids, mask, self._picture(pixels.to(device)))
        states = language(
            inputs_embeds=embeddings,
            attention_mask=valid,
            position_ids=(valid.cumsum(-1) - 1).masked_fill(valid == 0, 1),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states[HIDDEN_STATE]
        ones = mask.new_ones(1, states.shape[1] - mask.shape[1])
        released_mask = torch.cat([mask, ones], dim=1)
        return TextStates(states[:, TEMPLATE_TOKENS:], released_mask[:, TEMPLATE_TOKENS:])

    def _picture(self, pixels: Tensor) -> Tensor:
        """Tokens of the picture, (1, 576, D)."""
        pixels = pixels.to(self._model.dtype)
        features = self._model.get_image_features(pixels, return_dict=True).pooler_output
        return torch.stack(list(features))

    def _expanded(self, ids: Tensor, mask: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings with the picture's in place of its token, and the mask of valid ones."""
        config = self._model.config
        places = (ids[0] == config.image_token_id).nonzero()
        if len(places) != 1:
            raise BadInput(
                f"The prompt has <image> {len(places)} times with its template; it must have it "
                "once. Leave <image> out of prompts.",
                param="prompt",
            )
        place = int(places[0])
        words = self._model.get_input_embeddings()(ids)
        padding = -1 if config.pad_token_id is None else config.pad_token_id
        words = words.masked_fill((ids == padding)[..., None], 0)
        ones = mask.new_ones(picture.shape[:2])
        return (
            torch.cat([words[:, :place], picture.to(words.dtype), words[:, place + 1 :]], dim=1),
            torch.cat([mask[:, :place], ones, mask[:, place + 1 :]], dim=1),
        )


class ClipText:
    """CLIP's text half: a prompt to its pooled state."""

    def __init__(self, model: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer

    @torch.no_grad()
    def __call__(self, prompt: str) -> Tensor:
        """The pooled state (1, 768) of a (prefixed) prompt's first 77 tokens."""
        tokens = self._tokenizer(
            prompt,
            max_length=CLIP_TOKENS,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).to(self._model.device)
        pooled: Tensor = self._model(**tokens).pooler_output
        return pooled


def load_llava(folder: Path, device: str | torch.device, dtype: torch.dtype) -> LlavaText:
    """The release's `llava_llama_image`; it runs in float16. Raises CheckpointError."""
    transformers = _transformers()
    model = load_model(transformers.LlavaModel, folder, dtype)
    # The generic class keeps tokenizer.json unchanged; those of one model family replace parts.
    tokenizer = _tokenizer(transformers.PreTrainedTokenizerFast, folder)
    return LlavaText(model.to(device), tokenizer)


def load_clip(folder: Path, device: str | torch.device, dtype: torch.dtype) -> ClipText:
    """The release's `text_encoder_2`, CLIP-L; it runs in float16. Raises CheckpointError."""
    transformers = _transformers()
    model = load_model(transformers.CLIPTextModel, folder, dtype)
    return ClipText(model.to(device), _tokenizer(transformers.CLIPTokenizer, folder))


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise Unsupported(
            f"The released text encoders need transformers ({error}). "
            "Install it: pip install 'avatar-server[hunyuan]'."
        ) from error
    return transformers


def load_model(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A transformers model from a folder; every weight must be there, and none unknown."""
    _check_folder(folder)
    try:
        with _no_report():
            model, found = kind.from_pretrained(
                folder, dtype=dtype, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} cannot be loaded as {kind.__name__} ({error}). Download the folder again."
        ) from error
    unknown = {
        name for name in found["unexpected_keys"] if not any(part in name for part in _NOT_NEEDED)
    }
    for names, problem in ((found["missing_keys"], "are missing"), (unknown, "are unknown")):
        if names:
            shown = ", ".join(sorted(names)[:_NAMES_SHOWN])
            raise CheckpointError(
                f"{folder} does not fit {kind.__name__}: {len(names)} weights {problem}, among "
                f"them {shown}. Download the folder again."
            )
    return model


def _tokenizer(kind: Any, folder: Path) -> Any:
    try:
        return kind.from_pretrained(folder, padding_side="right", local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} holds no tokenizer that can be read ({error}). Download the folder again."
        ) from error


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder / 'config.json'} is missing, so this is no folder of transformers. Check the "
            "path, or download the release with `avatar weights fetch`."
        )


def _too_long(tokens: int) -> BadInput:
    return BadInput(
        f"The prompt has {tokens} tokens with its template; {LLAVA_TOKENS} are allowed, and the "
        f"picture comes last. Shorten prompt and prefix by {tokens - LLAVA_TOKENS} tokens or more.",
        param="prompt",
    )


@contextmanager
def _no_report() -> Iterator[None]:
    """Keeps transformers from listing weights that are not needed; `load_model` checks them."""
    from transformers.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(before)
