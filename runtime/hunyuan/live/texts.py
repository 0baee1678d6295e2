"""The text states of each character, made once by LLaVA and CLIP before the transformer is loaded.

LLaVA takes 16 GB of the device and is unloaded when all characters are read. A character that is
added later needs as much memory beside the transformer, or a restart of the server.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from runtime.character.character import Character
from runtime.character.pictures import pixels_of
from runtime.errors import Unsupported
from runtime.hunyuan.encoders.embedding_cache import EmbeddingCache
from runtime.hunyuan.encoders.loadable import (
    Encoders,
    Loadable,
    PictureTextEncoder,
    PooledTextEncoder,
)
from runtime.hunyuan.encoders.preprocess import llava_pixels
from runtime.hunyuan.encoders.prompts import DEFAULT_PROMPT, Prompts
from runtime.stream.model import Prompt

log = logging.getLogger(__name__)

T = TypeVar("T")

LLAVA_BYTES = 17_500_000_000  # 8.4 B parameters in float16, and room to run
ENTRY_VERSION = "live 1"  # raise it if the same input gives another result


class CharacterTexts:
    """Text states by character; `embeddings` is a cache folder, None: every start makes them."""

    def __init__(self, encoders: Encoders, embeddings: Path | None, device: torch.device) -> None:
        self._encoders = encoders
        self._cache = None if embeddings is None else EmbeddingCache(embeddings)
        self._device = device
        self._known: dict[str, Prompt] = {}

    def of(self, character: Character) -> Prompt:
        """The character's text states, on the device. Unsupported if LLaVA does not fit there."""
        if character.digest() not in self._known:
            self._check_room(character)
            self.read([character])
        return self._known[character.digest()]

    def _check_room(self, character: Character) -> None:
        if self._device.type != "cuda":
            return
        free = torch.cuda.mem_get_info(self._device)[0]
        if free < LLAVA_BYTES:
            raise Unsupported(
                f"{character.id} was added after the start. LLaVA must read its picture and needs "
                f"{LLAVA_BYTES / 1e9:.0f} GB of the GPU; {free / 1e9:.1f} GB are free. Restart "
                "the server: it reads all characters before it loads the transformer.",
                param="character",
            )

    def read(self, characters: Sequence[Character]) -> None:
        """Reads the characters; each encoder is loaded at most once."""
        missing = [one for one in characters if one.digest() not in self._known]
        with CachedEncoder(self._encoders.llava, "llava", self._cache) as llava:
            states = [llava.get(_about(one), _picture_states(one)) for one in missing]
        with CachedEncoder(self._encoders.clip, "clip", self._cache) as clip:
            pooled = [clip.get((_text(one),), _pooled(one)) for one in missing]
        for one, long, short in zip(missing, states, pooled, strict=True):
            self._known[one.digest()] = Prompt(
                long["states"][0].to(self._device),
                short["pooled"][0].to(self._device),
                long["mask"][0].to(self._device),
            )


class CachedEncoder(Generic[T]):
    """An encoder behind a cache on disk: loaded at the first miss, unloaded after the block."""

    def __init__(self, encoder: Loadable[T], kind: str, cache: EmbeddingCache | None) -> None:
        self._encoder, self._kind, self._cache = encoder, kind, cache
        self._loaded: list[T] = []

    def __enter__(self) -> CachedEncoder[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._loaded.clear()
        gc.collect()
        torch.cuda.empty_cache()  # does nothing if CUDA was not used

    def get(
        self, content: Sequence[str | bytes], work: Callable[[T], Mapping[str, Tensor]]
    ) -> Mapping[str, Tensor]:
        """The result of `work` with the encoder, or the cached one of the same `content`."""

        @torch.no_grad()
        def make() -> Mapping[str, Tensor]:
            if not self._loaded:
                log.info("loading %s", self._kind)
                self._loaded.append(self._encoder.load())
            return {name: tensor.cpu() for name, tensor in work(self._loaded[0]).items()}

        if self._cache is None:
            return make()
        entry = (ENTRY_VERSION, self._encoder.identity, *content)
        return self._cache.get(f"live-{self._kind}", entry, make)


def _text(character: Character) -> str:
    return Prompts(character.prompt or DEFAULT_PROMPT).positive


def _picture(character: Character) -> Image.Image:
    return Image.fromarray(character.picture.pixels)


def _about(character: Character) -> tuple[str | bytes, ...]:
    pixels = pixels_of(_picture(character))
    return _text(character), pixels.tobytes(), str(pixels.shape)


def _picture_states(
    character: Character,
) -> Callable[[PictureTextEncoder], Mapping[str, Tensor]]:
    def work(llava: PictureTextEncoder) -> Mapping[str, Tensor]:
        read = llava(_text(character), llava_pixels(_picture(character)))
        return {"states": read.states, "mask": read.mask}

    return work


def _pooled(character: Character) -> Callable[[PooledTextEncoder], Mapping[str, Tensor]]:
    return lambda clip: {"pooled": clip(_text(character))}
