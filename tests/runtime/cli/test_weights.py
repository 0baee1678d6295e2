"""`avatar weights` on the command line."""

import json

import pytest
from typer.testing import CliRunner

from runtime.cli.weights import app
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.weights.loading import load_dit
from tests.support.released.hub_machine import hub_machine
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release


@pytest.fixture
def release(tmp_path):
    return write_tiny_release(tmp_path / "release", dit=TINY_SHALLOW, parts=("dit", "vae"))


def run(*arguments, answer=None):
    return CliRunner().invoke(app, [str(one) for one in arguments], input=answer)


def test_check_names_each_part_and_fails_where_one_is_missing(release):
    done = run("check", release, "--no-hashes")
    assert done.exit_code == 1
    assert "ok      transformer bf16: " in done.output
    assert "PROBLEM LLaVA: " in done.output


def test_check_gives_json(release):
    parts = {one["part"]: one for one in json.loads(run("check", release, "--json").output)}
    assert parts["autoencoder"]["state"] == "ok"
    assert parts["transformer fp8"]["state"] == "absent"


def test_convert_says_what_it_wrote(release, tmp_path):
    done = run("convert", release, "--to", "fp8", "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "model_fp8.safetensors.index.json: 1 files" in done.output
    assert load_dit(tmp_path / "out", form="fp8")


def test_convert_of_a_wrong_folder_is_one_line(tmp_path):
    done = run("convert", tmp_path)
    assert done.exit_code == 1
    assert "hunyuan-video-t2v-720p must be in it" in done.output


@pytest.fixture
def fetch(tmp_path):
    """Runs `fetch` into tmp_path / "got" against a hub on loopback."""

    def fetch(*options, answer=None):
        return run("fetch", tmp_path / "got", *options, "--endpoint", machine.url, answer=answer)

    with hub_machine() as machine:
        yield fetch


def test_fetch_shows_the_licence_and_its_territories_first(fetch, tmp_path):
    done = fetch(answer="n\n")
    assert "European Union, the United Kingdom and South Korea" in done.output
    assert done.exit_code == 1
    assert not list((tmp_path / "got").rglob("*.pt"))


def test_fetch_goes_on_when_the_licence_is_accepted(fetch, tmp_path):
    assert fetch("--form", "fp8", answer="y\n").exit_code == 0
    assert ReleasedLayout.find(tmp_path / "got").pickle("fp8").is_file()


def test_fetch_need_not_ask_who_accepts_beforehand(fetch, tmp_path):
    assert fetch("--accept-licence").exit_code == 0
    assert ReleasedLayout.find(tmp_path / "got").pickle("bf16").is_file()


def test_fetch_lists_the_forms_there_are(fetch):
    assert "Use one of these: bf16, fp8" in fetch("--form", "int4").output


def test_plan_names_the_options_to_run_with():
    done = run("plan", "--gpu", 80, "--width", 256, "--height", 256)
    assert "avatar official --weights DIR --dtype bf16" in done.output
