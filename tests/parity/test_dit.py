"""The transformer equals the release: outputs, every intermediate, and the step cache.

Tolerances are those of the golden data's README; our largest difference in out.x is 3.4e-6.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from runtime.models.dit.audio_adapter import group_frames
from runtime.models.dit.blocks import attention_mask
from runtime.models.dit.conditioning import Conditioning
from runtime.models.dit.dit import DiT
from tests.support.released.golden import GOLDEN, GoldenCase, case_names

OUT = {"atol": 5e-5, "rtol": 1e-5}
MID = {"atol": 1e-4, "rtol": 1e-5}


def conditioning_of(inputs: dict[str, Tensor]) -> Conditioning:
    return Conditioning(
        text_states=inputs["text_states"],
        text_mask=inputs["text_mask"],
        pooled_text=inputs["text_states_2"],
        ref_latents=inputs["ref_latents"],
        audio=inputs["audio_prompts"].unsqueeze(1),
        face_masks=inputs["face_mask"],
        motion_exp=inputs["motion_exp"],
        motion_pose=inputs["motion_pose"],
        fps=inputs["fps"],
        freqs_cos=inputs["freqs_cos"],
        freqs_sin=inputs["freqs_sin"],
    )


class Trace:
    """Inputs and outputs of every module, in the order of the calls."""

    def __init__(self, model: nn.Module) -> None:
        self.inputs: dict[str, list[tuple]] = defaultdict(list)
        self.outputs: dict[str, list] = defaultdict(list)
        for name, module in model.named_modules():
            module.register_forward_hook(self._recorder(name))

    def _recorder(self, name: str):
        def record(_module, inputs, output):
            self.inputs[name].append(inputs)
            self.outputs[name].append(output)

        return record


@dataclass(frozen=True)
class DitRun:
    """A golden case, our model with its weights, and our model's results for its inputs."""

    case: GoldenCase
    model: DiT
    cond: Conditioning
    trace: Trace
    out: Tensor


@pytest.fixture(params=case_names("dit"), scope="module")
def run(request):
    case = GoldenCase.load("dit", request.param)
    model = DiT(case.dit_config()).eval()
    model.load_state_dict(case.under("weights."), strict=True)
    inputs = case.under("in.")
    cond = conditioning_of(inputs)
    trace = Trace(model)
    with torch.inference_mode():
        out = model(inputs["x"], inputs["t"], cond)
    return DitRun(case, model, cond, trace, out)


def intermediates(run: DitRun) -> dict[str, Tensor]:
    """Our values under the names that the golden data gives them."""
    trace, model, inputs = run.trace, run.model, run.case.under("in.")
    window = model.prepare_window(run.cond, inputs["x"].shape[2])
    single_input = trace.inputs["single_blocks.0"][0][0]
    img_tokens = window.rotation.shape[0]
    found = {
        "time_in": trace.outputs["time_in"][0],
        "motion_exp_embed": trace.outputs["motion_exp"][0],
        "motion_pose_embed": trace.outputs["motion_pose"][0],
        "fps_proj": trace.outputs["fps_proj"][0],
        "vector_in": trace.outputs["vector_in"][0],
        "vec": model.vector(inputs["t"], run.cond),
        "audio_proj": trace.outputs["audio_proj"][0].squeeze(1),
        "audio_tokens_per_latent": audio_tokens(run).squeeze(2),
        "img_in_ref_first": trace.outputs["img_in"][0],
        "img_in_x": trace.outputs["img_in"][1],
        "ref_in": trace.outputs["ref_in"][0],
        "before_proj": trace.outputs["before_proj"][0],
        "txt_in": trace.outputs["txt_in"][0],
        "block_input_img": trace.inputs["double_blocks.0"][0][0],
        "block_input_txt": trace.inputs["double_blocks.0"][0][1],
        "face_mask_tokens": window.masks.flatten(1, 2).squeeze(-1),
        "single_input": single_input,
        "cache_out": trace.inputs[f"single_blocks.{model.config.single_blocks - 1}"][0][0],
        "final_layer_in": trace.inputs["final_layer"][0][0],
        "final_layer_out": trace.outputs["final_layer"][0],
        "cu_seqlens": segment_ends(run, img_tokens),
    }
    for index in range(model.config.single_blocks):
        found[f"single.{index}"] = trace.outputs[f"single_blocks.{index}"][0]
    after = [trace.inputs[f"double_blocks.{i}"][0][0] for i in range(1, model.config.double_blocks)]
    after.append(single_input[:, :img_tokens])
    for index, img_after in enumerate(after):
        img, txt = trace.outputs[f"double_blocks.{index}"][0]
        found |= {f"double.{index}.img": img, f"double.{index}.txt": txt}
        if index % 2 == 1:
            found[f"double.{index}.img_after_audio"] = img_after
    for index in range(model.config.adapters):
        found[f"audio_adapter.{index}.out"] = unmasked_adapter_output(run, index)
    return found


