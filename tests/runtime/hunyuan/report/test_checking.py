"""Every fault of a released folder gets one sentence that says what to do."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.report.checking import check_dit_forms, check_hashes, check_release, check_vae
from runtime.hunyuan.vae.checkpoint import CONFIG_FILE, TENSORS_FILE
from runtime.hunyuan.weights.loading import read_config
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_tiny_release(tmp_path_factory.mktemp("release"), dit=TINY_SHALLOW)


@pytest.fixture
def release(whole, tmp_path):
    """A copy, to damage."""
    shutil.copytree(whole, tmp_path / "release")
    return ReleasedLayout.find(tmp_path / "release")


@pytest.fixture(scope="module")
def findings(whole):
    """About a whole release, by part."""
    return {one.part: one for one in check_release(whole)}


def forms(layout):
    """Findings about the transformer, by part."""
    return {one.part: one for one in check_dit_forms(layout, read_config(layout))}


def problem(layout):
    """The finding about the one part that is wrong."""
    return only_problem(check_release(layout.ckpts.parent))


def form_problem(layout):
    return only_problem(forms(layout).values())


def only_problem(found):
    (one,) = [one for one in found if one.state == "problem"]
    assert "avatar weights" in one.sentence or "transformers/config.json" in one.sentence
    return one


def change(file, key, value):
    """Puts a value in a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))


def change_pickle(file, outer, change):
    """Lets `change` work on the tensors of a pickle."""
    tensors = torch.load(file, weights_only=True)[outer]
    change(tensors)
    torch.save({outer: tensors}, file)


def test_a_whole_release_has_no_problem(findings):
    assert {one.part: one.sentence for one in findings.values() if one.state != "ok"} == {}


def test_every_part_is_spoken_of(findings):
    parts = ["transformer bf16", "transformer fp8", "autoencoder", "LLaVA", "CLIP", "Whisper"]
    assert list(findings) == [*parts, "hashes"]


def test_the_autoencoders_attention_is_read_from_its_configuration(release, findings):
    assert "attention causal" in findings["autoencoder"].sentence
    change(release.vae / CONFIG_FILE, "mid_block_causal_attn", False)
    assert "attention not causal" in check_vae(release, read_config(release))


def test_dtypes_are_counted(findings):
    assert "float8_e4m3fn" in findings["transformer fp8"].sentence


def test_fp8_weights_that_are_stored_wider_are_mentioned(release):
    def widen(tensors):
        tensors |= {name: value.bfloat16() for name, value in tensors.items()}

    change_pickle(release.pickle("fp8"), "module", widen)
    assert "stored in a wider type" in forms(release)["transformer fp8"].sentence


def test_one_form_of_the_transformer_is_enough(release):
    release.pickle("bf16").unlink()
    found = forms(release)
    assert found["transformer bf16"].state == "absent"
    assert found["transformer fp8"].state == "ok"


def test_a_folder_that_is_no_release_is_a_problem(tmp_path):
    (one,) = check_release(tmp_path)
    assert one.state == "problem"
    assert "hunyuan-video-t2v-720p must be in it" in one.sentence


def test_no_transformer_at_all_is_a_form_problem(release):
    release.pickle("bf16").unlink()
    release.pickle("fp8").unlink()
    assert "holds no transformer" in form_problem(release).sentence


def test_a_missing_key_is_a_form_problem(release):
    change_pickle(release.pickle("bf16"), "module", lambda tensors: tensors.pop("img_in.proj.bias"))
    assert "1 missing: img_in.proj.bias" in form_problem(release).sentence


def test_a_wrong_shape_is_a_form_problem(release):
    def shorten(tensors):
        tensors["img_in.proj.bias"] = tensors["img_in.proj.bias"][:-1].clone()

    change_pickle(release.pickle("bf16"), "module", shorten)
    assert "img_in.proj.bias (31,) instead of (32,)" in form_problem(release).sentence


def test_nan_weights_are_a_form_problem(release):
    change_pickle(
        release.pickle("bf16"),
        "module",
        lambda tensors: tensors["img_in.proj.bias"].fill_(torch.nan),
    )
    assert "NaN or infinite values in 1 tensors: img_in.proj.bias" in form_problem(release).sentence


def test_fp8_without_its_map_is_a_form_problem(release):
    release.fp8_map.unlink()
    assert form_problem(release).part == "transformer fp8"


@pytest.mark.parametrize(
    ("part", "file"),
    [
        ("transformer bf16", lambda layout: layout.pickle("bf16")),
        ("transformer fp8", lambda layout: layout.fp8_map),
        ("autoencoder", lambda layout: layout.vae / TENSORS_FILE),
        ("LLaVA", lambda layout: layout.llava / "model.safetensors"),
        ("CLIP", lambda layout: layout.clip / "model.safetensors"),
        ("Whisper", lambda layout: layout.whisper / "model.safetensors"),
    ],
)
def test_a_truncated_file_is_a_problem_of_its_part(release, part, file):
    damaged = file(release)
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    one = problem(release)
    assert one.part == part
    assert str(damaged) in one.sentence
    assert one.sentence.count(". ") == 1  # what is wrong, and what to do


@pytest.mark.parametrize("part", ["vae", "llava", "clip", "whisper"])
def test_a_missing_part_is_a_problem(release, part):
    shutil.rmtree(getattr(release, part))
    assert str(getattr(release, part)) in problem(release).sentence


def test_nan_in_an_encoder_is_a_problem(release):
    file = release.clip / "model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values())).fill_(torch.nan)
    save_file(tensors, file, metadata={"format": "pt"})
    assert problem(release).part == "CLIP"


def test_an_encoder_of_another_width_is_a_problem(release):
    shutil.rmtree(release.clip)
    shutil.copytree(release.llava, release.clip)
    assert "width 32; the transformer reads 24" in problem(release).sentence


def test_an_encoder_without_tokenizer_is_a_problem(release):
    (release.llava / "tokenizer.json").unlink()
    assert "has no tokenizer" in problem(release).sentence


def record_hash(layout, digest):
    """As huggingface_hub writes it: commit, tag, time."""
    root = layout.ckpts.parent
    name = (layout.vae / TENSORS_FILE).relative_to(root)
    record = root / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    record.parent.mkdir(parents=True)
    record.write_text(f"0123\n{digest}\n1.0\n")


def test_a_file_with_the_hash_of_its_download_is_counted(release):
    record_hash(release, hashlib.sha256((release.vae / TENSORS_FILE).read_bytes()).hexdigest())
    assert check_hashes(release.ckpts.parent).startswith("1 files have")


def test_a_file_with_another_hash_is_a_problem(release):
    record_hash(release, "0" * 64)
    assert "pytorch_model.pt" in problem(release).sentence
