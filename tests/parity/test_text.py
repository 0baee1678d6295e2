"""LLaVA's text states equal the release's, whatever version of transformers is installed.

States within 1e-4 (README of the golden data; the official code itself is 1e-5 from float64), masks
exactly.
"""

import json

import pytest
import torch
from safetensors.torch import save_file

from runtime.hunyuan.encoders.prompts import TEMPLATE_TOKENS
from runtime.hunyuan.encoders.text import LLAVA_TOKENS, LlavaText, load_model
from tests.support.released.golden import GOLDEN, GoldenCase, case_names

CASES = case_names("text", "llava_*")
ATOL = 1e-4


class TextRun:
    """A golden case, and our results for its inputs."""

    def __init__(self, name, folder):
        from transformers import LlavaModel

        self.case = GoldenCase.load("text", name)
        write_llava(self.case, folder)
        model = load_model(LlavaModel, folder, torch.float32)
        # The tokens are given, so no tokenizer is asked.
        self.found = LlavaText(model, tokenizer=None).encode(
            self.case.tensors["in.input_ids"],
            self.case.tensors["in.tokenizer_attention_mask"],
            self.case.tensors["in.pixel_values"],
        )


def write_llava(case: GoldenCase, folder) -> None:
    """The case's weights as a folder of transformers."""
    parts = {
        "text_config": {"model_type": "llama"} | case.facts["text_config"],
        "vision_config": {"model_type": "clip_vision_model"} | case.facts["vision_config"],
    }
    config = {"model_type": "llava"} | case.facts["llava_config"] | parts
    (folder / "config.json").write_text(json.dumps(config))
    save_file(case.under("weights."), folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(params=CASES, scope="module")
def run(request, tmp_path_factory):
    return TextRun(request.param, tmp_path_factory.mktemp(request.param))


def test_there_are_golden_text_states():
    assert CASES, f"no text/llava_*.safetensors in {GOLDEN}"


def test_states_equal_the_releases_padding_included(run):
    wanted = run.case.tensors["out.hidden_state"]
    torch.testing.assert_close(run.found.states, wanted, atol=ATOL, rtol=0.0)


def test_the_mask_is_the_releases_although_its_ones_are_elsewhere(run):
    assert torch.equal(run.found.mask, run.case.tensors["out.text_mask"])
    spans = run.case.facts["mask_ones_at"]
    ones = {place for start, stop in spans for place in range(start, stop)}
    assert set(run.found.mask[0].nonzero().flatten().tolist()) == ones


def test_lengths_are_the_releases(run):
    facts = run.case.facts
    assert facts["max_length"] == LLAVA_TOKENS
    assert facts["crop_start"] == TEMPLATE_TOKENS
    assert run.found.states.shape[1] == facts["returned_length"]
