"""Checks whether a released folder is complete and is the release: one sentence for each part."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from runtime.errors import AvatarError, CheckpointError
from runtime.hunyuan.layout import FORMS, Form, ReleasedLayout
from runtime.hunyuan.tensor_file import map_safetensors, map_shards, open_pickle
from runtime.hunyuan.weights.loading import (
    StoredDit,
    check_finite,
    check_fit,
    empty_dit,
    open_dit,
    read_config,
)
from runtime.models.dit.config import DiTConfig
from runtime.models.fp8.storage import FP8
from runtime.weights.fit import shown

State = Literal["ok", "problem", "absent"]

TOKENIZER_FILES = ("tokenizer.json", "vocab.json")  # one of them
EMBEDDING = re.compile(r"(embed_tokens|token_embedding)\.weight$")  # Llama's, CLIP's; (words, D)
RECORDS = Path(".cache", "huggingface", "download")  # of a download by huggingface_hub
SHA256 = re.compile(r"[0-9a-f]{64}")
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of checking one part. A problem's sentence says what to do."""

    part: str
    state: State
    sentence: str


def check_release(folder: Path, *, hashes: bool = True) -> Iterator[Finding]:
    """Yields a finding after each part; every weight is read once, and once more for `hashes`.

    SHA-256 sums are known for files that `avatar weights fetch` or the hub's own tool downloaded.
    """
    try:
        layout = ReleasedLayout.find(folder)
        config = read_config(layout)
    except AvatarError as error:
        yield Finding("folder", "problem", str(error))
        return
    yield from check_dit_forms(layout, config)
    yield finding("autoencoder", partial(check_vae, layout, config))
    yield finding("LLaVA", partial(check_text_encoder, layout.llava, config.text_dim))
    yield finding("CLIP", partial(check_text_encoder, layout.clip, config.pooled_text_dim))
    yield finding("Whisper", partial(check_whisper, layout, config))
    if hashes:
        yield finding("hashes", partial(check_hashes, layout.ckpts.parent))


def finding(part: str, check: Callable[[], str]) -> Finding:
    """The finding of a check: the sentence that it returns, or the error that it raises."""
    try:
        return Finding(part, "ok", check())
    except AvatarError as error:
        return Finding(part, "problem", str(error))


def check_dit_forms(layout: ReleasedLayout, config: DiTConfig) -> Iterator[Finding]:
    """The transformer in every form that exists; if none does, that is a problem."""
    there = [form for form in FORMS if layout.has(form)]
    if not there:
        sentence = (
            f"{layout.dit} holds no transformer, neither {layout.pickle('bf16').name} nor "
            f"{layout.pickle('fp8').name}. Get one with `avatar weights fetch`."
        )
        yield Finding("transformer", "problem", sentence)
        return
    for form in FORMS:
        part = f"transformer {form}"
        if form in there:
            yield finding(part, partial(check_dit, layout, config, form))
        else:
            yield Finding(part, "absent", f"{layout.pickle(form).name} is not there.")


def check_dit(layout: ReleasedLayout, config: DiTConfig, form: Form) -> str:
    """Names, shapes, dtypes, scales and values of the transformer."""
    stored = open_dit(layout, form)
    check_fit(stored, empty_dit(config, form))
    check_finite({**stored.tensors, **stored.scales}, stored.file)
    parameters = sum(tensor.numel() for tensor in stored.tensors.values())
    return f"{len(stored.tensors)} tensors, {parameters:,} numbers, {dtypes(stored)}."


def dtypes(stored: StoredDit) -> str:
    """The number of tensors of each dtype, and a note if FP8 weights are stored wider."""
    counts: dict[torch.dtype, int] = {}
    for tensor in stored.tensors.values():
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + 1
    words = [f"{count} {str(dtype).removeprefix('torch.')}" for dtype, count in counts.items()]
    if stored.form == "fp8" and FP8 not in counts:
        words.append("its FP8 weights stored in a wider type: converting halves the file")
    return ", ".join(words)