def audio_tokens(run: DitRun) -> Tensor:
    latent_frames = run.case.tensors["in.x"].shape[2]
    return group_frames(run.trace.outputs["audio_proj"][0], latent_frames)


def unmasked_adapter_output(run: DitRun, index: int) -> Tensor:
    """We mask before the last projection, the release after it: compare with a mask of ones."""
    video, keys_values, masks = run.trace.inputs[f"audio_adapter_blocks.{index}"][0]
    out = run.model.audio_adapter_blocks[index](video, keys_values, torch.ones_like(masks))
    return out.unflatten(1, masks.shape[1:3])


def segment_ends(run: DitRun, img_tokens: int) -> Tensor:
    """Ends of the attention segments, counted through the batch, read off our mask."""
    text_mask = run.cond.text_mask
    whole = img_tokens + text_mask.shape[1]
    mask = attention_mask(text_mask, img_tokens)
    firsts = mask[:, 0, 0].sum(dim=1)
    ends = [0]
    for item, first in enumerate(firsts.tolist()):
        ends += [item * whole + first, (item + 1) * whole]
    return torch.tensor(ends, dtype=torch.int32)


def test_there_are_golden_cases():
    assert case_names("dit"), f"no dit/*.safetensors in {GOLDEN}"


def test_output_equals_the_releases(run):
    torch.testing.assert_close(run.out, run.case.tensors["out.x"], **OUT)


def test_every_intermediate_equals_the_releases(run):
    with torch.inference_mode():
        found = intermediates(run)
    golden = run.case.under("mid.")
    assert set(golden) <= set(found), f"not compared: {sorted(set(golden) - set(found))}"
    for name, expected in golden.items():
        torch.testing.assert_close(
            found[name], expected, **MID, msg=lambda text, name=name: f"mid.{name}: {text}"
        )


def test_adapters_follow_the_same_blocks(run):
    followed = [2 * index + 1 for index in range(run.model.config.adapters)]
    assert followed == run.case.facts["audio_insert_layers"]


def test_a_cached_step_equals_the_releases(run):
    if "out.cached_step.x" not in run.case.tensors:
        pytest.skip("this case has no cached step")
    inputs = run.case.under("in.cached_step.")
    x, t = inputs["x"], inputs["t"]
    with torch.inference_mode():
        window = run.model.prepare_window(run.cond, x.shape[2])
        step = run.model.prepare_step(t, run.cond)
        cached = run.model.finish(run.case.tensors["mid.cache_out"], x, step, window)
        full = run.model(x, t, run.cond)
    torch.testing.assert_close(cached, run.case.tensors["out.cached_step.x"], **OUT)
    torch.testing.assert_close(full, run.case.tensors["out.cached_step_full.x"], **OUT)


def test_text_without_padding_needs_no_mask(run):
    if not run.cond.text_mask.bool().all():
        pytest.skip("this case has padding")
    inputs = run.case.under("in.")
    with torch.inference_mode():
        out = run.model(inputs["x"], inputs["t"], replace(run.cond, text_mask=None))
    assert torch.equal(out, run.out)


def test_a_missing_tensor_is_refused(run):
    weights = run.case.under("weights.")
    weights.pop("before_proj.bias")
    with pytest.raises(RuntimeError, match=r"before_proj\.bias"):
        DiT(run.model.config).load_state_dict(weights, strict=True)
