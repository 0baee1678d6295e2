"""A folder as a download of HunyuanVideo-Avatar fills it: every tensor's name, tiny widths.

`write_tiny_release` writes the pickles, the FP8 map, the autoencoder, Whisper, LLaVA, CLIP and
their tokenizers with random weights. Nothing here comes from the release but names and dtypes.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.vae.checkpoint import CONFIG_FILE, TENSORS_FILE
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.models.fp8.storage import BLOCKS, quantize
from tests.support.models.small_dit import SMALL_OFFICIAL
from tests.support.released.golden import manifest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PARTS = ("dit", "fp8", "vae", "whisper", "llava", "clip")
AUDIO_WIDTH, TEXT_WIDTH, POOLED_WIDTH = 16, 32, 24

# All 946 tensors of the release.
TINY_RELEASE = replace(
    SMALL_OFFICIAL,
    double_blocks=20,
    single_blocks=40,
    text_dim=TEXT_WIDTH,
    pooled_text_dim=POOLED_WIDTH,
    audio_dim=AUDIO_WIDTH,
)
# Fewer blocks, for tests that run the transformer often.
TINY_SHALLOW = replace(TINY_RELEASE, double_blocks=2, single_blocks=2)
# Modules that the release builds in float32 (dit_hyvideo_t2_info.json); the others are bfloat16.
FLOAT32_MODULES = ("audio_proj.", "audio_adapter_blocks.", "before_proj.", "final_layer.linear.")

IMAGE_PLACE = "<image>"
SPECIAL_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    IMAGE_PLACE,
    "<pad>",
)
SPELLING = (
    "Describe the video by detailing the following aspects: the main content and theme, the color, "
    "shape, size, texture, quantity, text and spatial relationships of the objects, actions, "
    "events, behaviors, temporal relationships, physical movement changes, background environment, "
    "light, style and atmosphere, camera angles, movements and transitions used in the video. "
    "system user The person looks like a person who speaks, realistic, natural, high quality."
)


def write_tiny_release(
    root: Path,
    *,
    dit: DiTConfig = TINY_RELEASE,
    parts: Collection[str] = PARTS,
    seed: int = 0,
) -> Path:
    """Fills `root`/ckpts and returns `root`. The parts agree in their widths.

    `parts` of PARTS that are not asked for are not written (transformers takes seconds to import).
    """
    layout = ReleasedLayout(root / "ckpts")
    layout.dit.mkdir(parents=True)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        layout.dit_config.write_text(json.dumps(dit.to_dict()))
        weights = dit_tensors(dit)
        if "dit" in parts:
            torch.save({"module": weights}, layout.pickle("bf16"))
        if "fp8" in parts:
            in_fp8, scales = quantized(weights)
            torch.save({"module": in_fp8}, layout.pickle("fp8"))
            torch.save({"module": scales}, layout.fp8_map)
        if "vae" in parts:
            write_vae(layout)
        if "whisper" in parts:
            write_whisper(layout)
        if "llava" in parts:
            write_llava(layout, dit.text_dim)
        if "clip" in parts:
            write_clip(layout, dit.pooled_text_dim)
    return root


def dit_tensors(config: DiTConfig) -> dict[str, Tensor]:
    """Random weights in which everything has an effect, in the dtypes of the release."""
    model = DiT(config).requires_grad_(False)
    for parameter in model.parameters():
        if not parameter.any():  # gates and outputs begin at zero
            parameter.normal_(std=0.05)
    return {
        name: tensor if name.startswith(FLOAT32_MODULES) else tensor.bfloat16()
        for name, tensor in model.state_dict().items()
    }


def quantized(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The released FP8 form: weights of the blocks' linears as e4m3, and a scale (1,) for each."""
    in_fp8, scales = dict(weights), {}
    for name, weight in weights.items():
        if name.startswith(BLOCKS) and weight.dim() == 2:
            in_fp8[name], scales[name.removesuffix(".weight")] = quantize(weight)
    return in_fp8, scales


def write_vae(layout: ReleasedLayout) -> None:
    """config.json and pytorch_model.pt of the autoencoder, a sixteenth as wide."""
    layout.vae.mkdir(parents=True)
    facts = manifest("vae_884_16c_hy0801_info")["config"]
    config = facts | {"block_out_channels": [8, 16, 32, 32], "norm_num_groups": 4}
    (layout.vae / CONFIG_FILE).write_text(
        json.dumps({"_class_name": "AutoencoderKLCausal3D"} | config)
    )
    narrow = {128: 8, 256: 16, 512: 32}
    tensors = {}
    for name, shape in manifest("vae_884_16c_hy0801").items():
        tensor = torch.randn([narrow.get(size, size) for size in shape])
        if len(shape) > 1:
            tensor *= tensor[0].numel() ** -0.5
        else:
            tensor = 0.1 * tensor + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
        tensors[name] = tensor.half()
    torch.save({"state_dict": tensors}, layout.vae / TENSORS_FILE)


def write_whisper(layout: ReleasedLayout) -> None:
    """Whisper with four encoder layers, so with the five hidden states that the adapter hears."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=32,
        d_model=AUDIO_WIDTH,
        encoder_layers=4,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        begin_suppress_tokens=None,
        suppress_tokens=None,
    )
    WhisperForConditionalGeneration(config).save_pretrained(layout.whisper)


def write_llava(layout: ReleasedLayout, width: int) -> None:
    """LLaVA whose picture has 576 tokens, as the released one's, and its tokenizer."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        PreTrainedTokenizerFast,
    )

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=llama_tokenizer(),
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        pad_token="<pad>",
        model_max_length=8192,
    )
    image_id = tokenizer.convert_tokens_to_ids(IMAGE_PLACE)
    config = LlavaConfig(
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=48,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=2,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=336,
            patch_size=14,
        ),
        image_token_index=image_id,
        image_seq_length=576,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        pad_token_id=tokenizer.pad_token_id,
    )
    LlavaForConditionalGeneration(config).half().save_pretrained(layout.llava)
    tokenizer.save_pretrained(layout.llava)


def llama_tokenizer() -> "Tokenizer":
    """A byte-level tokenizer with Llama 3's special tokens; the first begins every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SPELLING], trainer)
    first = SPECIAL_TOKENS[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, tokenizer.token_to_id(first))]
    )
    return tokenizer


def write_clip(layout: ReleasedLayout, width: int) -> None:
    """CLIP's text half and its tokenizer, which knows single letters only."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    layout.clip.mkdir(parents=True)
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    entries = [*letters, *(f"{letter}</w>" for letter in letters)]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    (layout.clip / "vocab.json").write_text(json.dumps(vocabulary))
    (layout.clip / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(
        vocab=vocabulary, merges=[], pad_token="<|endoftext|>", model_max_length=77
    )
    tokenizer.save_pretrained(layout.clip)
    config = CLIPTextConfig(
        vocab_size=len(entries),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
    )
    CLIPTextModel(config).half().save_pretrained(layout.clip)