def check_vae(layout: ReleasedLayout, config: DiTConfig) -> str:
    """The autoencoder loads strictly and has the transformer's channels."""
    from runtime.hunyuan.vae.autoencoder import load_vae
    from runtime.hunyuan.vae.checkpoint import VaeConfig

    sizes = VaeConfig.read(layout.vae)
    if sizes.latent_channels != config.out_channels:
        raise CheckpointError(
            f"{layout.vae} has {sizes.latent_channels} latent channels, the transformer "
            f"{config.out_channels}. Get both from one release with `avatar weights fetch`."
        )
    module = load_vae(layout.vae, "cpu").module
    attention = "causal" if sizes.mid_block_causal_attn else "not causal"
    return f"{len(module.state_dict())} tensors, attention {attention} (config.json)."


def check_text_encoder(folder: Path, width: int) -> str:
    """Configuration, tokenizer and finite weights, with the transformer's input width."""
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise CheckpointError(
            f"{folder} has no tokenizer, which is {' or '.join(TOKENIZER_FILES)}. Get the folder "
            "again with `avatar weights fetch`."
        )
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder / 'config.json'} is missing. Run `avatar weights fetch`.")
    tensors = encoder_tensors(folder)
    check_finite(tensors, folder)
    found = {tensor.shape[-1] for name, tensor in tensors.items() if EMBEDDING.search(name)}
    if found != {width}:
        raise CheckpointError(
            f"{folder} has word embeddings of width {', '.join(map(str, sorted(found))) or 'none'}"
            f"; the transformer reads {width}. Get the folder again with `avatar weights fetch`."
        )
    return f"{len(tensors)} tensors, width {width}."


def encoder_tensors(folder: Path) -> Mapping[str, Tensor]:
    """The tensors of a transformers folder: shards, one safetensors file, or the pickle."""
    if (index := folder / "model.safetensors.index.json").is_file():
        return map_shards(index)
    if (file := folder / "model.safetensors").is_file():
        return map_safetensors(file)
    return open_pickle(folder / "pytorch_model.bin")


def check_whisper(layout: ReleasedLayout, config: DiTConfig) -> str:
    """The audio encoder loads strictly and has the transformer's number of hidden states."""
    from runtime.hunyuan.encoders.whisper import load_whisper

    encoder = load_whisper(layout.whisper)
    check_finite(encoder.state_dict(), layout.whisper)
    found = (encoder.config.hidden_states, encoder.config.width)
    expected = (config.audio_layers, config.audio_dim)
    if found != expected:
        raise CheckpointError(
            f"{layout.whisper} gives {found[0]} hidden states of width {found[1]}; the transformer "
            f"reads {expected[0]} of {expected[1]}. Use the released whisper-tiny."
        )
    return f"{found[0]} hidden states of width {found[1]}."


def check_hashes(root: Path) -> str:
    """SHA-256 of the files whose sums the hub's tool recorded when it downloaded them."""
    known = known_hashes(root)
    wrong = [name for name, expected in known.items() if sha256(root / name) != expected]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} files have changed since their download: {shown(wrong)}. Delete them "
            "and run `avatar weights fetch` again."
        )
    if not known:
        return "None are known: `avatar weights fetch` did not fill this folder."
    return f"{len(known)} files have the SHA-256 that the hub gave."


def known_hashes(root: Path) -> dict[str, str]:
    """SHA-256 by file name: the second line of a record is the hub's tag, a large file's hash."""
    known = {}
    for record in sorted((root / RECORDS).rglob("*.metadata")):
        name = str(record.relative_to(root / RECORDS)).removesuffix(".metadata")
        lines = record.read_text(encoding="utf-8").splitlines()
        if len(lines) > 1 and SHA256.fullmatch(lines[1]) and (root / name).is_file():
            known[name] = lines[1]
    return known


def sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
